"""Edit a YAML file as a person would: comments, order and style stay."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from dcgan import files
from dcgan.config.reading import MAX_BYTES, parse, read_yaml
from dcgan.errors import ConfigError


def merge(values: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """The values, some of them replaced by the overlay's; a list is replaced as a whole."""
    merged = dict(values)
    for key, new in overlay.items():
        old = merged.get(key)
        merged[key] = (
            merge(old, new) if isinstance(old, Mapping) and isinstance(new, Mapping) else new
        )
    return merged


def edit(path: Path, overlay: Mapping[str, Any]) -> str:
    """The text of a YAML file with the overlay's values in it.

    Comments, order and style stay; a value that is equal already keeps its spelling.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or cannot be changed without changing
            another value, too.
    """
    expected = merge(read_yaml(path), overlay)
    editor = YAML()  # the round-trip reader, which builds no objects
    editor.Representer = _Representer
    editor.preserve_quotes = True
    editor.width = MAX_BYTES  # No line is folded.
    document = editor.load(path.read_text(encoding="utf-8-sig"))
    _update(document, overlay)
    changed = io.StringIO()
    editor.dump(document, changed)
    if YAML(typ="safe").load(changed.getvalue()) != expected:
        raise ConfigError(
            f"{path}: cannot be edited, because some of its values share one place:"
            " write aliases out, then try again"
        )
    return changed.getvalue()


def overlay(pairs: Sequence[str]) -> dict[str, Any]:
    """The nested values that `section.key=value` pairs stand for.

    Values are YAML: `null`, `2e-4` and `[1, 2]` mean the same as in the file.

    Raises:
        ConfigError: a pair has no `=`, or its value is no YAML.
    """
    nested: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"-S {pair}: must be KEY=VALUE, as in -S lr=2e-4")
        try:
            value = YAML(typ="safe").load(text)
        except (YAMLError, ValueError) as error:
            raise ConfigError(
                f"-S {pair}: its value is no YAML 1.2: {' '.join(str(error).split())}"
            ) from error
        for key in reversed(name.split(".")):
            value = {key: value}
        nested = merge(nested, value)
    return nested


def apply(path: Path, overlay: Mapping[str, Any]) -> None:
    """Check an overlay on top of a params file, then write its values into the file.

    Raises:
        ConfigError: an unknown key, a value out of range, or the file cannot be edited; the file is
            not changed.
        EnvironmentProblem: the file cannot be written.
    """
    values = read_yaml(path)
    parse(values, path)  # So that an error in the file is not blamed on the overlay.
    merged = merge(values, overlay)
    parse(merged, Path("-S"))
    if merged != values:
        files.write_text(path, edit(path, overlay))


class _Representer(RoundTripRepresenter):
    """Writes null as a word, where ruamel writes nothing at all."""


_Representer.add_representer(
    type(None),
    lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"),
)


def _update(section: Any, values: Mapping[str, Any]) -> None:
    for key, new in values.items():
        old = section[key]
        if isinstance(new, Mapping):
            _update(old, new)
        elif old != new:
            section[key] = (
                _list_like(old, new, section.ca.items.get(key)) if isinstance(new, list) else new
            )


def _list_like(old: Any, new: list[Any], key_comment: list[Any] | None) -> CommentedSeq:
    listed = CommentedSeq(new)
    if not new:
        # ruamel would write an empty block list at the margin, and fails at the comments before a
        # block list's first value.
        listed.fa.set_flow_style()
        if key_comment:
            key_comment[3] = None
    elif isinstance(old, CommentedSeq) and len(old) - 1 in old.ca.items:
        # What follows a list, blank lines too, belongs to its last value.
        listed.ca.items[len(new) - 1] = old.ca.items[len(old) - 1]
    return listed
