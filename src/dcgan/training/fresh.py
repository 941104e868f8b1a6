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
    image_size = params.start_size * math.prod(params.strides)
    values = {"image_channels": image_channels, "image_size": image_size}
    kind = GeneratorArchitecture
    return Generator(architecture.read(kind, _fields(kind, params) | values), init=params.init)


def discriminator(
    params: DiscriminatorParams, image_channels: int, image_size: int
) -> Discriminator:
    """A discriminator; its weights are drawn from torch's global generator."""
    values = {"image_channels": image_channels, "image_size": image_size}
    kind = DiscriminatorArchitecture
    return Discriminator(
        architecture.read(kind, _fields(kind, params) | values),
        init=params.init,
        dropout=params.dropout,
        spectral_norm=params.spectral_norm,
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
