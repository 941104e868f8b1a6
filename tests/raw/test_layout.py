"""What folders mean, by the paths of the images in them."""

import pytest

from dcgan.errors import DataError
from dcgan.raw import layout


def arrange(*names, class_folders=True, own_test=False, unreadable=()):
    return layout.arrange(
        names,
        [name not in unreadable for name in names],
        class_folders=class_folders,
        own_test=own_test,
    )


def many(*folders, each=3):
    """Paths of `each` images in every folder."""
    return [f"{folder}/{number}.png" for folder in folders for number in range(each)]


@pytest.mark.parametrize(
    "wrapper", ["", "pictures/", "pictures/2024/"], ids=["no wrapper", "a wrapper", "two wrappers"]
)
@pytest.mark.parametrize("stray", [[], ["cover.png"]], ids=["no stray", "a stray"])
@pytest.mark.parametrize(
    "splits",
    [
        ("train", "val", "test"),
        ("Train", "Validation", "TESTING"),
        ("training", "valid", "test"),
        ("dev", "testing"),
    ],
)
def test_folders_named_as_splits_are_no_classes_and_their_classes_are_united(
    wrapper, stray, splits
):
    names = [f"{split}/{name}" for split in splits for name in many("disc", "square")]
    names = [f"{wrapper}{name}" for name in (*names, *stray)]
    pooled = arrange(*names)
    assert (pooled.classes, pooled.test, len(pooled.pool)) == (
        ("disc", "square"),
        None,
        6 * len(splits),
    )
    assert {pooled.labels[number] for number, name in enumerate(names) if "/disc/" in name} == {0}
    assert "are splits: all are pooled and split anew; to keep" in pooled.notes[0]
    kept = arrange(*names, own_test=True)
    assert [names[number] for number in kept.test] == [
        name for name in names if "test" in name.lower()
    ]
    assert len(kept.test) == 6 and len(kept.pool) == 6 * (len(splits) - 1)
    assert f"{splits[-1]} is the test split" in kept.notes[0]
    for arranged in (pooled, kept):
        said = "left out: 1 image beside the folders" in arranged.notes
        assert said == bool(stray)


def test_splits_may_hold_images_without_classes_whatever_class_folders_says():
    names = many("train", "test")
    for class_folders in (True, False):
        arranged = arrange(*names, own_test=True, class_folders=class_folders)
        assert (arranged.pool, arranged.test, arranged.classes) == ([0, 1, 2], [3, 4, 5], ())
        assert arranged.notes[1].startswith("no labels, because ")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (many("disc", "square"), "disc, square"),
        (["a.png"], "no folders"),
        (many("test", "testing"), "test, testing"),
        (many("train", "val"), "train, val"),
        (many("train", "test", "extra"), "extra, test, train"),
    ],
)
def test_a_test_split_that_is_not_there_is_refused_by_the_key(names, found):
    with pytest.raises(DataError) as caught:
        arrange(*names, own_test=True)
    assert str(caught.value).startswith("params.yaml: dataset.test_size = 0: ")
    assert f"(found {found})" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "classes", "note"),
    [
        (many("b", "a/deep/er", "a"), ("a", "b"), "classes: a, b (2)"),
        (many("Cat", "cat"), ("Cat", "cat"), "classes: Cat, cat (2)"),
        (["x.png", "y.png"], (), "no labels, because there are no folders"),
        # A folder that holds all is stepped into, and then there is none.
        (many("a"), (), "no labels, because there are no folders"),
        ([*many("a"), "b.png"], (), "no labels, because the only folder is a"),
        (
            [*many("ab", "cd"), "1.png", "2.png"],
            (),
            "no labels, because 2 of 8 images lie beside the folders ab, cd",
        ),
        ([*many("ab", "cd"), "1.png"], ("ab", "cd"), "classes: ab, cd (2)"),
    ],
)
def test_two_folders_are_classes_if_hardly_an_image_lies_beside_them(names, classes, note):
    arranged = arrange(*names)
    assert arranged.classes == classes
    assert arranged.notes[0].startswith(note)
    for number, label in arranged.labels.items():
        assert names[number].startswith(f"{classes[label]}/")
    if not classes:
        assert arranged.pool == list(range(len(names))), "without labels every image is used"


def test_one_stray_in_a_hundred_is_left_out_and_more_are_not():
    names = many("cats", "dogs", each=98)
    strays = [f"{number}.png" for number in range(2)]
    left_out = arrange(*names, *strays, *many("birds", each=4))
    assert len(left_out.labels) == len(left_out.pool) == 200
    assert "left out: 2 images beside the folders" in left_out.notes
    assert arrange(*names, *strays).classes == ()


@pytest.mark.parametrize(
    ("folders", "note"),
    [
        (("00000", "01000"), "classes 00000, 01000 are numbers: if they are mere shards"),
        (("0a", "ff1"), "classes 0a, ff1 are hexadecimal numbers"),
        (("x", "y"), "classes x, y are single letters"),
        (("part_1", "part_2"), "classes part_1, part_2 are numbered"),
        (("batch 1", "batch 2"), "classes batch 1, batch 2 are numbered"),
        (tuple("0123456789"), "the classes are digits; if they are mere shards"),
        (("train", "test", "other"), "test, train are taken for classes, because other folders"),
        (("bad", "cab"), None),  # words, although they could be hexadecimal
        (("1", "one"), None),
    ],
)
def test_names_that_may_be_shards_are_classes_but_this_is_said(folders, note):
    arranged = arrange(*many(*folders))
    assert arranged.classes == tuple(sorted(folders))
    assert [each.startswith(note or "") for each in arranged.notes[1:]] == [True] * bool(note)
    assert not note or "train" in folders or "dataset.class_folders to false" in arranged.notes[1]


def test_a_class_that_cannot_be_in_every_split_is_refused_by_its_name():
    names = [*many("many"), *many("rare", each=2)]
    with pytest.raises(DataError, match=r"^class rare: has 2 images, needs at least 3, .*: add"):
        arrange(*names)
    assert arrange(*names, class_folders=False).classes == ()
    assert arrange(*names, "rare/3.png").classes == ("many", "rare")
    with pytest.raises(DataError, match="class rare: has 2 images"):
        arrange(*names, "rare/3.png", unreadable=["rare/3.png"])


def test_with_its_own_test_split_a_class_must_be_on_both_sides():
    def names(pool, test):
        inside = [*many("train/a", "test/a"), *many("train/b", each=pool)]
        return [*inside, *many("test/b", each=test)]

    assert arrange(*names(2, 1), own_test=True).classes == ("a", "b")
    with pytest.raises(
        DataError, match=r"class b: has 1 image outside the folder test, needs .* 2"
    ):
        arrange(*names(1, 1), own_test=True)
    with pytest.raises(DataError, match=r"class b: has 0 images in the folder test, needs .* 1"):
        arrange(*names(2, 0), own_test=True)


def test_many_classes_are_said_in_one_line():
    note = arrange(*many(*(f"kind {number:03d}" for number in range(50)))).notes[0]
    assert note.endswith("kind 009, ... (50)") and "\n" not in note
