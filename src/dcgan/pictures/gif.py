"""Animations as GIF files, with Pillow, and the way through the latent space that one shows."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcgan import files
from dcgan.errors import DataError
from dcgan.pictures.grids import Picture

# Of all frames of an animation together: 300 of 448 x 472, which last two minutes as epochs.
MOST_PIXELS = 64_000_000


class Drawn(Sequence[Picture]):
    """Frames that are drawn when they are looked at, and so take no memory."""

    def __init__(self, count: int, draw: Callable[[int], Picture]) -> None:
        self._count, self._draw = count, draw

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:  # never a slice
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._draw(index)


def chosen(count: int, pixels: int) -> list[int]:
    """Which of `count` frames an animation shows, in order.

    All, or, if they have more than MOST_PIXELS, so many that they have not: at equal distances, the
    first and the last among them.

    Args:
        count: of the frames.
        pixels: of each.
    """
    shown = min(count, max(2, MOST_PIXELS // pixels))
    return [round(i * (count - 1) / max(shown - 1, 1)) for i in range(shown)]


def gif(
    frames: Sequence[Picture], path: Path, *, frame_ms: int, hold_ms: int | None = None
) -> None:
    """Write an endless GIF; the last frame is shown for `hold_ms` (None: as long as the others).

    Of `Drawn` frames one at a time is in memory, beside a byte for each pixel of all.

    Raises:
        DataError: there is no frame, or frames differ in size.
    """
    sizes, grey = set(), True
    for frame in frames:
        sizes.add(frame.shape)
        grey = grey and bool((frame[..., :1] == frame).all())
    if len(sizes) != 1:
        raise DataError(
            f"{path}: {len(frames)} frames of {len(sizes)} sizes,"
            " expected at least one frame and one size: run train"
        )
    indexed = _one_palette(frames, grey)
    durations = [frame_ms] * (len(frames) - 1) + [hold_ms or frame_ms]
    with files.replacing(path) as temporary:
        next(indexed).save(
            temporary, "GIF", save_all=True, append_images=indexed,
            duration=durations, loop=0, optimize=False,
        )  # fmt: skip


def _one_palette(frames: Sequence[Picture], grey: bool) -> Iterator[Image.Image]:
    """The frames in at most 256 colours, which all frames share; grey frames keep every shade.

    With a palette of its own for each frame the GIF would flicker.
    """
    if grey:
        for frame in frames:
            yield Image.fromarray(np.ascontiguousarray(frame[..., 0]))
        return
    sampled = [frames[i] for i in range(0, len(frames), max(len(frames) // 16, 1))]
    palette = Image.fromarray(np.concatenate(sampled)).quantize(256, dither=Image.Dither.NONE)
    for frame in frames:
        yield Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)


def walk(points: Tensor, frames_between: int, distribution: str) -> Tensor:
    """A closed path through latent points.

    Between Gaussian vectors a straight line would cut through lengths that training never saw, so
    the path is spherical (White 2016, arXiv 1609.04468); between uniform ones it is straight. The
    last frame leads back to the first: a GIF of it has no jump.

    Args:
        points: num_points x z_dim.
        frames_between: frames from each point to the next.
        distribution: normal or uniform, from which the points were drawn.

    Returns:
        num_points * frames_between x z_dim, each point followed by the frames to the next.
    """
    path = []
    for start, end in zip(points, points.roll(-1, 0), strict=True):
        for t in torch.arange(frames_between) / frames_between:
            if distribution == "normal":
                angle = torch.arccos(
                    (start @ end / (start.norm() * end.norm())).clamp(-1 + 1e-6, 1 - 1e-6)
                )
                path.append(
                    (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end)
                    / torch.sin(angle)
                )
            else:
                path.append(torch.lerp(start, end, t))
    return torch.stack(path)
