"""Many images in one picture: grids, labels and tables, with Pillow.

A picture is uint8 H x W x 3, an image uint8 C x H x W with C of 1 or 3.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dcgan import data, files
from dcgan.errors import DataError
from dcgan.pictures import letters

LABEL_HEIGHT = 24  # of the line of text above a picture, pixels
LABEL_SIZE = 14  # of its letters, pixels
BESIDE = 12  # between two labelled pictures, pixels
SCREEN, MOST_ENLARGED = 480, 8  # least width of a picture that people look at, pixels; and factor
CELL = 60  # least side of an image in a table, pixels
GAP = 2  # between two images of a grid or a table, pixels
SPACE = 16  # between two stacked pictures, pixels
TEXT = 13  # size of the letters of a table, pixels
FRAME = (230, 60, 30)  # colour of the frame around a region

Picture = npt.NDArray[np.uint8]  # H x W x 3
Region = tuple[int, int, int, int]  # left, top, right, bottom pixel, all of them inside


def tile(images: npt.NDArray[Any], columns: int) -> Picture:
    """Lay images out in rows, two pixels apart; as torchvision's `make_grid`, which tests compare.

    Our own, because torchvision takes a second and a half to import, in every command that draws.

    Args:
        images: N x C x H x W, uint8, C of 1 or 3.
        columns: images a row.
    """
    count, _, height, width = images.shape
    if count == 1:
        return np.broadcast_to(images[0].transpose(1, 2, 0), (height, width, 3)).copy()
    columns = min(columns, count)
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), np.uint8)
    for number, image in enumerate(images):
        top = number // columns * (height + GAP) + GAP
        left = number % columns * (width + GAP) + GAP
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return canvas


def save_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write H x W x 3 or H x W, uint8, as PNG in one step; equal pixels give equal bytes."""
    with files.replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def read(path: Path, scale: int = 1) -> Picture:
    """A PNG as a picture, each pixel `scale` times as wide and high.

    Raises:
        DataError: the file is missing or no PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return enlarged(np.asarray(image.convert("RGB")), scale)
    except (OSError, SyntaxError) as error:
        raise DataError(
            f"{path}: cannot be read as PNG ({error}): run the stage that makes it"
        ) from error


def enlarged(picture: Picture, scale: int) -> Picture:
    """Each pixel `scale` times as wide and high."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def shown(picture: Picture) -> Picture:
    """A picture enlarged by a whole number, so that it is at least SCREEN pixels wide."""
    return enlarged(picture, min(MOST_ENLARGED, -(-SCREEN // picture.shape[1])))


def labelled(picture: Picture, text: str) -> Picture:
    """A picture with a line of text above it."""
    height, width, _ = picture.shape
    canvas = Image.new("RGB", (width, height + LABEL_HEIGHT), "white")
    font = ImageFont.load_default(size=LABEL_SIZE)
    plain = letters.escaped(text, letters.in_pillow)
    ImageDraw.Draw(canvas).text((4, 4), plain, fill="black", font=font)
    canvas.paste(Image.fromarray(picture), (0, LABEL_HEIGHT))
    return np.asarray(canvas)


def beside(left: Picture, left_text: str, right: Picture, right_text: str) -> Picture:
    """Two pictures side by side under their titles."""
    pictures = [labelled(left, left_text), labelled(right, right_text)]
    return stack(pictures, across=True, space=BESIDE)


def note(text: str) -> Picture:
    """A line of text on black, where there is no image to show."""
    canvas = Image.new("RGB", (160, 24))
    ImageDraw.Draw(canvas).text((8, 6), text, fill="white")
    return np.asarray(canvas)


def cell(image: data.Images, region: Region | None = None) -> Picture:
    """One image C x H x W for a table, enlarged by a whole number to at least 60 pixels a side.

    Args:
        image: uint8, C x H x W.
        region: the part around which a frame is drawn; None: no frame.
    """
    scale = max(-(-CELL // image.shape[1]), 1)
    rgb = np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3))
    picture = enlarged(np.ascontiguousarray(rgb), scale)
    if region is None:
        return picture
    canvas = Image.fromarray(picture)
    left, top, right, bottom = region
    edges = (left * scale, top * scale, (right + 1) * scale - 1, (bottom + 1) * scale - 1)
    ImageDraw.Draw(canvas).rectangle(edges, outline=FRAME)
    return np.asarray(canvas)


def table(
    cells: Sequence[Sequence[Picture]],
    *,
    title: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Picture:
    """Pictures of one size in rows under a title.

    Args:
        cells: the pictures, row by row.
        title: one line of text above all.
        rows: a label left of each row, of one or more lines; none: no labels.
        columns: a label above each column, of one or more lines; none: no labels.
    """
    font = ImageFont.load_default(size=TEXT)
    title, *texts = (letters.escaped(text, letters.in_pillow) for text in (title, *rows, *columns))
    rows, columns = texts[: len(rows)], texts[len(rows) :]
    height, width, _ = cells[0][0].shape
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))

    def size(text: str) -> tuple[int, int]:
        left, top, right, bottom = measure.multiline_textbbox((0, 0), text, font=font)
        return int(right - left) + 8, int(bottom - top) + 8

    left = max((size(row)[0] for row in rows), default=0)
    title_height = TEXT + 10
    top = title_height + max((size(column)[1] for column in columns), default=0)
    column_width = max([width + GAP, *(size(column)[0] for column in columns)])
    total_width = max(left + len(cells[0]) * column_width, size(title)[0])
    canvas = Image.new("RGB", (total_width, top + len(cells) * (height + GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((2, 3), title, fill="black", font=font)
    for j, column in enumerate(columns):
        middle = (left + j * column_width + width // 2, title_height)
        draw.multiline_text(middle, column, "black", font, anchor="ma", align="center")
    for i, row in enumerate(cells):
        y = top + i * (height + GAP)
        if rows:
            draw.multiline_text((2, y + height // 2), rows[i], "black", font, anchor="lm")
        for j, picture in enumerate(row):
            canvas.paste(Image.fromarray(picture), (left + j * column_width, y))
    return np.asarray(canvas)


def stack(pictures: Sequence[Picture], *, across: bool = False, space: int = SPACE) -> Picture:
    """Pictures on white, one below the other, or side by side if `across`; `space` pixels apart."""
    sizes = np.array([picture.shape[:2] for picture in pictures])
    total_space = space * (len(pictures) - 1)
    if across:
        height, width = sizes[:, 0].max(), sizes[:, 1].sum() + total_space
    else:
        height, width = sizes[:, 0].sum() + total_space, sizes[:, 1].max()
    canvas = np.full((height, width, 3), 255, np.uint8)
    start = 0
    for picture in pictures:
        rows, columns, _ = picture.shape
        if across:
            canvas[:rows, start : start + columns] = picture
        else:
            canvas[start : start + rows, :columns] = picture
        start += space + (columns if across else rows)
    return canvas
