"""Folders of pictures as people have them: sorted by class, split, drawn, mixed, badly named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("disc", "square", "triangle")
COLOURS = ((220, 60, 50), (60, 140, 220), (70, 180, 90))


def shape(kind: int, seed: int, size: int = 28, mode: str = "L") -> Image.Image:
    """One disc (0), square (1) or triangle (2), its place, size and shade drawn, on dark noise."""
    g = np.random.default_rng([kind, seed])
    ground = g.integers(0, 60, (size, size) if mode == "L" else (size, size, 3), dtype=np.uint8)
    image, radius = Image.fromarray(ground), int(g.integers(size // 5, size // 3))
    x, y = (int(v) for v in g.integers(radius, size - radius, 2))
    shade = np.clip(np.array(COLOURS[kind]) + g.integers(-30, 31, 3), 0, 255)
    fill = int(g.integers(170, 256)) if mode == "L" else tuple(int(v) for v in shade)
    box, draw = [x - radius, y - radius, x + radius, y + radius], ImageDraw.Draw(image)
    if kind == 0:
        draw.ellipse(box, fill=fill)
    elif kind == 1:
        draw.rectangle(box, fill=fill)
    else:
        corners = [(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)]
        draw.polygon(corners, fill=fill)
    return image


def put(
    folder: Path, kind: int, count: int, *, first: int = 0, size: int = 28, mode: str = "L"
) -> None:
    """Save `count` shapes of one kind as numbered files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        shape(kind, number, size, mode).save(folder / f"{number:05d}.png")


def sorted_classes(root: Path) -> None:
    """Three classes of a colour each, which pixels tell apart: a listing is sorted by class."""
    for kind, name in enumerate("abc"):
        put(root / name, kind, 100, mode="RGB")


def split_folders(root: Path) -> None:
    """The same two classes below train, val and test."""
    for number, split in enumerate(("train", "val", "test")):
        for kind, name in enumerate(KINDS[:2]):
            put(root / split / name, kind, 60, first=1000 * number)


def sketches(root: Path) -> None:
    """Thin black lines on white: mean 249."""
    root.mkdir(parents=True)
    for number in range(200):
        g, image = np.random.default_rng(number), Image.new("L", (64, 64), 255)
        for _ in range(2):
            ends = [tuple(int(v) for v in g.integers(4, 60, 2)) for _ in range(2)]
            ImageDraw.Draw(image).line(ends, fill=0, width=2)
        image.save(root / f"{number:03d}.png")


def names(root: Path) -> None:
    """Class names that fonts, mathematics and shells stumble over."""
    for kind, name in enumerate(("直剪", "Ba$$in_\\alpha$", "naïve dir")):
        put(root / name, kind, 60)


CASES: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (sorted_classes, split_folders, sketches, names)
}


def mixed(root: Path, count: int = 3000) -> None:
    """A stranger's folder: three classes, sizes, modes and formats mixed; links, strays, broken."""
    modes = ("L", "RGB", "RGBA", "P", "1", "CMYK")
    suffixes = {
        "L": ".png",
        "RGB": ".jpg",
        "RGBA": ".png",
        "P": ".gif",
        "1": ".png",
        "CMYK": ".jpg",
    }
    for number in range(count):
        kind, mode = number % 3, modes[number % 11 % len(modes)]
        folder = root / "pool" / KINDS[kind]
        folder.mkdir(parents=True, exist_ok=True)
        image = shape(kind, number, (28, 40, 64)[number % 7 % 3], "RGB")
        if number % 13 == 0:
            image = image.resize((image.width * 3 // 2, image.height))
        suffix = ".webp" if number % 17 == 0 and mode == "RGB" else suffixes[mode]
        image.convert(mode).save(folder / f"{number:05d}{suffix}")
    links = root / "pictures"
    links.mkdir()
    for name in KINDS:
        (links / name).symlink_to(root / "pool" / name, target_is_directory=True)
    (links / "loop").symlink_to(links, target_is_directory=True)
    shape(0, count + 1).save(links / "stray.png")
    (links / "notes.txt").write_text("not a picture")
    good = (root / "pool" / "disc" / "00000.png").read_bytes()
    (root / "pool" / "disc" / "cut.png").write_bytes(good[: len(good) // 2])
    (root / "pool" / "square" / "empty.png").touch()
