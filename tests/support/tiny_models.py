"""Tiny networks, exported as the evaluate stage leaves them."""

import json
import os
import pickle
from pathlib import Path

import torch

from dcgan import files
from dcgan.config.sections import DiscriminatorParams, GeneratorParams
from dcgan.networks import exports
from dcgan.promotion import bundle
from dcgan.training import fresh

GENERATOR = GeneratorParams(
    z_dim=6, z_distribution="normal", start="projection", start_size=4, start_norm="none",
    start_activation=True, channels=[8, 4], strides=[1, 2], kernel=4, padding="same", norm="none",
    norm_order="before", norm_momentum=0.1, norm_eps=1e-5, activation="relu", slope=0.2, bias=True,
    init="glorot",
)  # fmt: skip
DISCRIMINATOR = DiscriminatorParams(
    channels=[4, 8], strides=[2, 2], kernel=4, padding="same", norm="none", norm_momentum=0.1,
    norm_eps=1e-5, slope=0.2, dropout=[0.0, 0.0], bias=True, head="linear", spectral_norm=False,
    init="glorot",
)  # fmt: skip


def write(folder: Path, seed: int = 0, channels: int = 1) -> Path:
    """Generator and discriminator of 8 x 8 images, of random weights, in `folder`."""
    torch.manual_seed(seed)
    networks = {
        "generator": fresh.generator(GENERATOR, channels),
        "discriminator": fresh.discriminator(DISCRIMINATOR, channels, 8),
    }
    for name, network in networks.items():
        exports.export(folder / f"{name}.safetensors", network, {"epoch": 1, "weights": "ema"})
    return folder


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Put other bytes into a model folder and correct every sha256, as an attacker would."""
    path = folder / name
    path.write_bytes(content)
    about = path.with_suffix(".json")
    if path.suffix == ".safetensors":
        files.write_json(about, {**files.read_json(about), "sha256": files.sha256(path)})
    if path.with_suffix(".safetensors").is_file():
        _seal_again(about)
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != bundle.MANIFEST]
    files.write_json(
        folder / bundle.MANIFEST,
        {path.relative_to(folder).as_posix(): files.sha256(path) for path in paths},
    )


def _seal_again(about: Path) -> None:
    try:
        description = json.loads(about.read_bytes())
    except ValueError:
        return
    if isinstance(description, dict) and "seal" in description:
        del description["seal"]
        files.write_json(about, {**description, "seal": files._seal(description)})


class Payload:
    """What makes a file when a pickle of it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def marker_pickle(marker: Path) -> bytes:
    """A pickle that makes a file when it is loaded."""
    return pickle.dumps(Payload(marker))
