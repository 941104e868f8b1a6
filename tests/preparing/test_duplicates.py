from collections.abc import Sequence

import numpy as np
import pytest

from dcgan.preparing import duplicates
from dcgan.preparing.duplicates import NONE
from tests.support import shapes


def find(images: Sequence[np.ndarray], **settings: object) -> list[np.ndarray]:
    digests = np.array([duplicates.digest(image) for image in images], np.uint64).reshape(-1, 2)
    hashes = np.array([duplicates.perceptual(image) for image in images], np.uint64)
    return list(duplicates.find(digests, hashes, **settings))


def slow_pairs(hashes: np.ndarray, bits: int) -> list[tuple[int, int]]:
    """Every hash against every other one."""
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return [
        (int(a), int(b)) for b in range(len(hashes)) for a in range(b) if distances[a, b] <= bits
    ]


def slow_near(hashes: np.ndarray, bits: int, protected: int) -> list[bool]:
    """The rule word by word: an image goes if it is close to an earlier one that stays."""
    kept: list[int] = []
    goes = []
    for position, value in enumerate(hashes):
        goes.append(
            position >= protected
            and any(int(value ^ hashes[other]).bit_count() <= bits for other in kept)
        )
        if not goes[-1]:
            kept.append(position)
    return goes


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Hashes of which many are close to another one, and some equal."""
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**64, count // 10, np.uint64, endpoint=False)
    hashes = generator.choice(centres, count)
    for _ in range(4):
        flips = np.uint64(1) << generator.integers(0, 64, count).astype(np.uint64)
        hashes = np.where(generator.random(count) < 0.6, hashes ^ flips, hashes)
    return hashes


@pytest.mark.parametrize("bits", [0, 1, 4, 7, 16])
def test_the_bands_find_the_pairs_that_an_n_by_n_comparison_finds(bits):
    hashes = clustered(300)
    pairs = duplicates.close_pairs(hashes, bits)
    assert [tuple(pair) for pair in pairs.tolist()] == slow_pairs(hashes, bits)
    assert len(pairs) > 30 * (bits > 1)


@pytest.mark.parametrize("protected", [0, 100])
@pytest.mark.parametrize("bits", [0, 3, 6])
def test_an_image_goes_if_it_is_close_to_an_earlier_one_that_stays(bits, protected):
    hashes = clustered(400, seed=bits)
    copies = duplicates.near(hashes, bits, protected)
    assert (copies != NONE).tolist() == slow_near(hashes, bits, protected)
    for position in np.flatnonzero(copies != NONE):
        assert copies[position] < position
        assert copies[copies[position]] == NONE
        assert int(hashes[position] ^ hashes[copies[position]]).bit_count() <= bits


def test_a_chain_of_close_hashes_loses_every_second_link():
    chain = np.array([0b0, 0b1, 0b11, 0b111], np.uint64)
    assert duplicates.near(chain, 1).tolist() == [NONE, 0, NONE, 2]


def test_ten_thousand_equal_hashes_are_no_fifty_million_pairs():
    assert duplicates.near(np.zeros(10_000, np.uint64), 4).tolist() == [NONE] + [0] * 9_999


def test_no_image_and_one_image_have_no_copies():
    assert duplicates.near(np.zeros(0, np.uint64), 4).tolist() == []
    assert duplicates.close_pairs(np.zeros(1, np.uint64), 4).shape == (0, 2)
    for rule in ("exact", "near"):
        assert [part.tolist() for part in find([], rule=rule)] == [[], []]


@pytest.mark.parametrize("channels", [1, 3])
def test_equal_pixels_are_exact_copies_and_the_first_stays(channels):
    images = shapes.draw(20, 28, channels, seed=0)[0]
    images[[7, 15]], images[12] = images[3], images[4]
    exact, near = find(images, rule="exact")
    assert {int(position): int(exact[position]) for position in np.flatnonzero(exact != NONE)} == {
        7: 3,
        15: 3,
        12: 4,
    }
    assert (near == NONE).all()


def test_one_other_pixel_is_no_exact_copy():
    image = shapes.draw(1, 28, 1, seed=0)[0][0]
    other = image.copy()
    other[0, 0, 0] ^= 1
    assert find([image, other], rule="exact")[0].tolist() == [NONE, NONE]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_brighter_and_a_noisy_copy_are_near_and_others_are_not(channels):
    images = shapes.draw(10, 64, channels, seed=0)[0]
    brighter = (images[2] * 0.8 + 20).astype(np.uint8)
    noisy = (
        (images[5] + np.random.default_rng(0).integers(0, 4, images[5].shape))
        .clip(0, 255)
        .astype(np.uint8)
    )
    exact, near = find([*images, brighter, noisy, images[7]], rule="near", near_bits=4)
    assert exact.tolist() == [NONE] * 12 + [7]
    assert near.tolist() == [NONE] * 10 + [2, 5, NONE]


def test_protected_images_stay_and_their_copies_go():
    images = shapes.draw(4, 28, 1, seed=0)[0]
    exact, near = find(
        [images[0], images[0], images[1], images[0]], protected=2, rule="near", near_bits=0
    )
    assert exact.tolist() == [NONE, NONE, NONE, 0]
    assert near.tolist() == [NONE] * 4


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_has_a_row_a_pair_kept_beside_dropped(channels):
    kept, dropped = (
        np.full((channels, 8, 8), 200, np.uint8),
        np.full((channels, 8, 8), 90, np.uint8),
    )
    image = duplicates.picture([(kept, dropped)] * 3)
    assert image.shape == (3 * 10 + 2, 2 * 10 + 2, 3)
    assert (image[2:10, 2:10] == 200).all()
    assert (image[2:10, 12:20] == 90).all()


def test_the_picture_has_twenty_pairs_at_most_and_says_when_there_is_none():
    blank = np.zeros((1, 8, 8), np.uint8)
    assert duplicates.picture([(blank, blank)] * 50).shape[0] == 20 * 10 + 2
    nothing = duplicates.picture([])
    assert nothing.ndim == 3
    assert nothing.max() > 200
