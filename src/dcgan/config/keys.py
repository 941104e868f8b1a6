"""Nested values as a flat table whose keys are joined with dots, as on `dvc exp run -S`."""

import json
from collections.abc import Mapping
from typing import Any


def leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their keys joined with dots; a list is one value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def flatten(values: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """`leaves` for MLflow and for tables, which take no lists and no null: those become JSON."""
    return {
        key: value if isinstance(value, str | int | float) else json.dumps(value)
        for key, value in leaves(values).items()
    }
