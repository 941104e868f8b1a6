"""The networks of a training with their first weights, as params.yaml describes them."""

import dataclasses
import math

from pydantic import BaseModel

from dcgan.config.sections import DiscriminatorParams, GeneratorParams
from dcgan.networks import architecture
from dcgan.networks.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from dcgan.networks.models import Discriminator, Generator


def generator(params: GeneratorParams, image_channels: int) -> Generator:
    """A generator; its weights are drawn from torch's global generator."""
    return Generator(generator_architecture(params, image_channels), init=params.init)


def discriminator(
    params: DiscriminatorParams, image_channels: int, image_size: int
) -> Discriminator:
    """A discriminator; its weights are drawn from torch's global generator."""
    return Discriminator(
        discriminator_architecture(params, image_channels, image_size),
        init=params.init,
        dropout=params.dropout,
        spectral_norm=params.spectral_norm,
    )


def generator_architecture(params: GeneratorParams, image_channels: int) -> GeneratorArchitecture:
    """The generator's shape, with the image size that its strides lead to."""
    image_size = params.start_size * math.prod(params.strides)
    values = {"image_channels": image_channels, "image_size": image_size}
    return architecture.read(GeneratorArchitecture, _fields(GeneratorArchitecture, params) | values)


def discriminator_architecture(
    params: DiscriminatorParams, image_channels: int, image_size: int
) -> DiscriminatorArchitecture:
    """The discriminator's shape, for images of `image_size` pixels."""
    values = {"image_channels": image_channels, "image_size": image_size}
    return architecture.read(
        DiscriminatorArchitecture, _fields(DiscriminatorArchitecture, params) | values
    )


def _fields(
    kind: type[GeneratorArchitecture] | type[DiscriminatorArchitecture], params: BaseModel
) -> dict[str, object]:
    """The keys of a section that an architecture has; the others are for the training."""
    section = params.model_dump()
    return {
        field.name: section[field.name]
        for field in dataclasses.fields(kind)
        if field.name in section
    }
