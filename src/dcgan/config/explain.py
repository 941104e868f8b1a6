"""Say what is wrong with a value in params.yaml, in one line and in the words of its range."""

import difflib
import reprlib
from typing import Any

from pydantic_core import ErrorDetails

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a section of keys",
}
_BOUNDS = {
    "exclusiveMinimum": "> {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
    "minItems": "of at least {} values",
    "maxItems": "of at most {} values",
}
_BOUND_ERRORS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


def explain(error: ErrorDetails, schema: dict[str, Any]) -> str:
    """One line for one wrong value: key, value found, what it must be.

    Args:
        error: as pydantic reports it.
        schema: the JSON schema of the whole; the ranges are read from it, so that each is written
            once.
    """
    key = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]
    ).lstrip(".")
    if error["type"] == "extra_forbidden":
        keys = list(_at(schema, error["loc"][:-1])["properties"])
        close = difflib.get_close_matches(str(error["loc"][-1]), keys, n=1)
        hint = f"did you mean {close[0]}?" if close else f"must be one of {', '.join(keys)}"
        return f"{key}: unknown key: {hint}"
    if error["type"] == "missing":
        return f"{key}: missing: add it, {_rule(_at(schema, error['loc']))}"
    if error["type"] == "mismatch":
        return f"{key}: {error['msg']}" if key else error["msg"]
    rule = _rule(_at(schema, error["loc"]), with_type=error["type"] not in _BOUND_ERRORS)
    return f"{key or 'the file'} = {reprlib.repr(error['input'])}: must be {rule}"


def _at(whole: dict[str, Any], loc: tuple[int | str, ...]) -> dict[str, Any]:
    """The schema of the value at `loc`, references followed."""
    schema = whole
    for part in (None, *loc):
        if isinstance(part, int):
            schema = schema["items"]
        elif part is not None:
            schema = schema["properties"][part]
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _rule(schema: dict[str, Any], *, with_type: bool = True) -> str:
    if "anyOf" in schema:
        return " or ".join(
            "null" if part == {"type": "null"} else _rule(part, with_type=with_type)
            for part in schema["anyOf"]
        )
    if "enum" in schema or "const" in schema:
        return "one of: " + ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    bounds = " and ".join(
        text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema
    )
    return f"{_TYPES[schema['type']]} {bounds}".strip() if with_type else bounds
