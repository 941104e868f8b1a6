import io
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from dcgan.preparing import decode
from dcgan.preparing.decode import BadImage

SIZE = 40
RED, BLUE, BLACK, WHITE = (200, 40, 40), (40, 60, 200), (0, 0, 0), (255, 255, 255)
GREYS = (88, 70, 0)  # of RED, BLUE and BLACK
BASE = np.zeros((SIZE, SIZE, 3), np.uint8)
BASE[:30, :20], BASE[:30, 20:] = RED, BLUE  # left and right; black below
LEFT, RIGHT, BELOW = (5, 5), (5, 35), (35, 20)  # row and column of a place within each


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def encode(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def rgb() -> Image.Image:
    return Image.fromarray(BASE)


def grey() -> Image.Image:
    return rgb().convert("L")


def alpha() -> Image.Image:
    """Left: see-through, right: half, below: solid."""
    values = np.full((SIZE, SIZE), 255, np.uint8)
    values[:30, :20], values[:30, 20:] = 0, 128
    return Image.fromarray(values)


def with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(alpha())
    return image


def palette() -> Image.Image:
    return rgb().convert("P", palette=Image.Palette.ADAPTIVE, colors=3)


def palette_with_hole() -> bytes:
    image = palette()
    return encode(image, "PNG", transparency=image.getpixel((5, 5)))


def lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(rgb(), ImageCms.buildTransform(*profiles, "RGB", "LAB"))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter clockwise
    return encode(
        rgb().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, subsampling=0, exif=exif
    )


def frames(kind: str) -> bytes:
    return encode(rgb(), kind, save_all=True, append_images=[Image.fromarray(255 - BASE)])


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be large, in less than 100 bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def flipped() -> bytes:
    content = bytearray(encode(rgb(), "PNG"))
    content[content.index(b"IDAT") + 20] ^= 1
    return bytes(content)


def wide_grey() -> np.ndarray:
    """16 bits a pixel."""
    return np.asarray(grey()).astype(np.uint16) * 257


IN_COLOUR = (RED, BLUE, BLACK)
IN_GREY = tuple((value,) * 3 for value in GREYS)
OVER_WHITE = (WHITE, (147, 157, 227), BLACK)

# A file's name, what makes it, and what the docstring promises: the colours left, right and below,
# or the reason why it is bad.
AWKWARD: dict[str, tuple[Callable[[], bytes], tuple[tuple[int, ...], ...] | str]] = {
    "bits.png": (lambda: encode(Image.fromarray(BASE[..., 0] > 100), "PNG"), (WHITE, BLACK, BLACK)),
    "grey.png": (lambda: encode(grey(), "PNG"), IN_GREY),
    "grey-alpha.png": (lambda: encode(with_alpha(grey()), "PNG"), (WHITE, (162,) * 3, BLACK)),
    "grey-hole.png": (lambda: encode(grey(), "PNG", transparency=GREYS[0]), (WHITE, *IN_GREY[1:])),
    "palette.png": (lambda: encode(palette(), "PNG"), IN_COLOUR),
    "palette-hole.png": (palette_with_hole, (WHITE, BLUE, BLACK)),
    "rgb.png": (lambda: encode(rgb(), "PNG"), IN_COLOUR),
    "rgba.png": (lambda: encode(with_alpha(rgb()), "PNG"), OVER_WHITE),
    "cmyk.jpg": (lambda: encode(rgb().convert("CMYK"), "JPEG", quality=95), IN_COLOUR),
    "wide.png": (lambda: encode(wide_grey(), "PNG"), IN_GREY),
    "wide-hole.png": (
        lambda: encode(wide_grey(), "PNG", transparency=GREYS[0] * 257),
        (WHITE, *IN_GREY[1:]),
    ),
    "wide.tif": (lambda: encode(wide_grey(), "TIFF"), IN_GREY),
    "float.tif": (lambda: encode(BASE[..., 0].astype(np.float32), "TIFF"), "32-bit pixels"),
    "integer.tiff": (lambda: encode(BASE[..., 0].astype(np.int32), "TIFF"), "32-bit pixels"),
    "lab.tif": (lambda: encode(lab(), "TIFF"), IN_COLOUR),
    "turned.jpg": (turned, IN_COLOUR),
    "progressive.JPEG": (lambda: encode(rgb(), "JPEG", quality=95, progressive=True), IN_COLOUR),
    "grey.jpg": (lambda: encode(grey(), "JPEG", quality=95), IN_GREY),
    "two-pictures.jpg": (lambda: frames("MPO"), IN_COLOUR),
    "plain.webp": (lambda: encode(rgb(), "WEBP", lossless=True), IN_COLOUR),
    "plain.bmp": (lambda: encode(rgb(), "BMP"), IN_COLOUR),
    "plain.gif": (lambda: encode(palette(), "GIF"), IN_COLOUR),
    "moving.gif": (lambda: frames("GIF"), "more than one frame"),
    "moving.png": (lambda: frames("PNG"), "more than one frame"),
    "moving.webp": (lambda: frames("WEBP"), "more than one frame"),
    "pages.tif": (lambda: frames("TIFF"), "more than one frame"),
    "dot.png": (lambda: encode(BASE[:1, :1], "PNG"), "too small: a square of 1 pixels, needs 20"),
    "line.png": (lambda: encode(np.zeros((10000, 1, 3), np.uint8), "PNG"), "too small"),
    "small.png": (lambda: encode(BASE[:19, :19], "PNG"), "too small: a square of 19 pixels"),
    "half.jpg": (lambda: encode(rgb(), "JPEG")[:500], "(?i)truncated"),
    "half.png": (
        lambda: encode(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), "PNG")[
            :2000
        ],
        "(?i)truncated",
    ),
    "empty.png": (lambda: b"", "no bytes"),
    "page.png": (
        lambda: b"<html><body>404 not found</body></html>",
        "begins no readable PNG, JPEG",
    ),
    "jpeg.png": (lambda: encode(rgb(), "JPEG"), r"is JPEG, named \.png"),
    "photoshop.png": (
        lambda: b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 40, 40, 8, 3) + bytes(9999),
        "begins no readable",
    ),
    "vector.png": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n",
        "begins no readable",
    ),
    "bomb.png": (lambda: png_header(50_000, 50_000), "more than 64000000 pixels"),
    "bomb-2.png": (lambda: png_header(9_000, 9_000), "9000 x 9000 pixels, more than 64000000"),
    "bomb-3.png": (lambda: png_header(12_000, 12_000), "12000 x 12000 pixels, more than 64000000"),
    "bomb-4.png": (lambda: png_header(2**31 - 1, 2**31 - 1), "more than 64000000 pixels"),
    "nothing.png": (lambda: png_header(0, 40), "begins no readable"),
    "flipped.png": (flipped, "broken PNG file"),
    "a/b c/ nested.name.png": (lambda: encode(rgb(), "PNG"), IN_COLOUR),
    "no-suffix": (lambda: encode(rgb(), "WEBP", lossless=True), IN_COLOUR),
}


def run(name: str, *, channels: int = 3, **settings: object) -> np.ndarray:
    suffix = "." + name.rpartition(".")[2] if "." in name else ""
    return decode.decode(
        AWKWARD[name][0](),
        **{"size": SIZE, "channels": channels, "crop": None, "suffix": suffix, **settings},
    )


@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in AWKWARD.items() if not isinstance(expected, str)]
)
def test_a_good_file_gives_the_documented_pixels(name):
    image = run(name)
    assert (image.shape, image.dtype) == ((3, SIZE, SIZE), np.uint8)
    lossy = name.lower().endswith(("jpg", "jpeg", "tif"))
    for place, expected in zip((LEFT, RIGHT, BELOW), AWKWARD[name][1], strict=True):
        np.testing.assert_allclose(image[:, *place].astype(int), expected, atol=12 if lossy else 0)


@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in AWKWARD.items() if not isinstance(expected, str)]
)
def test_a_good_file_becomes_grey_where_one_channel_is_wanted(name):
    image, coloured = run(name, channels=1), run(name)
    assert image.shape == (1, SIZE, SIZE)
    np.testing.assert_allclose(
        image[0], np.tensordot([0.299, 0.587, 0.114], coloured.astype(float), 1), atol=1
    )


@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in AWKWARD.items() if isinstance(expected, str)]
)
def test_a_bad_file_is_refused_with_the_documented_reason(name):
    with pytest.raises(BadImage, match=AWKWARD[name][1]) as caught:
        run(name)
    assert "\n" not in caught.value.reason
    assert caught.value.reason


def test_a_lying_suffix_is_accepted_where_nobody_asks():
    assert run("jpeg.png", suffix=None).shape == (3, SIZE, SIZE)


def test_a_file_that_is_too_long_is_refused():
    with pytest.raises(BadImage, match="67108865 bytes, more than 67108864"):
        decode.decode(bytes(decode.MAX_IMAGE_BYTES + 1), size=SIZE, channels=1, crop=None)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
    ],
)
def test_a_file_that_is_cut_short_anywhere_is_refused_or_complete(kind, options):
    content = encode(
        np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8), kind, **options
    )
    whole = decode.decode(content, size=SIZE, channels=3, crop=None)
    for length in range(0, len(content), 3):
        try:
            image = decode.decode(content[:length], size=SIZE, channels=3, crop=None)
        except BadImage:
            continue
        np.testing.assert_array_equal(image, whole)
        assert length > 0.9 * len(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_wrong_bits_anywhere_never_raise_anything_else(kind):
    generator = np.random.default_rng(0)
    content = encode(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8), kind)
    for flips in generator.integers(0, 8 * 200, (200, 3)):
        damaged = bytearray(content)
        for flip in flips:
            damaged[flip // 8] ^= 1 << flip % 8
        try:
            image = decode.decode(bytes(damaged), size=SIZE, channels=1, crop=None)
        except BadImage:
            continue
        assert image.shape == (1, SIZE, SIZE)


# Squares and sizes


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (41, 60)])
def test_the_central_square_of_the_shorter_side_is_taken(shape):
    image = np.zeros((*shape, 3), np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    image[top : top + side, left : left + side] = 255
    for source in (image, encode(image, "PNG")):
        assert decode.decode(source, size=SIZE, channels=3, crop=None).min() == 255


def test_a_crop_is_cut_out_of_the_middle_and_a_larger_one_is_refused():
    image = np.arange(50 * 40, dtype=np.uint8).reshape(50, 40)
    np.testing.assert_array_equal(
        decode.decode(image, size=8, channels=1, crop=8)[0], image[21:29, 16:24]
    )
    with pytest.raises(BadImage, match="40 x 50 pixels, smaller than the crop of 41"):
        decode.decode(image, size=8, channels=1, crop=41)
    with pytest.raises(BadImage, match="too small: a square of 3 pixels, needs 4"):
        decode.decode(encode(image, "PNG"), size=8, channels=1, crop=3)


def test_pixels_of_a_known_data_set_may_be_enlarged_to_any_size():
    assert decode.decode(np.zeros((28, 28), np.uint8), size=64, channels=3, crop=None).shape == (
        3,
        64,
        64,
    )


def test_pixels_of_the_right_size_stay_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for source in (image, encode(image, "PNG")):
        np.testing.assert_array_equal(
            decode.decode(source, size=SIZE, channels=3, crop=None), image.transpose(2, 0, 1)
        )
    np.testing.assert_array_equal(
        decode.decode(image[..., 0], size=SIZE, channels=1, crop=None), image[None, ..., 0]
    )


def test_grey_pixels_for_three_channels_are_three_times_the_same():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), np.uint8)
    np.testing.assert_array_equal(
        decode.decode(image, size=SIZE, channels=3, crop=None), np.stack([image] * 3)
    )


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.tile(np.array([0, 255], np.uint8), (28, 14))
    small = decode.decode(stripes, size=7, channels=1, crop=None)
    assert small.shape == (1, 7, 7)
    assert 120 < small.mean() < 135
    assert small.std() < 20


def test_a_file_and_its_pixels_are_resized_alike():
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    sources = (image, encode(image, "PNG"))
    first, second = (decode.decode(source, size=SIZE, channels=3, crop=None) for source in sources)
    np.testing.assert_array_equal(first, second)


def test_many_threads_get_what_one_gets():
    names = [name for name, (_, expected) in AWKWARD.items() if not isinstance(expected, str)]
    alone = [run(name) for name in names]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(run, names * 4))
    for position, image in enumerate(together):
        np.testing.assert_array_equal(image, alone[position % len(names)])
