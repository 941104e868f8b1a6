"""Animations and comparisons, with Pillow. Pictures are uint8 H x W x 3."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dcgan import files
from dcgan.errors import DataError

LABEL_HEIGHT = 24

Picture = npt.NDArray[np.uint8]


def read(path: Path, scale: int = 1) -> Picture:
    """A PNG as a picture, each pixel `scale` times as wide and high.

    Raises:
        DataError: the file is missing or no PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.asarray(enlarged(np.asarray(image.convert("RGB")), scale))
    except (OSError, SyntaxError) as error:
        raise DataError(
            f"{path}: cannot be read as PNG ({error}): run the stage that makes it"
        ) from error


def enlarged(picture: Picture, scale: int) -> Image.Image:
    """Each pixel `scale` times as wide and high."""
    return Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1))


def labelled(picture: Picture, text: str) -> Image.Image:
    """A picture with a line of text above it."""
    height, width, _ = picture.shape
    canvas = Image.new("RGB", (width, height + LABEL_HEIGHT), "white")
    ImageDraw.Draw(canvas).text((4, 4), text, fill="black", font=ImageFont.load_default(size=14))
    canvas.paste(Image.fromarray(picture), (0, LABEL_HEIGHT))
    return canvas


def gif(
    frames: Sequence[Image.Image], path: Path, *, frame_ms: int, hold_ms: int | None = None
) -> None:
    """Write an endless GIF; the last frame is shown for `hold_ms` (None: as long as the others).

    Raises:
        DataError: there is no frame, or frames differ in size.
    """
    sizes = {frame.size for frame in frames}
    if len(sizes) != 1:
        raise DataError(
            f"{path}: {len(frames)} frames of {len(sizes)} sizes, expected at least one frame and one size: run train"
        )
    indexed = _one_palette([np.asarray(frame.convert("RGB")) for frame in frames])
    durations = [frame_ms] * (len(frames) - 1) + [hold_ms or frame_ms]
    with files.replacing(path) as temporary:
        indexed[0].save(
            temporary,
            "GIF",
            save_all=True,
            append_images=indexed[1:],
            duration=durations,
            loop=0,
            optimize=False,
        )


def _one_palette(frames: list[Picture]) -> list[Image.Image]:
    """The frames in at most 256 colours, the same for all: a palette a frame would flicker. Grey keeps every shade."""
    if all((frame[..., :1] == frame).all() for frame in frames):
        return [Image.fromarray(np.ascontiguousarray(frame[..., 0])) for frame in frames]
    some = frames[:: max(len(frames) // 16, 1)]
    palette = Image.fromarray(np.concatenate(some)).quantize(256, dither=Image.Dither.NONE)
    return [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]


def walk(points: Tensor, frames_between: int, distribution: str) -> Tensor:
    """A closed path through latent points, num_points x z_dim: num_points * frames_between x z_dim.

    Between Gaussian vectors a straight line would cut through lengths that training never saw, so
    the path is spherical (White 2016, arXiv 1609.04468); between uniform ones it is straight. The
    last frame leads back to the first: a GIF of it has no jump.
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


def beside(left: Picture, left_text: str, right: Picture, right_text: str) -> Picture:
    """Two pictures side by side under their titles."""
    pictures = [labelled(left, left_text), labelled(right, right_text)]
    gap = 12
    canvas = Image.new(
        "RGB", (sum(p.width for p in pictures) + gap, max(p.height for p in pictures)), "white"
    )
    canvas.paste(pictures[0], (0, 0))
    canvas.paste(pictures[1], (pictures[0].width + gap, 0))
    return np.asarray(canvas)
