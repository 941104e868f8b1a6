"""Many images in one picture."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision.utils import make_grid

from dcgan import files

Images = npt.NDArray[np.uint8]


def tile(images: npt.NDArray[Any] | torch.Tensor, columns: int) -> Images:
    """Lay images out in rows, two pixels apart.

    Args:
        images: N x C x H x W, uint8, C of 1 or 3.
        columns: images a row.

    Returns:
        One image, H x W x 3, uint8.
    """
    tensor = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    grid: torch.Tensor = make_grid(tensor.cpu(), nrow=columns, padding=2)
    return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())


def save_png(path: Path, image: Images) -> None:
    """Write H x W x 3 or H x W, uint8, as PNG in one visible step; equal pixels give equal bytes."""
    with files.replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")
