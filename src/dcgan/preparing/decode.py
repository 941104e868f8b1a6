"""From one raw image, an encoded file or pixels, to the square uint8 array that is prepared.

Files come from anywhere, so each is taken for hostile: its format, its size and its frames are
checked before any pixel is decoded, and any error of Pillow's becomes the reason why the image is
bad. No state is shared: threads may decode at once.
"""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dcgan.raw.dataset import MAX_IMAGE_BYTES, SUFFIXES, Pixels

MAX_PIXELS = 64_000_000  # of an image
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))  # each once, in their order


class BadImage(Exception):
    """One image that cannot be used; `reason` says why, in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(
    source: bytes | Pixels, *, size: int, channels: int, crop: int | None, suffix: str | None = None
) -> Pixels:
    """Decode, turn, convert, cut out the central square and resize.

    | what the source is                         | what is done                                    |
    |--------------------------------------------|-------------------------------------------------|
    | an array, H x W or H x W x 3               | grey or RGB pixels; from "crop" on as a file    |
    | PNG, JPEG, WEBP, BMP, GIF, TIFF by content | decoded in full; a PNG's checksums are compared |
    | any other content                          | bad                                             |
    | content of another format than the suffix  | bad; a suffix not in SUFFIXES says nothing      |
    | no bytes, truncated, damaged               | bad; in a JPEG only what its decoder notices    |
    | over MAX_IMAGE_BYTES                       | bad, before a pixel is decoded                  |
    | over MAX_PIXELS, by its header             | bad, before a pixel is decoded                  |
    | more than one frame or page                | bad                                             |
    | a JPEG with more pictures behind it (MPO)  | its first picture                               |
    | EXIF orientation                           | applied                                         |
    | 1 bit, palette                             | converted to grey, to RGB                       |
    | alpha, a transparent colour                | laid over white                                 |
    | CMYK, YCbCr, LAB                           | converted to RGB                                |
    | 16 bits a channel                          | the higher 8 bits                               |
    | 32-bit integers, floats                    | bad: their range is not known                   |
    | grey for 3 channels                        | three equal channels                            |
    | colour for 1 channel                       | grey, .299 R + .587 G + .114 B                  |
    | crop                                       | the central square of that side                 |
    | a side shorter than crop                   | bad                                             |
    | no crop                                    | the central square of the shorter side          |
    | a file's square below half of `size`       | bad: too small                                  |
    | a square of another size                   | Pillow's bilinear resize with antialias         |
    | a square of that size                      | the pixels stay as they are                     |

    Pillow's warnings are not touched here: all threads share the filters, so the caller that starts
    the threads sets them.

    Args:
        source: the bytes of an image file, or uint8 pixels.
        size: side of the result, pixels.
        channels: 1, grey, or 3, RGB.
        crop: side of the central square that is cut out before the resize, pixels; None: the
            largest.
        suffix: of the file's name, such as ".png", any case; None: not checked.

    Returns:
        uint8, channels x size x size.

    Raises:
        BadImage: as the table says.
    """
    try:
        image = _open(source, suffix) if isinstance(source, bytes) else Image.fromarray(source)
        image = _central_square(image, crop, at_least=size / 2 if isinstance(source, bytes) else 1)
        image = _convert(image, "L" if channels == 1 else "RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    except BadImage:
        raise
    except Image.DecompressionBombError:
        raise BadImage(f"more than {MAX_PIXELS} pixels") from None
    except MemoryError:
        raise BadImage("does not fit into memory") from None
    except Exception as error:  # what Pillow's plugins raise on hostile bytes has no common class
        raise BadImage(" ".join(str(error).split()) or type(error).__name__) from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _open(content: bytes, suffix: str | None) -> Image.Image:
    """Check what can be checked without decoding, then decode and turn."""
    if not content:
        raise BadImage("no bytes")
    if len(content) > MAX_IMAGE_BYTES:
        raise BadImage(f"{len(content)} bytes, more than {MAX_IMAGE_BYTES}")
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage(f"begins no readable {', '.join(FORMATS)}") from None
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    declared = SUFFIXES.get((suffix or "").lower(), kind)
    if declared != kind:
        raise BadImage(f"is {kind}, named {suffix}")
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise BadImage("has more than one frame")
    if kind == "PNG":
        # Loading skips the checksums of the pixels; verify() compares them, and leaves an image
        # that cannot be loaded.
        Image.open(io.BytesIO(content), formats=FORMATS).verify()
    image.load()
    return ImageOps.exif_transpose(image)


def _central_square(image: Image.Image, crop: int | None, at_least: float) -> Image.Image:
    shorter = min(image.size)
    side = crop or shorter
    if side > shorter:
        raise BadImage(f"{image.width} x {image.height} pixels, smaller than the crop of {side}")
    if side < at_least:
        raise BadImage(f"too small: a square of {side} pixels, needs {at_least:g}")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image if image.size == (side, side) else image.crop((left, top, left + side, top + side))


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """To "L" or "RGB"."""
    if image.mode in ("I", "F"):
        raise BadImage("32-bit pixels, whose range is not known")
    if image.mode.startswith("I;16"):
        image = _higher_bits(image)
    elif image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    elif image.mode not in ("1", "L"):
        # First to RGB, because not every mode converts to grey.
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _higher_bits(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).copy()
    if "transparency" in image.info:
        pixels[pixels == image.info["transparency"]] = 65535
    return Image.fromarray((pixels >> 8).astype(np.uint8))
