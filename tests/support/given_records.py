"""Records in memory, good and bad, and the stage that prepares them."""

import functools
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan.config import reading, sections
from dcgan.preparing import preparation
from dcgan.raw.dataset import FORMATS, Raw, Unreadable
from tests.support import shapes

SETTINGS = {"image_size": 28, "validation_size": 50}


@functools.cache
def _of_params_yaml() -> sections.Dataset:
    return reading.load(sections.AllParams).dataset


def dataset(**changes: object) -> sections.Dataset:
    return _of_params_yaml().model_copy(update={**SETTINGS, **changes})


class Given:
    """Records in memory, which count how often each is read and can fail like a killed process."""

    digests: Sequence[bytes] | None = None

    def __init__(
        self,
        items: Sequence[object],
        labels: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.items, self.labels = items, labels
        self.names = names or [f"image {index}" for index in range(len(items))]
        self.reads: Counter[int] = Counter()
        self.dies_at: int | None = None

    def __len__(self) -> int:
        return len(self.items)

    def name(self, index: int) -> str:
        return self.names[index]

    def read(self, index: int) -> bytes | np.ndarray:
        if index == self.dies_at:
            raise SystemError("killed")
        self.reads[index] += 1
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item


def drawn(count: int, seed: int = 0, size: int = 28, channels: int = 1) -> list[np.ndarray]:
    """Pixels as records give them."""
    images = shapes.draw(count, size, channels, seed)[0]
    return [image[0] if channels == 1 else image.transpose(1, 2, 0) for image in images]


def classes(count: int) -> np.ndarray:
    return np.arange(count) % 10


def given(num_pool: int = 200, num_test: int | None = 100) -> Raw:
    test = None if num_test is None else Given(drawn(num_test, seed=1), classes(num_test))
    return Raw(Given(drawn(num_pool), classes(num_pool)), test, tuple("abcdefghij"), {".txt": 3})


def run(raw: Raw, folder: Path, seed: int = 7, **changes: object) -> dict:
    return preparation.prepare(
        raw, folder / "prepared", folder / "scratch/here", dataset(**changes), seed
    )[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


BAD = {
    3: b"<html>",
    8: b"",
    12: Unreadable("CRC is wrong"),
    17: png(np.zeros((5, 5), np.uint8)),
}
REASONS = [
    f"photo 3.png (begins no readable {', '.join(FORMATS)})",
    "photo 8.png (no bytes)",
    "photo 12.png (CRC is wrong)",
    "photo 17.png (too small: a square of 5 pixels, needs 14)",
]


def with_bad(bad: dict[int, object] = BAD, count: int = 100) -> Raw:
    items: list[object] = list(drawn(count))
    for position, item in bad.items():
        items[position] = item
    return Raw(Given(items, None, [f"photo {index}.png" for index in range(count)]), None, ())
