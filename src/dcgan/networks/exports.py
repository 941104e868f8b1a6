"""Exports for use: one network's plain weights, and a JSON file that says how to build it.

The JSON has a format of its own, which is not the schema of params.yaml: `format`; `network`,
generator or discriminator; `architecture`, the fields of the class in `architecture`; `sha256` of
the weights; and what the writer adds, as the epoch. Never pickled, and read only after the sha256
is checked.

Formats:
    1: as above.
    none: before there was a number. `architecture` is the section of params.yaml, with keys of
        training among them; `image_channels` and `image_size` stand beside it.
"""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dcgan import files
from dcgan.errors import DataError
from dcgan.networks import architecture
from dcgan.networks.architecture import (
    Architecture,
    DiscriminatorArchitecture,
    GeneratorArchitecture,
)
from dcgan.networks.models import Discriminator, Generator, plain_weights

Network = TypeVar("Network", Generator, Discriminator)

FORMAT = 1
# What the format without a number says of the training.
TRAINING_KEYS = ("init", "dropout", "spectral_norm")


def export(path: Path, network: Generator | Discriminator, description: dict[str, Any]) -> str:
    """Write one network's plain weights and how to build it.

    Returns:
        The sha256 of the safetensors file.
    """
    about = {
        "format": FORMAT,
        "network": type(network).__name__.lower(),
        "architecture": dataclasses.asdict(network.architecture),
    }
    return files.write_tensors(path, plain_weights(network), {**about, **description})


def load_generator(path: Path) -> tuple[Generator, dict[str, Any]]:
    """An exported generator in evaluation mode, and its description.

    Raises:
        DataError: missing, damaged, no generator, or of another format.
    """
    tensors, about = _read_tensors(path)
    built = _build(Generator, _architecture(GeneratorArchitecture, about, path), path)
    return _load(built, tensors, path), about


def load_discriminator(path: Path) -> tuple[Discriminator, dict[str, Any]]:
    """An exported discriminator in evaluation mode, and its description.

    Raises:
        DataError: missing, damaged, no discriminator, or of another format.
    """
    tensors, about = _read_tensors(path)
    built = _build(Discriminator, _architecture(DiscriminatorArchitecture, about, path), path)
    return _load(built, tensors, path), about


def generator_architecture(path: Path) -> GeneratorArchitecture:
    """What the JSON beside an exported generator says; the weights are not read.

    Raises:
        DataError: it is missing, describes no generator, or is of another format.
    """
    return _architecture(GeneratorArchitecture, files.read_json(path.with_suffix(".json")), path)


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        return files.read_tensors(path)
    except (ValueError, RuntimeError) as error:  # as a type of numbers that torch cannot check
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:200]}): export it again"
        ) from error


def _architecture(kind: type[Architecture], about: Any, path: Path) -> Architecture:
    """The architecture that a description of any known format speaks of."""
    file, name = path.with_suffix(".json"), kind.__name__.removesuffix("Architecture").lower()
    if not isinstance(about, dict):
        raise DataError(f"{file}: holds no description, expected an object: export it again")
    network, version = about.get("network"), about.get("format")
    if network != name:
        raise DataError(f"{path}: holds a {network}, expected a {name}: give the right file")
    values = about.get("architecture")
    if version is None and isinstance(values, dict):
        values = {key: value for key, value in values.items() if key not in TRAINING_KEYS}
        for key in ("image_channels", "image_size"):
            if key in about:
                values[key] = about[key]
    elif version is not None and (type(version) is not int or version != FORMAT):
        raise DataError(
            f"{file}: format is {str(version)[:20]!r}, expected {FORMAT} or none: export it again,"
            " or read it with the version of this program that wrote it"
        )
    try:
        return architecture.read(kind, values)
    except ValueError as error:
        raise DataError(f"{file}: {error}: export it again") from error


def _build(kind: type[Network], described: Any, path: Path) -> Network:
    """The network without memory for its weights, which a description may speak of any number of."""
    try:
        with torch.device("meta"):
            return kind(described)
    except RuntimeError as error:
        raise DataError(
            f"{path.with_suffix('.json')}: describes no network"
            f" ({' '.join(str(error).split())[:200]}): export it again"
        ) from error


def _load(network: Network, tensors: dict[str, Tensor], path: Path) -> Network:
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if shapes.get(name) != expected.get(name):
            raise DataError(
                f"{path}: does not fit its own description ({name[:100]!r} is"
                f" {_shape(shapes.get(name))}, expected {_shape(expected.get(name))}): export it again"
            )
    # Now the file is known to hold as many values as this asks memory for.
    network.to_empty(device="cpu").load_state_dict(tensors)
    return network.to(memory_format=torch.channels_last).eval()


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"
