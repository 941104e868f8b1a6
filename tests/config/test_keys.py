"""Nested values as a flat table."""

from dcgan.config import keys

VALUES = {
    "lr": 2e-4,
    "generator": {"channels": [8, 4], "bias": False},
    "dataset": {"source": None},
}


def test_a_list_is_one_value() -> None:
    assert keys.leaves(VALUES) == {
        "lr": 2e-4,
        "generator.channels": [8, 4],
        "generator.bias": False,
        "dataset.source": None,
    }


def test_lists_and_null_become_json_in_a_flat_table() -> None:
    assert keys.flatten(VALUES) == {
        "lr": 2e-4,
        "generator.channels": "[8, 4]",
        "generator.bias": False,
        "dataset.source": "null",
    }
