"""params.yaml with one value changed, and what is said about it."""

import copy
from pathlib import Path

import pytest

from dcgan.config import reading
from dcgan.errors import ConfigError

VALUES = reading.read_yaml(Path("params.yaml"))


def changed(key: str, value: object) -> dict:
    """The values of params.yaml with another one at a dotted key; `...` deletes the key."""
    values = copy.deepcopy(VALUES)
    *sections, name = key.split(".")
    section = values
    for part in sections:
        section = section[part]
    if value is ...:
        del section[name]
    else:
        section[name] = value
    return values


def message(values: object) -> str:
    """The one line that refuses the values."""
    with pytest.raises(ConfigError) as refused:
        reading.parse(values)
    assert "\n" not in str(refused.value)
    return str(refused.value)
