"""Recipes: named overlays of params.yaml, a YAML file each, that describe a known system."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan import files
from dcgan.config import edits, keys, reading, sections
from dcgan.config.reading import PARAMS_FILE
from dcgan.errors import ConfigError

Change = tuple[str, Any, Any]


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        name: its file's name without `.yaml`.
        reproduces: what it reproduces, one line.
        overlay: the values that it sets, nested as in params.yaml.
        params: all parameters, with the overlay on top of the params file.
    """

    name: str
    reproduces: str
    overlay: dict[str, Any]
    params: sections.AllParams


def names(folder: Path) -> list[str]:
    """Names of all recipes in a folder, sorted.

    Raises:
        ConfigError: the folder has none.
    """
    stems = sorted(path.stem for path in folder.glob("*.yaml"))
    if not stems:
        raise ConfigError(f"{folder}: no recipe found: run in the repository's folder")
    return stems


def find(name: str, folder: Path) -> Path:
    """The file of the recipe called `name`.

    Raises:
        ConfigError: no recipe has this name.
    """
    existing = names(folder)
    if name not in existing:
        close = difflib.get_close_matches(name, existing, n=1)
        hint = f"did you mean {close[0]}?" if close else f"must be one of {', '.join(existing)}"
        raise ConfigError(f"recipe {name}: unknown: {hint}")
    return folder / f"{name}.yaml"


def load(path: Path, params: Path = PARAMS_FILE) -> Recipe:
    """Read a recipe and check it on top of the params file.

    Raises:
        ConfigError: the recipe or the params file cannot be read, or has an unknown key or a wrong
            value.
    """
    values = reading.read_yaml(params)
    reading.parse(values, params)  # So that an error in the file is not blamed on the recipe.
    overlay = reading.read_yaml(path)
    if not isinstance(overlay, dict):
        raise ConfigError(f"{path}: has no keys: must be a section of keys, as in {params}")
    reproduces = overlay.pop("reproduces", None)
    if not isinstance(reproduces, str) or not reproduces or "\n" in reproduces:
        raise ConfigError(
            f"{path}: reproduces = {reproduces!r}:"
            " must be one line that says what the recipe reproduces"
        )
    return Recipe(path.stem, reproduces, overlay, reading.parse(edits.merge(values, overlay), path))


def changes(recipe: Recipe, params: Path = PARAMS_FILE) -> list[Change]:
    """What the recipe changes in the params file, in the recipe's order.

    Returns:
        Dotted key, old value and new value of each change.
    """
    old = keys.leaves(reading.read_yaml(params))
    return [
        (key, old[key], new) for key, new in keys.leaves(recipe.overlay).items() if old[key] != new
    ]


def apply(recipe: Recipe, params: Path = PARAMS_FILE) -> list[Change]:
    """Write the recipe's values into the params file, whose comments, order and style stay.

    Returns:
        The changes; without any, the file is not written.

    Raises:
        ConfigError: the file cannot be edited.
        EnvironmentProblem: the file cannot be written.
    """
    made = changes(recipe, params)
    if made:
        files.write_text(params, edits.edit(params, recipe.overlay))
    return made


def flags(recipe: Recipe) -> list[str]:
    """The arguments that make `dvc exp run` use the recipe's values: `-S` and `key=value` for each.

    No argument holds a space, so that a shell's `$(...)` takes them apart correctly. DVC writes
    lists in block style.

    Raises:
        ConfigError: a text of the recipe cannot stand on a command line.
    """
    arguments = []
    for key, value in keys.leaves(recipe.overlay).items():
        try:
            arguments += ["-S", f"{key}={_in_grammar(value)}"]
        except ValueError:
            raise ConfigError(
                f"recipe {recipe.name}: {key} = {value!r}: cannot stand on a command line:"
                " use recipe apply"
            ) from None
    return arguments


def _in_grammar(value: Any) -> str:
    # Hydra's override grammar, which DVC reads.
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(_in_grammar(item) for item in value)}]"
    if isinstance(value, str):
        return _text(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _text(value: str) -> str:
    is_word = re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII)
    if is_word and value.lower() not in ("null", "true", "false", "nan", "inf"):
        return value
    if not re.fullmatch(r"[\w./:@%+=~-]+", value, re.ASCII):
        raise ValueError(value)
    return f"'{value}'"
