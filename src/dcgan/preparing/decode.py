"""From one raw image, an encoded file or pixels, to the square uint8 array that is prepared.

Files come from anywhere, so each is taken for hostile: its format and its size are checked before
any pixel is decoded, and any error of Pillow's becomes the reason why the image is bad. What is
assumed about an image is reported with it. No state is shared: threads may decode at once.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from dcgan.config import sections
from dcgan.raw.dataset import FORMATS, MAX_IMAGE_BYTES, SUFFIXES, Pixels

MAX_PIXELS = 64_000_000  # of an image
TOO_SMALL, SMALLER_THAN_CROP = "too small", "smaller than the crop"  # parts of reasons
UNKNOWN_RANGE = "pixels whose range is not known"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_BIT_DEPTH = 24  # the byte of a PNG that holds it
GREY_NOISE = 8  # between channels: as much a JPEG may add to a grey picture
TIFF_BITS = 258  # the tag with the bits of each channel
# The optional chunks of a PNG that change its pixels. All others are metadata.
PIXEL_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")


class BadImage(Exception):
    """One image that cannot be used; `reason` says why, in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RangeWanted(Exception):
    """An image of more than 8 bits: `white`, for all such images, must be found first."""

    def __init__(self, peak: int) -> None:
        super().__init__(f"has values up to {peak}")
        self.peak = peak  # the largest value of its pixels


class Fact(IntFlag):
    """What was assumed about an image, or done to it."""

    FRAMES = 1  # it has several: the first was taken
    RENAMED = 2  # its content is of another format than its name says
    METADATA = 4  # damaged, or too long: not used
    NO_SQUARE = 8
    ENLARGED = 16
    TRANSPARENT = 32
    DEEP = 64  # more than 8 bits: scaled
    DEEP_COLOUR = 128  # 16 bits a channel, in colour: Pillow gives the higher 8
    COLOUR_LOST = 256  # it was made grey


@dataclass(frozen=True)
class Decoded:
    """One image and what was assumed about it."""

    pixels: Pixels  # C x H x W
    facts: Fact
    cut: int  # percent of its area that was cut off


def decode(
    source: bytes | Pixels,
    dataset: sections.Dataset,
    *,
    suffix: str | None = None,
    white: int | None = None,
) -> Decoded:
    """Decode, turn, convert, make square and resize.

    | what the source is                         | what is done                                    |
    |--------------------------------------------|-------------------------------------------------|
    | an array, H x W or H x W x 3               | grey or RGB pixels; from "crop" on as a file    |
    | a format of FORMATS by content             | decoded in full; a PNG's checksums are compared |
    | any other content                          | bad                                             |
    | content of another format than the suffix  | decoded by content                              |
    | no bytes, truncated, damaged pixels        | bad; in a JPEG only what its decoder notices    |
    | damaged or long metadata                   | decoded without them                            |
    | over MAX_IMAGE_BYTES                       | bad, before a pixel is decoded                  |
    | over MAX_PIXELS, by its header             | bad, before a pixel is decoded                  |
    | more than one frame, page or picture       | the first                                       |
    | EXIF orientation                           | applied                                         |
    | 1 bit, palette                             | converted to grey, to RGB                       |
    | alpha, a transparent colour                | laid over `background`                          |
    | CMYK, YCbCr, LAB                           | converted to RGB                                |
    | 16 or 32 bits, integers                    | `max_value` or `white` becomes 255              |
    | floats                                     | `max_value` becomes 255; without it 1, and what |
    |                                            | has values outside 0 to 1 is bad                |
    | 16 bits a channel, in colour               | the higher 8 bits: Pillow reads no more         |
    | grey for 3 channels                        | three equal channels                            |
    | colour for 1 channel                       | grey, .299 R + .587 G + .114 B                  |
    | crop                                       | the central square of that side                 |
    | a side shorter than crop                   | bad                                             |
    | no square, fit: crop                       | the central square of the shorter side          |
    | no square, fit: pad                        | `background` added to the shorter side          |
    | no square, fit: stretch                    | resized to a square                             |
    | a file's side below half of the size       | bad: too small; unless `enlarge` is not twice   |
    | a square of another size                   | Pillow's bilinear resize with antialias;        |
    |                                            | nearest, where `enlarge` says so                |
    | a square of that size                      | the pixels stay as they are                     |

    Pillow's warnings are not touched here: all threads share the filters, so the caller that starts
    the threads sets them.

    Args:
        source: the bytes of an image file, or uint8 pixels.
        dataset: `image_size`, `channels`, `crop`, `fit`, `background`, `enlarge`, `max_value`.
        suffix: of the file's name, such as ".png", any case; None: not compared.
        white: what becomes 255 in images of 16 or 32 bits, if `max_value` is not set.

    Returns:
        Pixels, uint8, channels x size x size, and what was assumed.

    Raises:
        BadImage: as the table says.
        RangeWanted: the image has more than 8 bits, and neither `max_value` nor `white` is set.
    """
    try:
        if isinstance(source, bytes):
            image, facts = _open(source, suffix)
        else:
            image, facts = Image.fromarray(source), Fact(0)
        image, facts, cut = _crop(image, facts, dataset, is_file=isinstance(source, bytes))
        image, facts = _convert(image, facts, dataset, white)
        image = _resize(image, dataset)
        pixels = np.asarray(image)
    except (BadImage, RangeWanted):
        raise
    except Image.DecompressionBombError:
        raise BadImage(f"more than {MAX_PIXELS} pixels") from None
    except MemoryError:
        raise BadImage("does not fit into memory") from None
    except Exception as error:  # what Pillow's plugins raise on hostile bytes has no common class
        raise BadImage(" ".join(str(error).split()) or type(error).__name__) from error
    if dataset.channels == 1:
        return Decoded(pixels[None], facts, cut)
    return Decoded(np.ascontiguousarray(pixels.transpose(2, 0, 1)), facts, cut)


def _open(content: bytes, suffix: str | None) -> tuple[Image.Image, Fact]:
    """Check what can be checked without decoding, then decode and turn."""
    if not content:
        raise BadImage("no bytes")
    if len(content) > MAX_IMAGE_BYTES:
        raise BadImage(f"{len(content)} bytes, more than {MAX_IMAGE_BYTES}")
    facts = Fact(0)
    try:
        image = _load(content)
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # Pillow refuses a PNG for its texts and colour profiles, too
        if not content.startswith(PNG_SIGNATURE):
            raise
        image, facts = _load(_without_metadata(content)), Fact.METADATA
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    if SUFFIXES.get((suffix or "").lower(), kind) != kind:
        facts |= Fact.RENAMED
    if image.format != "MPO" and getattr(image, "is_animated", False):
        facts |= Fact.FRAMES
    if _has_deep_colours(image, content):
        facts |= Fact.DEEP_COLOUR
    try:
        # Pillow may have met the damage when it opened the file, and kept silent.
        Image.Exif().load(image.info.get("exif", b""))
        turned = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # Pillow's reader of EXIF raises errors of many classes
        return image, facts | Fact.METADATA
    turned.format = image.format
    return turned, facts


def _load(content: bytes) -> Image.Image:
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage(f"begins no readable {', '.join(FORMATS)}") from None
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
    if image.format == "PNG":
        # Loading skips the checksums of the pixels; verify() compares them, and leaves an image
        # that cannot be loaded.
        Image.open(io.BytesIO(content), formats=FORMATS).verify()
    image.load()
    return image


def _without_metadata(content: bytes) -> bytes:
    """A PNG's chunks that are its pixels; its EXIF data, which may turn it, if they are whole."""
    kept, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while start + 12 <= len(content):
        length, kind = struct.unpack(">I4s", content[start : start + 8])
        end = start + 12 + length
        chunk = content[start:end]
        critical = kind[:1].isupper()
        whole = chunk[-4:] == zlib.crc32(chunk[4:-4]).to_bytes(4, "big")
        if critical or kind in PIXEL_CHUNKS or (kind == b"eXIf" and whole):
            kept.append(chunk)
        start = end
    return b"".join(kept)


def _has_deep_colours(image: Image.Image, content: bytes) -> bool:
    """Whether Pillow has left out the lower bits: it reads more than 8 in grey pictures only."""
    if image.mode.startswith("I") or image.mode == "F":
        return False
    if image.format == "PNG":
        return content[PNG_BIT_DEPTH] == 16
    tags: Any = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and max(tags.get(TIFF_BITS, (8,))) > 8


def _crop(
    image: Image.Image, facts: Fact, dataset: sections.Dataset, *, is_file: bool
) -> tuple[Image.Image, Fact, int]:
    """Cut out the central square that is wanted, if one is; and percent of the area cut off."""
    width, height = image.size
    shorter, area = min(width, height), width * height
    if width != height:
        facts |= Fact.NO_SQUARE
    if dataset.crop and dataset.crop > shorter:
        raise BadImage(f"{width} x {height} pixels, {SMALLER_THAN_CROP} of {dataset.crop}")
    side = dataset.crop or (max(image.size) if dataset.fit == "pad" else shorter)
    if side < dataset.image_size:
        if is_file and dataset.enlarge == "twice" and side < dataset.image_size / 2:
            needed = f"needs {dataset.image_size / 2:g}"
            raise BadImage(f"{TOO_SMALL}: a square of {side} pixels, {needed}")
        facts |= Fact.ENLARGED
    if image.size == (side, side) or not (dataset.crop or dataset.fit == "crop"):
        return image, facts, 0
    left, top = (width - side) // 2, (height - side) // 2
    cut = round(100 * (1 - side * side / area))
    turned = image.crop((left, top, left + side, top + side))
    turned.format = image.format
    return turned, facts, cut


def _convert(
    image: Image.Image, facts: Fact, dataset: sections.Dataset, white: int | None
) -> tuple[Image.Image, Fact]:
    """To "L" or "RGB", over the background."""
    mode = "L" if dataset.channels == 1 else "RGB"
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey, hole = _eight_bits(image, dataset, white)
        facts |= Fact.DEEP
        if hole is not None and hole.any():
            grey[hole] = ImageColor.getcolor(dataset.background, "L")
            facts |= Fact.TRANSPARENT
        image = Image.fromarray(grey)
    elif image.has_transparency_data:
        over = image.convert("RGBA")
        if over.getchannel("A").getextrema() != (255, 255):
            facts |= Fact.TRANSPARENT
        image = Image.alpha_composite(Image.new("RGBA", over.size, dataset.background), over)
    elif image.mode not in ("1", "L"):
        # First to RGB, because not every mode converts to grey.
        image = image.convert("RGB")
    if mode == "L" and image.mode not in ("1", "L") and _has_colours(image):
        facts |= Fact.COLOUR_LOST
    return (image if image.mode == mode else image.convert(mode)), facts


def _has_colours(image: Image.Image) -> bool:
    """Whether an RGB or RGBA image is more than shades of grey."""
    red, green, blue = (np.asarray(image.getchannel(name), np.int16) for name in "RGB")
    return bool(max(abs(red - green).max(), abs(green - blue).max()) > GREY_NOISE)


def _eight_bits(
    image: Image.Image, dataset: sections.Dataset, white: int | None
) -> tuple[Pixels, npt.NDArray[np.bool_] | None]:
    """Scaled grey pixels, H x W, and where they are transparent."""
    values = np.asarray(image)
    largest: float | None = dataset.max_value
    if image.mode == "F":
        if not np.isfinite(values).all():
            raise BadImage("has pixels that are no numbers")
        if largest is None and values.min() >= 0 and values.max() <= 1:
            largest = 1
    elif values.min() >= 0 and largest is None:
        if image.format == "PPM":
            white = 65535  # Pillow has scaled them to it, as the file's header asks
        if white is None:
            raise RangeWanted(int(values.max()))
        largest = white
    if largest is None:
        raise BadImage(f"{values.min():g} to {values.max():g}: {UNKNOWN_RANGE}")
    scaled = np.rint(values.clip(0, largest) * (255 / largest)).astype(np.uint8)
    transparent = image.info.get("transparency")
    return scaled, None if transparent is None else values == transparent


def _resize(image: Image.Image, dataset: sections.Dataset) -> Image.Image:
    """To the prepared size; first to a square, where there is room to add."""
    if dataset.fit == "pad" and image.width != image.height:
        side = max(image.size)
        square = Image.new(
            image.mode, (side, side), ImageColor.getcolor(dataset.background, image.mode)
        )
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    size = dataset.image_size
    if image.size == (size, size):
        return image
    enlarged = min(image.size) < size
    nearest = enlarged and dataset.enlarge == "nearest"
    return image.resize(
        (size, size), Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    )
