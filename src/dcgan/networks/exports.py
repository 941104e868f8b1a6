"""Exports for use: one network's plain weights, and a JSON file that says how to build it.

Never pickled, and read only after the sha256 is checked.
"""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dcgan import files, rng
from dcgan.config.sections import DiscriminatorParams, GeneratorParams
from dcgan.errors import DataError
from dcgan.networks.models import Discriminator, Generator, plain_weights

Network = TypeVar("Network", bound=nn.Module)


def export(path: Path, network: Generator | Discriminator, description: dict[str, Any]) -> str:
    """Write one network's plain weights and how to build it.

    Returns:
        The sha256 of the safetensors file.
    """
    architecture = network.params.model_dump()
    if "spectral_norm" in architecture:
        architecture["spectral_norm"] = False  # it is in the weights now
    about = {
        "network": type(network).__name__.lower(),
        "architecture": architecture,
        "image_channels": network.image_channels,
        "image_size": network.image_size,
    }
    return files.write_tensors(path, plain_weights(network), {**about, **description})


def load_generator(path: Path) -> tuple[Generator, dict[str, Any]]:
    """An exported generator in evaluation mode, and its description.

    Raises:
        DataError: missing, damaged, or no generator.
    """
    tensors, about = _read(path, "generator")
    network = Generator(
        GeneratorParams.model_validate(about["architecture"]), about["image_channels"]
    )
    return _load(network, tensors, path), about


def load_discriminator(path: Path) -> tuple[Discriminator, dict[str, Any]]:
    """An exported discriminator in evaluation mode, and its description.

    Raises:
        DataError: missing, damaged, or no discriminator.
    """
    tensors, about = _read(path, "discriminator")
    params = DiscriminatorParams.model_validate(about["architecture"])
    return _load(
        Discriminator(params, about["image_channels"], about["image_size"]), tensors, path
    ), about


def untrained(discriminator: Discriminator, seed: int) -> Discriminator:
    """A discriminator of the same architecture with fresh weights, in evaluation mode: what training is compared with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.derive(seed, "untrained"))
        return Discriminator(
            discriminator.params, discriminator.image_channels, discriminator.image_size
        ).eval()


def _read(path: Path, network: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, about = files.read_tensors(path)
    if about.get("network") != network:
        raise DataError(
            f"{path}: holds a {about.get('network')}, expected a {network}: give the right file"
        )
    return tensors, about


def _load(network: Network, tensors: dict[str, Tensor], path: Path) -> Network:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(
            f"{path}: does not fit its own description ({' '.join(str(error).split())}): export it again"
        ) from error
    return network.to(memory_format=torch.channels_last).eval()
