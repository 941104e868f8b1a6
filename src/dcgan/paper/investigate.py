"""A look into the two networks, after Radford et al. 2015 (arXiv 1511.06434), sections 6.2 and 6.3.1, as arrays.

What D's last convolution answers to, and which of G's units draw a class. Images are uint8 N x C x
H x W, latent vectors float32 N x z_dim; networks come back as they were.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dcgan import data, rng
from dcgan.networks import sampling
from dcgan.networks.architecture import DiscriminatorArchitecture
from dcgan.networks.models import Block, ConvTranspose, Discriminator, Generator, evaluating

MIN_REGRESSION = 20  # samples of the class, and as many others, that the regression asks for
HELD_OUT = 0.25  # share of the regression's samples that it is judged on

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Response:
    """What one map of D's last convolution answers to most (section 6.2, figure 5)."""

    images: Positions  # top, the strongest response first
    responses: Floats  # top, the largest value of the map after the activation
    regions: list[
        tuple[int, int, int, int]
    ]  # top, what that unit sees: left, top, right, bottom pixel, all of them inside
    gradients: npt.NDArray[
        np.float32
    ]  # top x C x H x W, guided, of that unit to the image in [-1, 1]


def guided(
    discriminator: Discriminator, images: data.Images, *, maps: int, top: int
) -> list[Response]:
    """Guided backpropagation (Springenberg et al. 2014, arXiv 1412.6806) of D's last convolution, for its first `maps` maps.

    The gradient passes an activation only where it is positive and the activation's input was.
    LeakyReLU is taken for a ReLU on the way back: what its slope lets through below zero is stopped
    as well. On the way up it is itself: the responses are D's own.

    Args:
        discriminator: any; it is used in evaluation mode.
        images: uint8 N x C x H x W.
        maps: how many, at most those there are.
        top: images a map, at most N; each gives the unit of the map with its strongest response.
    """
    with evaluating(discriminator):
        return _guided(discriminator, images, maps=maps, top=top)


def _guided(
    discriminator: Discriminator, images: data.Images, *, maps: int, top: int
) -> list[Response]:
    blocks = list(cast(Sequence[Block], discriminator.blocks))
    device = next(discriminator.parameters()).device
    with torch.no_grad():
        parts = (images[start : start + 500] for start in range(0, len(images), 500))
        best = torch.cat(
            [_last(discriminator, part, device)[:, :maps].amax(dim=(2, 3)).cpu() for part in parts]
        )
    hooks = [block.activation.register_forward_hook(_guide) for block in blocks]
    found = []
    try:
        for unit in range(best.shape[1]):
            strongest = torch.argsort(best[:, unit], descending=True, stable=True)[:top]
            pixels = data.to_float(images[strongest.numpy()]).to(device).requires_grad_()
            responses, places = discriminator.features(pixels)[-1][:, unit].flatten(1).max(dim=1)
            (gradient,) = torch.autograd.grad(responses.sum(), pixels)
            size = discriminator.features(pixels[:1].detach())[-1].shape[-1]
            regions = [
                seen_by(discriminator.architecture, images.shape[-1], *divmod(int(place), size))
                for place in places
            ]
            found.append(
                Response(
                    strongest.numpy(),
                    responses.detach().cpu().numpy(),
                    regions,
                    gradient.cpu().numpy(),
                )
            )
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _last(discriminator: Discriminator, images: data.Images, device: torch.device) -> Tensor:
    return discriminator.features(data.to_float(images).to(device))[-1]


def _guide(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Let only positive gradients through to positive inputs; where those are, LeakyReLU's own gradient is 1."""
    if output.requires_grad:
        was_positive = inputs[0].detach() > 0
        output.register_hook(lambda gradient: gradient.clamp(min=0) * was_positive)


def seen_by(
    params: DiscriminatorArchitecture, image_size: int, row: int, column: int
) -> tuple[int, int, int, int]:
    """The pixels that a unit of D's last map sees: left, top, right, bottom, all of them inside the image."""
    sizes = [image_size]
    for stride in params.strides:
        same = -(-sizes[-1] // stride)
        sizes.append(
            same
            if params.padding == "same"
            else (sizes[-1] + 2 * ((params.kernel - 1) // 2) - params.kernel) // stride + 1
        )
    first, last = np.array([column, row]), np.array([column, row])
    for stride, (size, outputs) in reversed(list(zip(params.strides, pairwise(sizes)))):
        padding = (params.kernel - 1) // 2
        if params.padding == "same":
            padding = max((outputs - 1) * stride + params.kernel - size, 0) // 2
        first = np.clip(first * stride - padding, 0, size - 1)
        last = np.clip(last * stride - padding + params.kernel - 1, 0, size - 1)
    left, top = first.tolist()
    right, bottom = last.tolist()
    return left, top, right, bottom


def hidden_layer(generator: Generator) -> ConvTranspose:
    """The transposed convolution whose inputs are G's second-highest hidden maps: the last but one, or the only one.

    The paper's "second highest convolution layer features" are taken for these because 200 of them
    were dropped, which is more than the 128 of its highest hidden layer.
    """
    layers = [layer for layer in generator.layers if isinstance(layer, ConvTranspose)]
    return layers[max(len(layers) - 2, 0)]


def unit_means(generator: Generator, z: Tensor) -> npt.NDArray[np.float32]:
    """The mean over space of each of the second-highest hidden maps: float32 N x units."""
    means: list[Tensor] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        means.append(inputs[0].mean(dim=(2, 3)).cpu())

    hook = hidden_layer(generator).register_forward_pre_hook(note)
    try:
        sampling.generate(generator, z)
    finally:
        hook.remove()
    return torch.cat(means)[: len(z)].numpy()  # the last batch was filled up


@contextlib.contextmanager
def without_units(generator: Generator, units: Positions) -> Iterator[None]:
    """Set these of the second-highest hidden maps to zero, everywhere, as long as the context lasts."""

    def drop(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        keep = inputs[0].new_ones(inputs[0].shape[1])
        keep[torch.from_numpy(units)] = 0
        return inputs[0] * keep[:, None, None]

    hook = hidden_layer(generator).register_forward_pre_hook(drop)
    try:
        yield
    finally:
        hook.remove()


@dataclass(frozen=True, eq=False)
class ClassUnits:
    """What the logistic regression found (section 6.3.1)."""

    units: Positions  # those with positive weight, rising
    weights: Floats  # of all units, for activations of mean 0 and deviation 1
    accuracy: float  # on the held-out samples, of which half are of the class; .5 is chance
    num_train: int
    num_held_out: int


def class_units(
    activations: Floats, is_class: npt.NDArray[np.bool_], seed: int
) -> ClassUnits | None:
    """Find the units that say a class is drawn, by logistic regression on as many samples of the class as of the others.

    Args:
        activations: N x units.
        is_class: N.
        seed: of which samples are taken and which are held out.

    Returns:
        None where there are fewer than 20 samples of the class or of the others.
    """
    from sklearn.linear_model import LogisticRegression

    count = int(min(is_class.sum(), (~is_class).sum()))
    if count < MIN_REGRESSION:
        return None
    sides = []
    for step, side in enumerate((is_class, ~is_class)):
        positions = np.flatnonzero(side)
        sides.append(
            positions[
                torch.randperm(
                    len(positions), generator=rng.generator(seed, "paper regression", step)
                ).numpy()[:count]
            ]
        )
    held = round(HELD_OUT * count)
    held_out, train = (
        np.concatenate([side[:held] for side in sides]),
        np.concatenate([side[held:] for side in sides]),
    )
    mean, deviation = activations[train].mean(axis=0), activations[train].std(axis=0)
    scaled = (activations - mean) / np.where(deviation > 0, deviation, 1)
    model = LogisticRegression(max_iter=1000).fit(scaled[train], is_class[train])
    weights = model.coef_[0]
    accuracy = float(model.score(scaled[held_out], is_class[held_out]))
    return ClassUnits(np.flatnonzero(weights > 0), weights, accuracy, len(train), len(held_out))


def random_units(total: int, count: int, seed: int) -> Positions:
    """`count` of `total` units, rising: the control for dropping those of a class."""
    return np.sort(
        torch.randperm(total, generator=rng.generator(seed, "paper control"))[:count].numpy()
    )
