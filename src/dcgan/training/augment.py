"""DiffAugment: random changes of all images that D sees, real and fake, which gradients pass.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020, section 3.

Written here, and not taken from kornia, whose draws come from torch's global generator: a killed
training that resumes would not end with the same bits.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 1 / 8  # of the side, at most
HOLE = 1 / 2  # of the side


def augment(images: Tensor, policy: Sequence[str], rng: torch.Generator) -> Tensor:
    """Change each image on its own; differentiable.

    Args:
        images: float N x C x H x W in [-1, 1]; the result may leave this range.
        policy: names of the changes, in order.
        rng: a CPU generator, so that every device sees the same draws.
    """
    for name in policy:
        images = AUGMENTATIONS[name](images, rng)
    return images


def color(images: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness by -.5 to .5, saturation by 0 to 2, contrast by .5 to 1.5."""
    brightness, saturation, contrast = (_uniform(images, rng) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, rng: torch.Generator) -> Tensor:
    """A shift by up to an eighth of the side each way; pixels from outside the image are 0."""
    count, _, height, width = images.shape
    rows, columns = (
        torch.arange(size) + _integers(count, round(size * SHIFT), rng).to(torch.int64)
        for size in (height, width)
    )
    # A frame of zeros, from which everything outside is taken.
    framed = F.pad(images, (1, 1, 1, 1))
    rows = (rows + 1).clamp(0, height + 1).to(images.device)
    columns = (columns + 1).clamp(0, width + 1).to(images.device)
    which = torch.arange(count, device=images.device)
    return framed.permute(0, 2, 3, 1)[
        which[:, None, None], rows[:, :, None], columns[:, None, :]
    ].permute(0, 3, 1, 2)


def cutout(images: Tensor, rng: torch.Generator) -> Tensor:
    """A square of half the side, at a random place, is 0; it may reach over the edge."""
    count, _, height, width = images.shape
    inside = []
    for size in (height, width):
        centre = torch.randint(0, size + 1, (count, 1), generator=rng)
        reach = round(size * HOLE) // 2
        place = torch.arange(size)
        inside.append((place >= centre - reach) & (place < centre + reach))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return images * ~hole[:, None].to(images.device)


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}


def _uniform(images: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=rng).to(images.device, images.dtype)


def _integers(count: int, reach: int, rng: torch.Generator) -> Tensor:
    return torch.randint(-reach, reach + 1, (count, 1), generator=rng)
