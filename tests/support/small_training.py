"""A training of seconds: its params, and how it is built from them."""

from typing import Any

import torch

from dcgan.config import sections
from dcgan.training import loop
from dcgan.training.state import State
from tests.support.params import parsed

SMALL = {
    "lr": 4e-4, "beta1": 0.5, "batch_size": 8, "epochs": 2,
    "dataset.image_size": 16,
    "generator.start_size": 4, "generator.channels": [8, 8], "generator.strides": [2, 2],
    "generator.kernel": 5, "generator.z_dim": 4,
    "discriminator.channels": [8, 8], "discriminator.strides": [2, 2], "discriminator.kernel": 5,
    "discriminator.dropout": [0.3, 0.3], "discriminator.spectral_norm": False,
    "training.update": "simultaneous", "training.loss": "non_saturating",
    "training.generator_lr_scale": 1.0, "training.beta2": 0.999,
    "training.linear_decay_from": 1.0, "training.num_samples": 4, "training.log_every": 1,
    "training.save_seconds": 0.0,
}  # fmt: skip


def small(**changes: Any) -> sections.AllParams:
    """params.yaml with SMALL and `changes`, in which __ stands for the dot of a key."""
    return parsed(**{**SMALL, **changes})


def training_arguments(params: sections.AllParams) -> dict[str, Any]:
    """The arguments of `loop.train` that are keys of params.yaml."""
    keys = ("seed", "lr", "beta1", "batch_size", "epochs", "generator", "discriminator", "training")
    return {key: getattr(params, key) for key in keys}


def build(params: sections.AllParams, image_channels: int, device: torch.device) -> State:
    """A state with its first weights."""
    arguments = training_arguments(params)
    del arguments["batch_size"], arguments["epochs"]
    return loop.build(image_channels, **arguments, device=device)
