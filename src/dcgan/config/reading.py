"""Read params.yaml and check it against its schema.

One YAML 1.2 reader, the one DVC uses, so `2e-4` is a float and `010` is ten here, there and in `dvc
params diff`.
"""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dcgan.config.explain import explain
from dcgan.config.sections import AllParams, Section
from dcgan.errors import ConfigError

PARAMS_FILE = Path("params.yaml")
MAX_BYTES = 1_000_000

Declared = TypeVar("Declared", bound=Section)


def load(declared: type[Declared], path: Path = PARAMS_FILE) -> Declared:
    """Read and check the whole file; return only the values that a stage declares.

    Args:
        declared: a class of the stage's own, whose fields are keys of params.yaml with the types
            that `AllParams` gives them, or with a class that has some keys of the section.
        path: the file.

    Raises:
        ConfigError: the file is missing, no YAML, or a value is wrong; one line that names key,
            value and range.
    """
    return _part(declared, parse(read_yaml(path), path))


def read_yaml(path: Path) -> Any:
    """Parse a YAML 1.2 file of at most a megabyte.

    Raises:
        ConfigError: the file cannot be read, is too large, or is no YAML.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path}: {path.stat().st_size} bytes: must be at most {MAX_BYTES};"
                " is it the right file?"
            )
        return YAML(typ="safe").load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}): run in the repository's folder"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start} is no UTF-8: save the file as UTF-8"
        ) from error
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: is no YAML 1.2: {' '.join(str(error).split())}") from error


def parse(values: Any, path: Path = PARAMS_FILE) -> AllParams:
    """Check parsed values.

    Raises:
        ConfigError: the first wrong value, in one line.
    """
    try:
        return AllParams.model_validate(values)
    except ValidationError as error:
        # A misspelt key is an unknown one and a missing one: the first says what is wrong.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise ConfigError(f"{path}: {explain(first, AllParams.model_json_schema())}") from None


def _part(declared: type[Declared], values: Section) -> Declared:
    """The values that `declared` has fields for; a section is cut down to the declared one."""
    taken = {}
    for name, field in declared.model_fields.items():
        value, kind = getattr(values, name), field.annotation
        if isinstance(value, Section) and isinstance(kind, type) and type(value) is not kind:
            value = _part(kind, value)
        taken[name] = value
    return declared(**taken)
