import io
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from dcgan.preparing import decode
from dcgan.preparing.decode import BadImage, Decoded, Fact
from tests.support.given_records import dataset

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


def decoded(
    source: bytes | np.ndarray,
    *,
    size: int = SIZE,
    channels: int = 3,
    suffix: str | None = None,
    white: int | None = None,
    **keys: object,
) -> Decoded:
    wanted = dataset(image_size=size, channels=channels, **keys)
    return decode.decode(source, wanted, suffix=suffix, white=white)


def pixels(source: bytes | np.ndarray, **settings: object) -> np.ndarray:
    return decoded(source, **settings).pixels


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
    return encode(
        rgb(), kind, lossless=True, save_all=True, append_images=[Image.fromarray(255 - BASE)]
    )


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
    "float.tif": (
        lambda: encode(BASE[..., 0].astype(np.float32), "TIFF"),
        "0 to 200: pixels whose range is not known",
    ),
    "nan.tif": (
        lambda: encode(np.full((SIZE, SIZE), np.nan, np.float32), "TIFF"),
        "pixels that are no numbers",
    ),
    "unit.tif": (lambda: encode((np.asarray(grey()) / 255).astype(np.float32), "TIFF"), IN_GREY),
    "integer.tiff": (lambda: encode(np.asarray(grey()).astype(np.int32) * 257, "TIFF"), IN_GREY),
    "below-zero.tiff": (
        lambda: encode(BASE[..., 0].astype(np.int32) - 1, "TIFF"),
        "-1 to 199: pixels whose range is not known",
    ),
    "lab.tif": (lambda: encode(lab(), "TIFF"), IN_COLOUR),
    "turned.jpg": (turned, IN_COLOUR),
    "progressive.JPEG": (lambda: encode(rgb(), "JPEG", quality=95, progressive=True), IN_COLOUR),
    "grey.jpg": (lambda: encode(grey(), "JPEG", quality=95), IN_GREY),
    "two-pictures.jpg": (lambda: frames("MPO"), IN_COLOUR),
    "plain.webp": (lambda: encode(rgb(), "WEBP", lossless=True), IN_COLOUR),
    "plain.bmp": (lambda: encode(rgb(), "BMP"), IN_COLOUR),
    "plain.gif": (lambda: encode(palette(), "GIF"), IN_COLOUR),
    "moving.gif": (lambda: frames("GIF"), IN_COLOUR),
    "moving.png": (lambda: frames("PNG"), IN_COLOUR),
    "moving.webp": (lambda: frames("WEBP"), IN_COLOUR),
    "pages.tif": (lambda: frames("TIFF"), IN_COLOUR),
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
    "jpeg.png": (lambda: encode(rgb(), "JPEG", quality=95), IN_COLOUR),
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
    return pixels(
        AWKWARD[name][0](), channels=channels, **{"suffix": suffix, "white": 65535, **settings}
    )


@pytest.mark.holds("R-64")
@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in AWKWARD.items() if not isinstance(expected, str)]
)
def test_a_good_file_gives_the_documented_pixels(name):
    image = run(name)
    assert (image.shape, image.dtype) == ((3, SIZE, SIZE), np.uint8)
    lossy = name.lower().startswith(
        ("turned", "progressive", "grey.jpg", "cmyk", "jpeg", "lab", "two-")
    )
    for place, expected in zip((LEFT, RIGHT, BELOW), AWKWARD[name][1], strict=True):
        np.testing.assert_allclose(image[:, *place].astype(int), expected, atol=12 if lossy else 0)


@pytest.mark.holds("R-64")
@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in AWKWARD.items() if not isinstance(expected, str)]
)
def test_a_good_file_becomes_grey_where_one_channel_is_wanted(name):
    image, coloured = run(name, channels=1), run(name)
    assert image.shape == (1, SIZE, SIZE)
    np.testing.assert_allclose(
        image[0], np.tensordot([0.299, 0.587, 0.114], coloured.astype(float), 1), atol=1
    )


@pytest.mark.holds("R-61")
@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in AWKWARD.items() if isinstance(expected, str)]
)
def test_a_bad_file_is_refused_with_the_documented_reason(name):
    with pytest.raises(BadImage, match=AWKWARD[name][1]) as caught:
        run(name)
    assert "\n" not in caught.value.reason
    assert caught.value.reason


# What is assumed is reported


def damaged_exif(kind: str) -> bytes:
    return encode(rgb(), kind, exif=b"Exif\0\0garbage!", quality=95, dpi=(72, 72))


def long_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 2_000_000, zip=True)
    return encode(rgb(), "PNG", pnginfo=text)


def broken_checksum_of_a_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "some text")
    content = bytearray(encode(rgb(), "PNG", pnginfo=text))
    content[content.index(b"some text")] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        damaged_exif("PNG"),
        damaged_exif("JPEG"),
        damaged_exif("WEBP"),
        long_text(),
        encode(rgb(), "PNG", icc_profile=b"\0" * 2_000_000),
        broken_checksum_of_a_text(),
    ],
)
def test_damaged_metadata_cost_no_pixel(content):
    image = decoded(content)
    assert image.facts == Fact.METADATA
    np.testing.assert_allclose(image.pixels[:, *RIGHT].astype(int), BLUE, atol=30)


def test_exif_data_that_turn_a_png_are_used_though_its_texts_are_not():
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    text.add_text("comment", "x" * 2_000_000, zip=True)
    lying = rgb().transpose(Image.Transpose.ROTATE_90)
    image = decoded(encode(lying, "PNG", exif=exif, pnginfo=text))
    np.testing.assert_array_equal(image.pixels, BASE.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("content", "suffix", "fact"),
    [
        (encode(rgb(), "WEBP"), ".jpg", Fact.RENAMED),
        (encode(rgb(), "JPEG"), ".jfif", Fact(0)),
        (encode(rgb(), "JPEG"), ".picture", Fact(0)),
        (frames("GIF"), ".gif", Fact.FRAMES),
        (frames("MPO"), ".jpg", Fact(0)),
        (encode(with_alpha(rgb()), "PNG"), ".png", Fact.TRANSPARENT),
        (encode(rgb().convert("RGBA"), "PNG"), ".png", Fact(0)),
        (encode(BASE[:30, :30], "PNG"), ".png", Fact.ENLARGED),
        (encode(wide_grey(), "PNG"), ".png", Fact.DEEP),
    ],
)
def test_an_assumption_is_a_fact_about_the_image(content, suffix, fact):
    assert decoded(content, suffix=suffix, white=65535).facts == fact


def test_sixteen_bits_a_channel_in_colour_are_told():
    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">2I5B", SIZE, SIZE, 16, 2, 0, 0, 0)
    rows = (b"\0" + b"\x12\x34" * 3 * SIZE) * SIZE
    content = decode.PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    image = decoded(content + chunk(b"IEND", b""))
    assert (image.facts, set(image.pixels.ravel())) == (Fact.DEEP_COLOUR, {0x12})


# More than 8 bits


def test_twelve_bits_wait_for_the_range_of_all_such_images():
    content = encode(np.asarray(grey()).astype(np.uint16) * 16, "PNG")
    with pytest.raises(decode.RangeWanted) as wanted:
        decoded(content)
    assert wanted.value.peak == GREYS[0] * 16
    for keys in ({"white": 4095}, {"max_value": 4095.0}):
        np.testing.assert_allclose(pixels(content, **keys)[0], np.asarray(grey()), atol=1)


def test_a_brighter_pixel_than_white_is_white():
    content = encode(np.full((SIZE, SIZE), 5000, np.uint16), "PNG")
    assert pixels(content, max_value=4095.0).min() == 255


def test_a_portable_graymap_says_its_own_range():
    header = f"P5 {SIZE} {SIZE} 4095\n".encode()
    rows = np.full((SIZE, SIZE), 2048, ">u2").tobytes()
    assert set(pixels(header + rows).ravel()) == {128}


@pytest.mark.holds("R-61")
def test_a_file_that_is_too_long_is_refused():
    with pytest.raises(BadImage, match="67108865 bytes, more than 67108864"):
        pixels(bytes(decode.MAX_IMAGE_BYTES + 1), size=SIZE, channels=1)


@pytest.mark.holds("R-63")
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
    whole = pixels(content, size=SIZE, channels=3)
    for length in range(0, len(content), 3):
        try:
            image = pixels(content[:length], size=SIZE, channels=3)
        except BadImage:
            continue
        np.testing.assert_array_equal(image, whole)
        assert length > 0.9 * len(content)


@pytest.mark.holds("R-63")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_wrong_bits_anywhere_never_raise_anything_else(kind):
    generator = np.random.default_rng(0)
    content = encode(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8), kind)
    for flips in generator.integers(0, 8 * 200, (200, 3)):
        damaged = bytearray(content)
        for flip in flips:
            damaged[flip // 8] ^= 1 << flip % 8
        try:
            image = pixels(bytes(damaged), size=SIZE, channels=1)
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
        assert pixels(source, size=SIZE, channels=3).min() == 255


def test_a_crop_is_cut_out_of_the_middle_and_a_larger_one_is_refused():
    image = np.arange(50 * 40, dtype=np.uint8).reshape(50, 40)
    np.testing.assert_array_equal(pixels(image, size=8, channels=1, crop=8)[0], image[21:29, 16:24])
    with pytest.raises(BadImage, match="40 x 50 pixels, smaller than the crop of 41"):
        pixels(image, size=8, channels=1, crop=41)
    with pytest.raises(BadImage, match="too small: a square of 3 pixels, needs 4"):
        pixels(encode(image, "PNG"), size=8, channels=1, crop=3)


def wide() -> np.ndarray:
    """60 x 40, with a bar at the left edge."""
    image = np.full((40, 60, 3), 90, np.uint8)
    image[:, :5] = (20, 230, 20)
    return image


@pytest.mark.holds("R-64")
@pytest.mark.parametrize("source", [wide(), encode(wide(), "PNG")])
def test_what_is_no_square_is_cropped_padded_or_stretched(source):
    crop, pad, stretch = (decoded(source, fit=fit) for fit in ("crop", "pad", "stretch"))
    assert {crop.facts, pad.facts, stretch.facts} == {Fact.NO_SQUARE}
    assert [image.cut for image in (crop, pad, stretch)] == [33, 0, 0]
    assert (crop.pixels == 90).all()
    assert pad.pixels[:, 20, 0].tolist() == stretch.pixels[:, 20, 0].tolist() == [20, 230, 20]
    assert (pad.pixels[:, [0, -1]] == 255).all() and (stretch.pixels[:, :, -1] == 90).all()


@pytest.mark.parametrize(
    ("background", "colour"),
    [("white", WHITE), ("black", BLACK), ("grey", (128,) * 3), ("#c82828", RED)],
)
def test_the_background_lies_under_what_is_transparent_and_round_what_is_padded(background, colour):
    keys = {"fit": "pad", "background": background}
    assert pixels(wide(), **keys)[:, 0, 0].tolist() == list(colour)
    hole = encode(with_alpha(rgb()), "PNG")
    assert pixels(hole, **keys)[:, *LEFT].tolist() == list(colour)
    deep = encode(wide_grey(), "PNG", transparency=GREYS[0] * 257)
    assert pixels(deep, white=65535, **keys)[0, *LEFT] == pixels(hole, channels=1, **keys)[0, *LEFT]


def test_small_pictures_are_enlarged_as_asked_for():
    content = encode(np.kron(np.eye(2, dtype=np.uint8) * 255, np.ones((5, 5), np.uint8)), "PNG")
    with pytest.raises(BadImage, match="too small: a square of 10 pixels, needs 20"):
        decoded(content, enlarge="twice")
    nearest, smooth = (decoded(content, enlarge=how) for how in ("nearest", "bilinear"))
    assert set(nearest.pixels.ravel()) == {0, 255} < set(smooth.pixels.ravel())
    assert nearest.facts == smooth.facts == Fact.ENLARGED
    large = encode(np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8), "PNG")
    np.testing.assert_array_equal(pixels(large, enlarge="nearest"), pixels(large))


def test_pixels_of_a_known_data_set_may_be_enlarged_to_any_size():
    assert pixels(np.zeros((28, 28), np.uint8), size=64, channels=3).shape == (
        3,
        64,
        64,
    )


def test_pixels_of_the_right_size_stay_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for source in (image, encode(image, "PNG")):
        np.testing.assert_array_equal(
            pixels(source, size=SIZE, channels=3), image.transpose(2, 0, 1)
        )
    np.testing.assert_array_equal(pixels(image[..., 0], size=SIZE, channels=1), image[None, ..., 0])


def test_grey_pixels_for_three_channels_are_three_times_the_same():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), np.uint8)
    np.testing.assert_array_equal(pixels(image, size=SIZE, channels=3), np.stack([image] * 3))


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.tile(np.array([0, 255], np.uint8), (28, 14))
    small = pixels(stripes, size=7, channels=1)
    assert small.shape == (1, 7, 7)
    assert 120 < small.mean() < 135
    assert small.std() < 20


def test_a_file_and_its_pixels_are_resized_alike():
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    sources = (image, encode(image, "PNG"))
    first, second = (pixels(source, size=SIZE, channels=3) for source in sources)
    np.testing.assert_array_equal(first, second)


def test_many_threads_get_what_one_gets():
    names = [name for name, (_, expected) in AWKWARD.items() if not isinstance(expected, str)]
    alone = [run(name) for name in names]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(run, names * 4))
    for position, image in enumerate(together):
        np.testing.assert_array_equal(image, alone[position % len(names)])
