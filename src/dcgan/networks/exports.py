"""Exports for use: one network's plain weights, and a JSON file that says how to build it.

The JSON has a format of its own, which is not the schema of params.yaml: `format`; `network`,
generator or discriminator; `architecture`, the fields of the class in `architecture`; `sha256` of
the weights; what the writer adds, such as the epoch; and the `seal`, a sha256 of all of this, which
exports from before there were seals lack. Never pickled, and read only after both are checked.

Formats:
    1: as above.
    none: exports from before the format had a number. `architecture` is the section of params.yaml,
        with keys that are for the training; `image_channels` and `image_size` stand beside it.
"""

import dataclasses
import reprlib
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
from dcgan.networks.models import Discriminator, Generator
from dcgan.networks.weights import plain_weights

Network = TypeVar("Network", Generator, Discriminator)

FORMAT = 1
NAMES = {GeneratorArchitecture: "generator", DiscriminatorArchitecture: "discriminator"}
# Keys of the format without a number that are no part of an architecture.
TRAINING_KEYS = ("init", "dropout", "spectral_norm")


def export(path: Path, network: Generator | Discriminator, description: dict[str, Any]) -> str:
    """Write one network's plain weights and how to build it.

    Returns:
        The sha256 of the safetensors file.
    """
    about_network = {
        "format": FORMAT,
        "network": NAMES[type(network.architecture)],
        "architecture": dataclasses.asdict(network.architecture),
    }
    return files.write_tensors(path, plain_weights(network), {**about_network, **description})


def load_generator(path: Path) -> tuple[Generator, dict[str, Any]]:
    """An exported generator in evaluation mode, and its description.

    Raises:
        DataError: missing, damaged, no generator, or of another format.
    """
    tensors, description = _read_tensors(path)
    built = _build(Generator, _architecture(GeneratorArchitecture, description, path), path)
    return _load(built, tensors, path), description


def load_discriminator(path: Path) -> tuple[Discriminator, dict[str, Any]]:
    """An exported discriminator in evaluation mode, and its description.

    Raises:
        DataError: missing, damaged, no discriminator, or of another format.
    """
    tensors, description = _read_tensors(path)
    built = _build(Discriminator, _architecture(DiscriminatorArchitecture, description, path), path)
    return _load(built, tensors, path), description


def generator_architecture(path: Path) -> GeneratorArchitecture:
    """What the JSON beside an exported generator says; the weights are not read.

    Raises:
        DataError: it is missing, describes no generator, or is of another format.
    """
    return _architecture(GeneratorArchitecture, files.read_json(path.with_suffix(".json")), path)


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        return files.read_tensors(path)
    except (ValueError, RuntimeError) as error:  # such as numbers of a type that torch cannot check
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:200]}): export it again"
        ) from error


def _architecture(kind: type[Architecture], description: Any, path: Path) -> Architecture:
    """The architecture in a description of any format.

    Raises:
        DataError: it describes another network or none, or its format is unknown.
    """
    file, expected = path.with_suffix(".json"), NAMES[kind]
    if not isinstance(description, dict):
        raise DataError(f"{file}: holds no description, expected an object: export it again")
    network, version = description.get("network"), description.get("format")
    if network != expected:
        shown = network if network in NAMES.values() else reprlib.repr(network)
        raise DataError(f"{path}: holds a {shown}, expected a {expected}: give the right file")
    values = description.get("architecture")
    if version is None and isinstance(values, dict):
        values = {key: value for key, value in values.items() if key not in TRAINING_KEYS}
        for key in ("image_channels", "image_size"):
            if key in description:
                values[key] = description[key]
    elif version is not None and (type(version) is not int or version != FORMAT):
        raise DataError(
            f"{file}: format is {reprlib.repr(version)}, expected {FORMAT} or none: export it"
            " again, or read it with the version of this program that wrote it"
        )
    try:
        return architecture.read(kind, values)
    except ValueError as error:
        raise DataError(f"{file}: {error}: export it again") from error


def _build(kind: type[Network], described: Any, path: Path) -> Network:
    """The network without memory for its weights: a description may name any size."""
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
            shown = [_shape(each.get(name)) for each in (shapes, expected)]
            raise DataError(
                f"{path}: does not fit its own description ({name[:100]!r} is {shown[0]},"
                f" expected {shown[1]}): export it again"
            )
    # The memory asked for here is that of the values in the file, so it cannot be too much.
    network.to_empty(device="cpu").load_state_dict(tensors)
    return network.to(memory_format=torch.channels_last).eval()


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else " x ".join(map(str, shape)) or "one number"
