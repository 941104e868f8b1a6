"""Animations as GIF files, with Pillow, and the way through the latent space that one shows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcgan import files
from dcgan.errors import DataError
from dcgan.pictures.grids import Picture


def gif(
    frames: Sequence[Picture], path: Path, *, frame_ms: int, hold_ms: int | None = None
) -> None:
    """Write an endless GIF; the last frame is shown for `hold_ms` (None: as long as the others).

    Raises:
        DataError: there is no frame, or frames differ in size.
    """
    sizes = {frame.shape for frame in frames}
    if len(sizes) != 1:
        raise DataError(
            f"{path}: {len(frames)} frames of {len(sizes)} sizes,"
            " expected at least one frame and one size: run train"
        )
    indexed = _one_palette(frames)
    durations = [frame_ms] * (len(frames) - 1) + [hold_ms or frame_ms]
    with files.replacing(path) as temporary:
        indexed[0].save(
            temporary, "GIF", save_all=True, append_images=indexed[1:],
            duration=durations, loop=0, optimize=False,
        )  # fmt: skip


def _one_palette(frames: Sequence[Picture]) -> list[Image.Image]:
    """The frames in at most 256 colours, which all frames share; grey frames keep every shade.

    With a palette of its own for each frame the GIF would flicker.
    """
    if all((frame[..., :1] == frame).all() for frame in frames):
        return [Image.fromarray(np.ascontiguousarray(frame[..., 0])) for frame in frames]
    sampled = frames[:: max(len(frames) // 16, 1)]
    palette = Image.fromarray(np.concatenate(sampled)).quantize(256, dither=Image.Dither.NONE)
    return [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]


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
