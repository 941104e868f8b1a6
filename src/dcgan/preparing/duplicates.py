"""Images that are there twice: with the same pixels, or with almost the same perceptual hash.

The rule is simple and depends on the order alone: an image goes if it is a copy of an earlier image
that stays. Protected images, which come first, always stay.
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from dcgan import data
from dcgan.pictures import grids

BITS = 64  # of a perceptual hash
MAX_PAIRS = 20  # in a picture
NONE = -1

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


def find(
    images: Iterable[data.Images],
    *,
    protected: int = 0,
    rule: Literal["exact", "near"],
    near_bits: int = 0,
) -> tuple[Positions, Positions]:
    """Find the images that copy an earlier one, in one pass over them.

    Args:
        images: C x H x W each, uint8.
        protected: so many images at the beginning are never copies.
        rule: exact: the same pixels; near: these, and then, among the images that are left,
            perceptual hashes that differ little.
        near_bits: bits in which two hashes may differ.

    Returns:
        The exact copies and the near ones: for each image the position of the image that it copies,
        or NONE.
    """
    digests, hashes = bytearray(), bytearray()
    for image in images:
        # Half of a sha256 is enough: two images in 2**64 share it by chance.
        digests += hashlib.sha256(np.ascontiguousarray(image).data).digest()[:16]
        if rule == "near":
            hashes += _perceptual(image)
    exact = same(np.frombuffer(digests, np.uint64).reshape(-1, 2), protected)
    copies = np.full(len(exact), NONE, np.int64)
    if rule == "near":
        left = np.flatnonzero(exact == NONE)
        found = near(np.frombuffer(hashes, np.uint64)[left], near_bits, protected)
        copies[left] = np.where(found == NONE, NONE, left[found])
    return exact, copies


def same(keys: Hashes, protected: int = 0) -> Positions:
    """For each row of N x K keys the position of the first equal row, or NONE where it is the first or protected."""
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    earlier: Positions = first[which]
    positions = np.arange(len(keys))
    return np.where((earlier < positions) & (positions >= protected), earlier, NONE)


def near(hashes: Hashes, bits: int, protected: int = 0) -> Positions:
    """For each of N hashes the position of an earlier one that stays and differs in at most `bits` bits, or NONE.

    Equal hashes are looked at as one, so that a thousand copies of one image are no half million
    pairs.
    """
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)  # distinct hashes by their first appearance
    rank = np.argsort(order)[which]  # of each hash among the distinct ones
    first = first[order]
    copies = _earlier_kept(
        len(first), close_pairs(hashes[first], bits), int(np.searchsorted(first, protected))
    )
    # A hash that stays is copied by its own repetitions, one that goes hands on what it copies.
    source = first[np.where(copies == NONE, np.arange(len(first)), copies)][rank]
    positions = np.arange(len(hashes))
    return np.where((source < positions) & (positions >= protected), source, NONE)


def close_pairs(hashes: Hashes, bits: int) -> Positions:
    """All pairs of hashes that differ in at most `bits` bits: P x 2 positions, the lower first, in order of the second.

    The 64 bits are cut into bits + 1 bands. Two hashes that differ in at most `bits` bits agree in
    at least one band, so only those are compared that do: memory is that of N hashes and of the
    pairs found, time that of the candidates.
    """
    found = [np.empty((0, 2), np.int64)]
    edges = np.linspace(0, BITS, bits + 2).astype(int).tolist()
    for low, high in itertools.pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        band, sorted_hashes = band[order], hashes[order]
        here = np.arange(len(hashes))
        # Each hash against the next one of its band, then against the one after that, until no band
        # is so full.
        for step in range(1, len(hashes)):
            here = here[here + step < len(hashes)]
            here = here[band[here] == band[here + step]]
            if not len(here):
                break
            close = here[np.bitwise_count(sorted_hashes[here] ^ sorted_hashes[here + step]) <= bits]
            found.append(np.stack([order[close], order[close + step]], axis=1))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1)[:, ::-1], axis=0)
    return pairs[:, ::-1]


def picture(pairs: Sequence[tuple[data.Images, data.Images]]) -> data.Images:
    """Kept images on the left, their dropped copies on the right, a row a pair, the first twenty pairs: H x W x 3.

    Args:
        pairs: kept and dropped, C x H x W each, uint8; none: a black square that says so.
    """
    if not pairs:
        return grids.note("no duplicates dropped")
    return grids.tile(np.stack([image for pair in pairs[:MAX_PAIRS] for image in pair]), columns=2)


def _earlier_kept(count: int, pairs: Positions, protected: int) -> Positions:
    """For each of `count` hashes the first earlier one that is close and stays, or NONE; pairs as from `close_pairs`."""
    copies = [NONE] * count
    # In order of the later one: whether the earlier one stays is then decided.
    for earlier, later in pairs.tolist():
        if later >= protected and copies[later] == NONE and copies[earlier] == NONE:
            copies[later] = earlier
    return np.array(copies, np.int64)


def _perceptual(image: data.Images) -> bytes:
    pixels = Image.fromarray(
        image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    )
    return np.packbits(imagehash.phash(pixels).hash).tobytes()
