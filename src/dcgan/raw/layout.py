"""What a folder of images means: which of its folders are splits, which are classes.

Decided from the images' paths alone, so a change of params.yaml needs no new copy of the images.
Every decision gives a sentence for the user, because each is a guess.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dcgan.errors import DataError

POOL_SPLITS = ("train", "training", "val", "valid", "validation", "dev")
TEST_SPLITS = ("test", "testing")
STRAYS = 100  # one image in so many may lie beside the folders of classes or splits
NUM_SHOWN = 10  # names in one sentence
# Names of folders that may be mere parts of one heap: all of them, not some, must be of one kind.
SHARDS = {
    r"\d+": "numbers",
    r"(?=.*\d)[0-9a-f]+": "hexadecimal numbers",
    r"\w": "single letters",
    r"(batch|chunk|dir|folder|group|part|set|shard)e?s?[ _.-]?\d+": "numbered",
}


@dataclass(frozen=True)
class Layout:
    """Which images are used, and as what."""

    pool: list[int]  # positions of images, in their order
    test: list[int] | None  # those of the data set's own test split; None: it has none
    classes: tuple[str, ...]  # sorted by name; () where there are no labels
    labels: dict[int, int]  # by position, a position in `classes`; empty where there are no labels
    notes: tuple[str, ...]  # a sentence for each guess


def arrange(
    names: Sequence[str], readable: Sequence[bool], *, class_folders: bool, own_test: bool
) -> Layout:
    """Decide what the folders in the images' paths are.

    Folders that hold everything are stepped into. Folders named train, val, test and the like are
    splits. Of the rest, two or more folders are classes, if at most one image in a hundred, or a
    single one, lies beside them: such strays are left out.

    Args:
        names: the images' paths, with /, in any order.
        readable: for each image whether it has bytes; others do not count for a class.
        class_folders: whether folders may be classes.
        own_test: whether the folder `test` is the data set's own test split; False: all splits are
            pooled.

    Raises:
        DataError: `own_test`, and there is no folder test or nothing but it; or a class has too few
            images for three splits.
    """
    paths = {number: name.split("/") for number, name in enumerate(names)}
    paths = _unwrapped(paths)
    paths, tested, notes = _splits(paths, own_test)
    paths = _unwrapped(paths)
    classes, labels, about_classes = _classes(paths, class_folders)
    used = labels or paths
    if classes:
        counts = Counter(
            (number in tested, labels[number]) for number in labels if readable[number]
        )
        _check_counts(classes, counts, own_test)
    return Layout(
        [number for number in used if number not in tested],
        [number for number in used if number in tested] if own_test else None,
        classes,
        labels,
        (*notes, *about_classes),
    )


def _unwrapped(paths: dict[int, list[str]]) -> dict[int, list[str]]:
    """The paths without the folders that hold all of them."""
    while (
        all(path[1:] for path in paths.values()) and len({path[0] for path in paths.values()}) == 1
    ):
        paths = {number: path[1:] for number, path in paths.items()}
    return paths


def _beside(paths: dict[int, list[str]]) -> tuple[set[str], list[int], bool]:
    """The top folders, the images beside them, and whether these are few enough to be strays."""
    tops = {path[0] for path in paths.values() if path[1:]}
    beside = [number for number, path in paths.items() if not path[1:]]
    return tops, beside, len(beside) <= max(1, len(paths) // STRAYS)


def _splits(
    paths: dict[int, list[str]], own_test: bool
) -> tuple[dict[int, list[str]], set[int], list[str]]:
    """The paths below the folders of splits, the images of test, and what is to be said."""
    tops, strays, few = _beside(paths)
    are_splits = few and len(tops) > 1 and {top.lower() for top in tops} <= {
        *POOL_SPLITS, *TEST_SPLITS,
    }  # fmt: skip
    test_tops = {top for top in tops if are_splits and top.lower() in TEST_SPLITS}
    if own_test and not (test_tops and tops - test_tops):
        raise DataError(
            "params.yaml: dataset.test_size = 0: the images have no test split of their own, a"
            " folder named test beside one named train: set it to the number of images to hold out"
            f" for the test (found {_shown(tops, 'no folders')})"
        )
    if not are_splits:
        return paths, set(), []
    rest = {number: path for number, path in paths.items() if path[1:]}
    tested = {number for number, path in rest.items() if path[0] in test_tops}
    below = {number: path[1:] for number, path in rest.items()}
    if own_test:
        how = (
            f"{_shown(test_tops)} is the test split, the rest is used for train and validation,"
            " because dataset.test_size is 0"
        )
    else:
        tested = set()
        how = (
            "all are pooled and split anew; to keep the folder test as the test split, set"
            " dataset.test_size to 0"
            if test_tops
            else "all are pooled and split anew"
        )
    return below, tested, [f"the folders {_shown(tops)} are splits: {how}", *_stray_note(strays)]


def _classes(
    paths: dict[int, list[str]], class_folders: bool
) -> tuple[tuple[str, ...], dict[int, int], list[str]]:
    """The classes' names, the labels of the images in them, and what is to be said."""
    if not class_folders:
        return (), {}, ["no labels, because dataset.class_folders is false"]
    tops, beside, few = _beside(paths)
    if len(tops) < 2:
        found = f"the only folder is {_shown(tops)}" if tops else "there are no folders"
        return (), {}, [f"no labels, because {found}: two or more would be classes"]
    if not few:
        return (), {}, [
            f"no labels, because {len(beside)} of {len(paths)} images lie beside the folders"
            f" {_shown(tops)}"
        ]  # fmt: skip
    classes = tuple(sorted(tops))
    positions = {name: position for position, name in enumerate(classes)}
    labels = {number: positions[path[0]] for number, path in paths.items() if path[1:]}
    notes = [f"classes: {_shown(classes)} ({len(classes)})", *_stray_note(beside)]
    return classes, labels, [*notes, *_doubts(classes)]


def _doubts(classes: Sequence[str]) -> list[str]:
    """What speaks against folders of these names being classes."""
    splits = sorted({name.lower() for name in classes} & {*POOL_SPLITS, *TEST_SPLITS})
    if len(splits) > 1:
        return [
            f"{_shown(splits)} are taken for classes, because other folders lie beside them: if"
            " they are splits, move the others away"
        ]
    if set(classes) <= set("0123456789"):
        return [
            "the classes are digits; if they are mere shards, set dataset.class_folders to false"
        ]
    for pattern, kind in SHARDS.items():
        if all(re.fullmatch(pattern, name, re.IGNORECASE) for name in classes):
            return [
                f"classes {_shown(classes)} are {kind}: if they are mere shards, set"
                " dataset.class_folders to false"
            ]
    return []


def _stray_note(strays: Sequence[int]) -> list[str]:
    if not strays:
        return []
    return [f"left out: {_images(len(strays))} beside the folders"]


def _check_counts(
    classes: Sequence[str], counts: Counter[tuple[bool, int]], own_test: bool
) -> None:
    """Refuse a class that cannot be in train, validation and test."""
    needed = [(False, 2, " outside the folder test"), (True, 1, " in the folder test")]
    for in_test, least, place in needed if own_test else [(False, 3, "")]:
        for label, name in enumerate(classes):
            if counts[in_test, label] < least:
                raise DataError(
                    f"class {name}: has {_images(counts[in_test, label])}{place}, needs at least"
                    f" {least}, because train, validation and test each need one: add images,"
                    " or remove the folder, and then run dvc repro -f -s download; or set"
                    " dataset.class_folders to false"
                )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _shown(names: Sequence[str] | set[str], none: str = "") -> str:
    """Some names, the first few in their order."""
    shown = sorted(names)
    return (
        ", ".join(shown[:NUM_SHOWN]) + (", ..." if len(shown) > NUM_SHOWN else "")
        if shown
        else none
    )
