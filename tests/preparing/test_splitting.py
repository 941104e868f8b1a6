import numpy as np
import pytest

from dcgan.errors import ConfigError, DataError
from dcgan.preparing import splitting

# Published data: drawn by position


def test_what_is_held_out_has_the_shares_of_the_whole_and_is_disjoint_and_nothing_is_lost():
    labels = np.repeat(np.arange(10), [30, 40, 50, 60, 70, 30, 40, 50, 60, 70])
    stay, validation = splitting.hold_out(labels, 101, 1, "validation")
    assert np.bincount(labels[validation]).tolist() == [6, 8, 10, 12, 15, 6, 8, 10, 12, 14]
    assert sorted([*stay, *validation]) == list(range(500))


def test_a_size_that_does_not_divide_gives_the_first_of_equal_classes_one_more():
    labels = np.repeat(np.arange(3), 9)
    _, drawn_positions = splitting.hold_out(labels, 8, 1, "validation")
    assert np.bincount(labels[drawn_positions]).tolist() == [3, 3, 2]


def test_what_is_held_out_depends_on_the_seed_and_the_split_alone():
    labels = np.arange(500) % 10
    settings = ((1, "validation"), (1, "validation"), (2, "validation"), (1, "test"))
    first, again, other, test = (
        splitting.hold_out(labels, 100, *setting)[1] for setting in settings
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, test)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_part_that_would_empty_a_class_is_refused(split):
    with pytest.raises(
        ConfigError,
        match=rf"dataset\.{split}_size = 39: takes 10 of the 10 images of class 1: must leave",
    ):
        splitting.hold_out(np.repeat([0, 1], [30, 10]), 39, 1, split)
    with pytest.raises(
        ConfigError,
        match=rf"dataset\.{split}_size = 20: takes 20 of the 20 images: must leave at least one",
    ):
        splitting.hold_out(np.zeros(20, np.int64), 20, 1, split)


# Folders: by content


def digests(count: int, first: int = 0) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(first, first + count)]


def divided(
    known: list[bytes], *, size: int = 40, seed: int = 7, labels: np.ndarray | None = None
) -> dict[str, set[bytes]]:
    """Which images are in which split."""
    each = np.zeros(len(known), np.int64) if labels is None else labels
    parts = splitting.by_content(
        splitting.numbers(known, seed, "splits"),
        each,
        [] if labels is None else ["a", "b", "c"],
        test=splitting.share(size, len(known)),
        validation=splitting.share(size, len(known) - size),
    )
    assert sorted(place for part in parts.values() for place in part) == list(range(len(known)))
    return {name: {known[place] for place in part} for name, part in parts.items()}


def test_no_image_changes_its_split_when_others_come_or_go_or_are_listed_otherwise():
    before = divided(digests(400))
    for now in (
        digests(404),
        digests(399, first=1),
        digests(396),
        digests(400)[::-1],
        [*digests(200), *digests(3, first=5000), *digests(200, first=200)],
    ):
        after = divided(now)
        for split, members in before.items():
            assert members & set(now) <= after[split]


def test_no_image_that_was_learnt_is_tested_on_when_many_come():
    before, after = divided(digests(400)), divided(digests(4000))
    assert not after["test"] & before["train"]
    assert not after["test"] & before["validation"]


def test_about_as_many_are_held_out_as_asked_for_and_others_with_another_seed():
    counts = {"test": [], "validation": []}
    for seed in range(200):
        parts = divided(digests(400), seed=seed)
        for split, of_split in counts.items():
            of_split.append(len(parts[split]))
    for of_split in counts.values():
        assert min(of_split) >= 20
        assert 38 < np.mean(of_split) < 42
        assert 4 < np.std(of_split) < 8
    assert divided(digests(400), seed=1) != divided(digests(400), seed=2)


@pytest.mark.parametrize(
    ("count", "rounded"),
    [
        (12, 10),
        (95, 100),
        (300, 300),
        (304, 300),
        (296, 300),
        (327, 330),
        (1049, 1000),
        (995, 1000),
    ],
)
def test_a_share_is_of_a_number_of_two_digits(count, rounded):
    assert splitting.share(rounded, count) == 1


def test_each_class_is_in_each_split_and_at_least_twenty_images_are_held_out():
    labels = np.repeat([0, 1, 2], [3, 40, 157])
    for seed in range(50):
        known = digests(200)
        parts = divided(known, size=20, seed=seed, labels=labels)
        for split, members in parts.items():
            assert {int(labels[known.index(member)]) for member in members} == {0, 1, 2}, split
        assert min(len(parts["test"]), len(parts["validation"])) >= 20


def test_no_test_images_are_held_out_of_the_pool_where_there_are_some_already():
    number = splitting.numbers(digests(100), 7, "splits")
    parts = splitting.by_content(number, np.zeros(100), [], test=0, validation=0.3)
    assert len(parts["test"]) == 0
    assert 20 <= len(parts["validation"]) <= 40


def test_a_class_of_two_is_refused_by_name():
    labels = np.repeat([0, 1, 2], [100, 98, 2])
    with pytest.raises(
        DataError, match=r"^class c has 2 images that can be used: needs at least 3"
    ):
        divided(digests(200), labels=labels)


def test_the_numbers_of_two_purposes_have_nothing_in_common():
    first, second = (splitting.numbers(digests(2000), 7, name) for name in ("splits", "max_images"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
    assert 0 <= first.min() < 0.01 and 0.99 < first.max() < 1
