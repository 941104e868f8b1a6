"""How much memory a training needs at least, counted before any of it is taken."""

import itertools
import operator
from pathlib import Path

import psutil
import torch

from dcgan.config.sections import DiscriminatorParams, GeneratorParams
from dcgan.errors import EnvironmentProblem
from dcgan.networks.models import Discriminator, Generator
from dcgan.training import fresh

LIMIT = Path("/sys/fs/cgroup/memory.max")  # of the container that we are in, or "max"
# float32 each: a weight, its gradient and the optimizer's moment, of which RMSprop has one.
PER_WEIGHT = 3 * 4


def check(
    generator: GeneratorParams,
    discriminator: DiscriminatorParams,
    *,
    image_channels: int,
    batch_size: int,
    precision: str,
    device: torch.device,
    machine: int | None = None,
) -> None:
    """Refuse networks that cannot fit, before they are built.

    Args:
        generator: the section of params.yaml.
        discriminator: likewise.
        image_channels: 1 or 3.
        batch_size: images a step of one process.
        precision: float32 or bfloat16.
        device: where they are trained.
        machine: bytes of memory; None: those of the device.

    Raises:
        EnvironmentProblem: they need more than there is.
    """
    has = total(device) if machine is None else machine
    needs = needed(generator, discriminator, image_channels, batch_size, precision)
    if has is not None and needs > has:
        where = "this machine" if device.type == "cpu" else "the GPU"
        raise EnvironmentProblem(
            f"params.yaml: the networks with batch_size = {batch_size} need {_gb(needs)} of memory"
            f" at least, {where} has {_gb(has)}: lower batch_size, or the channels, start_size or"
            " z_dim of the networks"
        )


def needed(
    generator: GeneratorParams,
    discriminator: DiscriminatorParams,
    image_channels: int,
    batch_size: int,
    precision: str,
) -> int:
    """Bytes that a training needs at least, for its weights and for the maps of one step."""
    g = fresh.generator_architecture(generator, image_channels)
    d = fresh.discriminator_architecture(discriminator, image_channels, g.image_size)
    with torch.device("meta"):  # there tensors have shapes and no memory
        networks = Generator(g), Discriminator(d)
    weights = sum(p.numel() for network in networks for p in network.parameters())
    sizes = itertools.accumulate(g.strides, operator.mul, initial=g.start_size)
    of_g = sum(
        maps * size**2 for maps, size in zip((*g.channels, image_channels), sizes, strict=True)
    )
    of_d = sum(maps * size**2 for maps, size in zip(d.channels, d.sizes(), strict=True))
    # What a convolution or the projection makes is kept for the gradient; D sees real and fake.
    values = batch_size * (of_g + 2 * of_d)
    return weights * PER_WEIGHT + values * (2 if precision == "bfloat16" else 4)


def total(device: torch.device) -> int | None:
    """Bytes of memory that a device has, within the limits of a container; None: not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type != "cpu":
        return None
    machine = psutil.virtual_memory().total
    limit = LIMIT.read_text().strip() if LIMIT.is_file() else "max"
    return min(machine, int(limit)) if limit.isdecimal() else machine


def _gb(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
