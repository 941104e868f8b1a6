"""What the two networks have learnt (arXiv 1511.06434, sections 6.2 and 6.3.1), as arrays.

What D's last convolution answers to, and which of G's units draw a class. Images are uint8 N x C x
H x W, latent vectors float32 N x z_dim. The networks are not changed.
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
from dcgan.networks.layers import ConvTranspose
from dcgan.networks.models import Block, Discriminator, Generator, evaluating
from dcgan.pictures.grids import Region

MIN_REGRESSION = 20  # least samples of the class, and of the others, for the regression
HELD_OUT = 0.25  # share of these samples on which the regression's accuracy is measured
AT_ONCE = 500  # images in one pass through D

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Response:
    """The images that one map of D's last convolution answers to most (section 6.2, figure 5).

    Attributes:
        images: positions of the `top` images, the strongest response first.
        responses: of each, the map's largest value after the activation.
        regions: of each, the pixels that the unit with this value sees.
        gradients: top x C x H x W, float32, of this unit to the image in [-1, 1], guided.
    """

    images: Positions
    responses: Floats
    regions: list[Region]
    gradients: npt.NDArray[np.float32]


def guided(
    discriminator: Discriminator, images: data.Images, *, maps: int, top: int
) -> list[Response]:
    """Guided backpropagation (Springenberg et al. 2014, arXiv 1412.6806) of D's last convolution.

    The gradient passes an activation only where both the gradient and the activation's input are
    positive. So in the backward pass LeakyReLU counts as a ReLU: what its slope lets through below
    zero is stopped as well. The forward pass and the responses are D's own.

    Args:
        discriminator: used in evaluation mode.
        images: uint8 N x C x H x W.
        maps: how many of the last convolution's maps, from the first on; at most all of them.
        top: images for each map, at most N; each gives the unit with its strongest response.
    """
    blocks = list(cast(Sequence[Block], discriminator.blocks))
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(discriminator))
        strongest = _strongest(discriminator, images)[:, :maps]
        for block in blocks:
            stack.callback(block.activation.register_forward_hook(_guide).remove)
        return [
            _response(discriminator, images, number, strongest[:, number], top)
            for number in range(strongest.shape[1])
        ]


@torch.no_grad()
def _strongest(discriminator: Discriminator, images: data.Images) -> Tensor:
    """For each image the largest value of each map of D's last convolution: N x maps."""
    device = next(discriminator.parameters()).device
    largest = []
    for start in range(0, len(images), AT_ONCE):
        pixels = data.to_float(images[start : start + AT_ONCE]).to(device)
        largest.append(discriminator.features(pixels)[-1].amax(dim=(2, 3)).cpu())
    return torch.cat(largest)


def _response(
    discriminator: Discriminator, images: data.Images, number: int, strongest: Tensor, top: int
) -> Response:
    """What map `number` answers to; `strongest` is its largest value in each image."""
    device = next(discriminator.parameters()).device
    chosen = torch.argsort(strongest, descending=True, stable=True)[:top].numpy()
    pixels = data.to_float(images[chosen]).to(device).requires_grad_()
    maps = discriminator.features(pixels)[-1]
    responses, places = maps[:, number].flatten(1).max(dim=1)
    (gradients,) = torch.autograd.grad(responses.sum(), pixels)
    width = maps.shape[-1]
    regions = [seen_by(discriminator.architecture, *divmod(int(place), width)) for place in places]
    return Response(chosen, responses.detach().cpu().numpy(), regions, gradients.cpu().numpy())


def _guide(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Let only positive gradients through, and only to positive inputs.

    At positive inputs LeakyReLU's own gradient is 1.
    """
    if output.requires_grad:
        was_positive = inputs[0].detach() > 0
        output.register_hook(lambda gradient: gradient.clamp(min=0) * was_positive)


def seen_by(params: DiscriminatorArchitecture, row: int, column: int) -> Region:
    """The pixels inside the image that the unit at (row, column) of D's last map sees."""
    sizes = [params.image_size, *params.sizes()]
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
    """The transposed convolution whose inputs are G's second-highest hidden maps.

    It is the last but one, or the only one. The paper dropped 200 of its "second highest
    convolution layer features", more than the 128 of its highest hidden layer: it means these maps.
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
    return torch.cat(means)[: len(z)].numpy()  # without what filled up the last batch


@contextlib.contextmanager
def without_units(generator: Generator, units: Positions) -> Iterator[None]:
    """Within the context these of the second-highest hidden maps are zero everywhere."""

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
    """What the logistic regression says of G's units (section 6.3.1).

    Attributes:
        units: those with positive weight, rising.
        weights: of all units, for activations of mean 0 and deviation 1.
        accuracy: on the held-out samples, of which half are of the class; 0.5 is chance.
        num_train: samples that the regression learnt from.
        num_held_out: samples that its accuracy was measured on.
    """

    units: Positions
    weights: Floats
    accuracy: float
    num_train: int
    num_held_out: int


def class_units(
    activations: Floats, is_class: npt.NDArray[np.bool_], seed: int
) -> ClassUnits | None:
    """Find the units that draw a class, by logistic regression.

    It learns from the same number of samples of the class and of the others.

    Args:
        activations: N x units.
        is_class: N.
        seed: of which samples are taken and which are held out.

    Returns:
        None if there are fewer than 20 samples of the class, or of the others.
    """
    from sklearn.linear_model import LogisticRegression

    count = int(min(is_class.sum(), (~is_class).sum()))
    if count < MIN_REGRESSION:
        return None
    sides = []
    for number, side in enumerate((is_class, ~is_class)):
        positions = np.flatnonzero(side)
        drawn = rng.choose(len(positions), count, seed, "paper regression", number)
        sides.append(positions[drawn.numpy()])
    num_held = round(HELD_OUT * count)
    held_out = np.concatenate([side[:num_held] for side in sides])
    train = np.concatenate([side[num_held:] for side in sides])
    mean, deviation = activations[train].mean(axis=0), activations[train].std(axis=0)
    scaled = (activations - mean) / np.where(deviation > 0, deviation, 1)
    model = LogisticRegression(max_iter=1000).fit(scaled[train], is_class[train])
    weights = model.coef_[0]
    accuracy = float(model.score(scaled[held_out], is_class[held_out]))
    return ClassUnits(np.flatnonzero(weights > 0), weights, accuracy, len(train), len(held_out))


def random_units(total: int, count: int, seed: int) -> Positions:
    """`count` of `total` units, rising: the control for dropping those of a class."""
    return np.sort(rng.choose(total, count, seed, "paper control").numpy())
