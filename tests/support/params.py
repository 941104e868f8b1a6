"""params.yaml made small, so that a test trains in seconds, and changes of single keys.

Keys are dotted: `training.loss`. As a keyword `training__loss` is the same.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from dcgan.config import reading, sections
from tests.support.imports import ROOT

# How much each stage computes; whose networks it trains does not matter.
STAGES = {
    "epochs": 2, "dataset.validation_size": 100,
    "reference.epochs": 1, "reference.batch_size": 50,
    "training.num_samples": 16, "training.log_every": 4, "training.save_seconds": 0.0,
    "evaluate.num_samples": 100, "probe.num_train": 400, "probe.c": [1.0, 10.0],
    "paper.num_candidates": 200, "render.walk_points": 2, "render.walk_frames": 3,
}  # fmt: skip
# Two networks of two layers for 28 x 28 images, and a learning rate that suits them.
NETWORKS = {
    "lr": 0.0004, "batch_size": 32, "training.linear_decay_from": 1.0,
    "generator.z_dim": 8, "generator.channels": [16, 8], "generator.strides": [2, 2],
    "discriminator.channels": [8, 16], "discriminator.strides": [2, 2],
    "discriminator.dropout": [0.3, 0.3],
}  # fmt: skip


def small(**changes: object) -> dict[str, object]:
    """The small settings, by dotted key, with these changes."""
    return {**STAGES, **NETWORKS, **_dotted(changes)}


def small_stages(**changes: object) -> dict[str, object]:
    """The small settings without those of the networks, for a recipe that has networks."""
    return {**STAGES, **_dotted(changes)}


def put(params: MutableMapping[str, Any], **changes: object) -> None:
    """Set keys of what params.yaml holds."""
    for key, value in _dotted(changes).items():
        *parents, name = key.split(".")
        section = params
        for parent in parents:
            section = section[parent]
        section[name] = value


def parsed(**changes: object) -> sections.AllParams:
    """The project's params.yaml with these changes, as the code reads it."""
    params = reading.read_yaml(ROOT / "params.yaml")
    put(params, **changes)
    return reading.parse(params)


def _dotted(changes: Mapping[str, object]) -> dict[str, object]:
    return {key.replace("__", "."): value for key, value in changes.items()}
