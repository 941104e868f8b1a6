"""DiffAugment: random changes of all images that D sees, real and fake, which gradients pass.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020, section 3.

Written here, and not taken from kornia, whose draws come from torch's global generator: a killed
training that resumes would not end with the same bits.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dcgan.rng import Draws
from dcgan.training.ranks import Part

SHIFT = 1 / 8  # of the side, at most
HOLE = 1 / 2  # of the side


def augment(
    images: Tensor, policy: Sequence[str], draws: Draws, part: Part | None = None
) -> Tensor:
    """Change each image on its own; differentiable, twice.

    Args:
        images: float N x C x H x W in [-1, 1]; the result may leave this range.
        policy: names of the changes, in order.
        draws: on the device of the images.
        part: which images of all processes these are; None: all of them. It is drawn for all.
    """
    part = part or Part(len(images), slice(None))
    for name in policy:
        images = AUGMENTATIONS[name](images, draws, part)
    return images


def color(images: Tensor, draws: Draws, part: Part) -> Tensor:
    """Brightness by -.5 to .5, saturation by 0 to 2, contrast by .5 to 1.5."""
    drawn = draws.uniform(3, part.total, 1, 1, 1)[:, part.rows]
    brightness, saturation, contrast = drawn.to(images.dtype)
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, draws: Draws, part: Part) -> Tensor:
    """A shift by up to an eighth of the side each way; pixels from outside the image are 0."""
    down, right = (
        draws.integers(part.total, low=-round(size * SHIFT), high=round(size * SHIFT))[part.rows]
        for size in images.shape[2:]
    )
    return _Shift.apply(images, down, right)


def cutout(images: Tensor, draws: Draws, part: Part) -> Tensor:
    """A square of half the side, at a random place, is 0; it may reach over the edge."""
    inside = []
    for size in images.shape[2:]:
        centre = draws.integers(part.total, 1, low=0, high=size)[part.rows]
        reach = round(size * HOLE) // 2
        place = torch.arange(size, device=images.device)
        inside.append((place >= centre - reach) & (place < centre + reach))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return images * ~hole[:, None]


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}


class _Shift(torch.autograd.Function):
    """Each image moved by its own number of pixels; its gradient is moved back.

    torch's own gradient of such an indexing adds up pixel by pixel, which a GPU does in any order.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(down, right)
        count, _, height, width = images.shape
        rows, columns = (
            # One more for the frame of zeros, from which everything outside is taken.
            (torch.arange(size, device=images.device) - shift[:, None] + 1).clamp(0, size + 1)
            for size, shift in ((height, down), (width, right))
        )
        framed = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        which = torch.arange(count, device=images.device)
        return framed[which[:, None, None], rows[:, :, None], columns[:, None, :]].permute(
            0, 3, 1, 2
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return _Shift.apply(gradients[0], -down, -right), None, None
