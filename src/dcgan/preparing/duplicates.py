"""Duplicate images: those with the same pixels, or with almost the same perceptual hash.

An image is dropped if it copies an earlier image that is kept, so the order decides. Protected
images, which come first, are always kept.
"""

import hashlib
import itertools
from collections.abc import Sequence
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
    digests: Hashes,
    hashes: Hashes,
    *,
    protected: int = 0,
    rule: Literal["exact", "near"],
    near_bits: int = 0,
) -> tuple[Positions, Positions]:
    """Find the images that copy an earlier one.

    Args:
        digests: N x 2, of the images' pixels, see `digest`.
        hashes: N, see `perceptual`; used with `near`.
        protected: the first `protected` images are always kept.
        rule: exact: the same pixels; near: these, and then, among the images that are left,
            perceptual hashes that differ in few bits.
        near_bits: bits in which two hashes may differ.

    Returns:
        The exact copies and the near ones: for each image the position of the image that it copies,
        or NONE.
    """
    exact = same(digests, protected)
    copies = np.full(len(exact), NONE, np.int64)
    if rule == "near":
        left = np.flatnonzero(exact == NONE)
        sources = near(hashes[left], near_bits, protected)
        copies[left] = np.where(sources == NONE, NONE, left[sources])
    return exact, copies


def digest(image: data.Images) -> Hashes:
    """Two numbers for the pixels of an image, C x H x W: half of their sha256.

    It is enough: two images in 2**64 share it by chance.
    """
    pixels = np.ascontiguousarray(image)
    return np.frombuffer(hashlib.sha256(pixels.data).digest()[:16], np.uint64)


def perceptual(image: data.Images) -> np.uint64:
    """The perceptual hash of an image, C x H x W: 64 bits."""
    pixels = Image.fromarray(
        image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    )
    bits = np.packbits(imagehash.phash(pixels).hash)
    return np.frombuffer(bits.tobytes(), np.uint64)[0]


def same(keys: Hashes, protected: int = 0) -> Positions:
    """The first equal row for each row of N x K keys; NONE for a first or a protected row."""
    _, first, distinct = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return _earlier(first[distinct], protected)


def near(hashes: Hashes, bits: int, protected: int = 0) -> Positions:
    """The image that each of N hashes copies: an earlier kept one, at most `bits` bits different.

    Equal hashes are compared once, so that a thousand copies of one image are not half a million
    pairs.

    Returns:
        Positions, N; NONE for an image that is kept.
    """
    # Positions of two kinds: `image` counts all hashes, `distinct` the different ones in the order
    # in which they first appear; np.unique returns these in the order of their values.
    _, first_of_value, value_of_image = np.unique(hashes, return_index=True, return_inverse=True)
    first_image = np.sort(first_of_value)  # by distinct
    distinct_of_image = np.searchsorted(first_image, first_of_value)[value_of_image]
    copied = _earlier_kept(
        len(first_image),
        close_pairs(hashes[first_image], bits),
        protected=int(np.searchsorted(first_image, protected)),
    )
    # Repetitions of a kept hash copy it; those of a dropped hash copy the one that it copies.
    kept = np.where(copied == NONE, np.arange(len(copied)), copied)
    return _earlier(first_image[kept[distinct_of_image]], protected)


def close_pairs(hashes: Hashes, bits: int) -> Positions:
    """All pairs of hashes that differ in at most `bits` bits.

    The 64 bits are cut into bits + 2 bands. Two hashes that differ in at most `bits` bits agree in
    at least two bands, so only such hashes are compared: with 4 bits those that share 21 bits, of
    ten million random hashes 280 million pairs, where one band of bits + 1 would leave 35 billion.
    Memory is that of N hashes and of the close pairs, time that of the compared ones.

    Returns:
        P x 2 positions, the lower first, in order of the second.
    """
    close = [np.empty((0, 2), np.int64)]
    edges = np.linspace(0, BITS, bits + 3).astype(int).tolist()
    masks = [((1 << high) - (1 << low)) for low, high in itertools.pairwise(edges)]
    for one, other in itertools.combinations(masks, 2):
        band = hashes & np.uint64(one | other)
        order = np.argsort(band, kind="stable")
        band, sorted_hashes = band[order], hashes[order]
        here = np.arange(len(hashes))
        # Each hash against the next one of its band, then against the second next, and so on, until
        # no band has that many.
        for distance in range(1, len(hashes)):
            here = here[here + distance < len(hashes)]
            here = here[band[here] == band[here + distance]]
            if not len(here):
                break
            there = here + distance
            is_close = np.bitwise_count(sorted_hashes[here] ^ sorted_hashes[there]) <= bits
            close.append(np.stack([order[here[is_close]], order[there[is_close]]], axis=1))
    pairs = np.unique(np.sort(np.concatenate(close), axis=1)[:, ::-1], axis=0)
    return pairs[:, ::-1]


def picture(pairs: Sequence[tuple[data.Images, data.Images]]) -> data.Images:
    """The first twenty pairs, a row each: left the kept image, right its dropped copy.

    Args:
        pairs: kept and dropped, C x H x W each, uint8; none: a black picture that says so.

    Returns:
        H x W x 3, uint8.
    """
    if not pairs:
        return grids.note("no duplicates dropped")
    return grids.tile(np.stack([image for pair in pairs[:MAX_PAIRS] for image in pair]), columns=2)


def _earlier(sources: Positions, protected: int) -> Positions:
    """`sources`, N positions, where they lie before the image itself; NONE elsewhere."""
    positions = np.arange(len(sources))
    return np.where((sources < positions) & (positions >= protected), sources, NONE)


def _earlier_kept(count: int, pairs: Positions, protected: int) -> Positions:
    """The first earlier close hash that is kept, or NONE, for each of `count` hashes.

    `pairs` as from `close_pairs`.
    """
    copied = [NONE] * count
    # In order of the later one: whether the earlier one is kept is decided by then.
    for earlier, later in pairs.tolist():
        if later >= protected and copied[later] == NONE and copied[earlier] == NONE:
            copied[later] = earlier
    return np.array(copied, np.int64)
