"""From raw records to prepared arrays: decode, leave out bad images and copies, hold out, write."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan import data, rng
from dcgan.config import sections
from dcgan.errors import ConfigError, DataError
from dcgan.preparing import decoding, duplicates
from dcgan.preparing.decoding import Part
from dcgan.raw import catalog, locks
from dcgan.raw.dataset import Raw

NUM_NAMED = 10  # bad images that are named


def prepare(
    raw: Raw,
    folder: Path,
    resume_folder: Path,
    dataset: sections.Dataset,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Any], data.Images]:
    """Turn raw records into the prepared folder: arrays for the three splits, and the manifest.

    A data set's own test split is used if it has one. Otherwise test is held out of the pool first.
    Validation is held out of the rest. Both keep the shares of the classes. Test images are never
    dropped as duplicates, so that the test is the published one.

    Args:
        raw: the records.
        folder: where `SPLIT.images.npy`, `SPLIT.labels.npy` and `manifest.json` go.
        resume_folder: keeps what a killed run has decoded; the caller names it after all that
            decoding depends on; deleted at the end.
        dataset: the section of params.yaml.
        seed: of the choice of `max_images` and of the splits.
        on_progress: called with images done and images in all.

    Returns:
        The report: `num_images` by split, `bad`, how many images cannot be used, and `bad_first`,
        ten of them with the reason; `left_out`, files that are no images, by suffix; `duplicates`:
        `exact`, `near`, and `dropped_from`. And a picture of what was dropped as a duplicate,
        beside what stays, H x W x 3, uint8.

    Raises:
        DataError: images are unreadable and `on_bad_image` is refuse; or none is left, of all or of
            a combination of attributes.
        ConfigError: a class has too few images to hold out its share.
        EnvironmentProblem: another process prepares the same data; or the disk is full.
    """
    if dataset.attributes:
        # Before room is reserved and anything is decoded; each split is checked again after the
        # images are held out.
        _check_combinations(raw.pool.labels, raw.classes, "outside the test split")
        _check_combinations(raw.test.labels if raw.test else None, raw.classes, "in the test split")
    lock = resume_folder.with_name(f"{resume_folder.name}.lock")
    with locks.held(lock, 0, "prepares the same data"):
        pool, test = _decode_all(raw, resume_folder, dataset, seed, on_progress)
        bad = decoding.bad([pool, test] if test else [pool])
        _check_bad(bad, pool, test, dataset.on_bad_image)
        kept, dropped, picture = _without_duplicates(pool, test, dataset)
        manifest = _write(raw, folder, pool, test, kept, dataset, seed)
        shutil.rmtree(resume_folder)
    report = {
        "num_images": {split: counts["count"] for split, counts in manifest["splits"].items()},
        "bad": len(bad),
        "bad_first": bad[:NUM_NAMED],
        "left_out": dict(raw.left_out),
        "duplicates": {
            **dropped,
            "dropped_from": "train and validation" if test else "train, validation and test",
        },
    }
    return report, picture


def hold_out(
    labels: npt.NDArray[Any], size: int, seed: int, split: str
) -> tuple[data.Labels, data.Labels]:
    """Draw `size` images, from each class in proportion.

    Where a share is no whole number it is rounded down; the images that are then left to draw go to
    the classes with the largest remainders, one each, the first of equals.

    Args:
        labels: N integers.
        size: number of images to draw.
        seed: of the draw.
        split: for which split; names the stream of random numbers and, in errors, the parameter.

    Returns:
        The positions that stay and those drawn, each in rising order.

    Raises:
        ConfigError: a class would have no image left.
    """
    classes, counts = np.unique(labels, return_counts=True)
    drawn = []
    for label, share in zip(classes, rng.shares(counts, size), strict=True):
        members = np.flatnonzero(labels == label)
        if share >= len(members):
            of_class = f" of class {label}" if len(classes) > 1 else ""
            raise ConfigError(
                f"params.yaml: dataset.{split}_size = {size}: takes {share} of the {len(members)}"
                f" images{of_class}: must leave at least one; choose a smaller value"
            )
        chosen = rng.choose(len(members), int(share), seed, split, int(label))
        drawn.append(members[chosen.numpy()])
    held_out = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def _decode_all(
    raw: Raw,
    folder: Path,
    dataset: sections.Dataset,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> tuple[Part, Part | None]:
    folder.mkdir(parents=True, exist_ok=True)
    chosen = np.arange(len(raw.pool))
    if dataset.max_images is not None:
        # `max_images` counts the images outside the test split. `test_size` is 0 if the data set
        # has a test split of its own.
        limit = dataset.max_images + dataset.test_size
        chosen = np.sort(rng.choose(len(raw.pool), limit, seed, "max_images").numpy())
    pool = decoding.open_part(folder, "pool", raw.pool, chosen, dataset)
    test = (
        None
        if raw.test is None
        else decoding.open_part(folder, "test", raw.test, np.arange(len(raw.test)), dataset)
    )
    total = len(pool.chosen) + (len(test.chosen) if test else 0)
    decoding.decode_part(pool, dataset, lambda done: on_progress(done, total))
    if test:
        decoding.decode_part(
            test, dataset, lambda done: on_progress(len(pool.chosen) + done, total)
        )
    return pool, test


def _check_bad(bad: list[str], pool: Part, test: Part | None, rule: str) -> None:
    named = ", ".join(bad[:NUM_NAMED]) + (", ..." if len(bad) > NUM_NAMED else "")
    if bad and rule == "refuse":
        total = len(pool.chosen) + (len(test.chosen) if test else 0)
        raise DataError(
            f"{len(bad)} of {total} images are unreadable: {named};"
            " repair or remove them, or set dataset.on_bad_image to skip"
        )
    for part, place in ((pool, "outside the test split"), (test, "in the test split")):
        if part is not None and not len(part.good):
            raise DataError(
                f"0 images {place}: need at least 1; unreadable: {named or 'none'};"
                " check dataset.source"
            )


def _check_combinations(labels: data.Labels | None, classes: Sequence[str], place: str) -> None:
    """Refuse a combination of attributes that no image has: it cannot be learnt or measured."""
    empty = [name for label, name in enumerate(classes) if labels is None or label not in labels]
    if empty:
        raise DataError(
            f"params.yaml: dataset.attributes: no image {place} has the combination"
            f" {' or '.join(empty)}: each split needs some of each;"
            " choose other attributes, or use more images"
        )


def _without_duplicates(
    pool: Part, test: Part | None, dataset: sections.Dataset
) -> tuple[data.Labels, dict[str, int], data.Images]:
    """The positions that stay in the pool, how many images are dropped, and a picture of these."""
    if dataset.duplicates == "keep":
        return pool.good, {"exact": 0, "near": 0}, duplicates.picture([])
    # Test images first, so that they stay and their copies in the pool go.
    protected = test.good if test else np.empty(0, np.int64)
    positions = np.concatenate([protected, pool.good])

    def image(place: int) -> data.Images:
        part = test if test and place < len(protected) else pool
        return part.images[positions[place]]

    exact, near = duplicates.find(
        map(image, range(len(positions))),
        protected=len(protected),
        rule=dataset.duplicates,
        near_bits=dataset.near_bits,
    )
    source = np.maximum(exact, near)
    dropped = np.flatnonzero(source != duplicates.NONE)
    picture = duplicates.picture(
        [(image(source[place]), image(place)) for place in dropped[: duplicates.MAX_PAIRS]]
    )
    counts = {
        "exact": int((exact != duplicates.NONE).sum()),
        "near": int((near != duplicates.NONE).sum()),
    }
    return pool.good[source[len(protected) :] == duplicates.NONE], counts, picture


def _write(
    raw: Raw,
    folder: Path,
    pool: Part,
    test: Part | None,
    kept: data.Labels,
    dataset: sections.Dataset,
    seed: int,
) -> dict[str, Any]:
    """Hold out test and validation, then write the three splits."""
    if not len(kept):
        raise DataError(
            "0 images are left: all others are copies of test images;"
            " set dataset.duplicates to keep"
        )
    if test is None:
        stay, drawn = hold_out(pool.labels[kept], dataset.test_size, seed, "test")
        kept, tested = kept[stay], kept[drawn]
    else:
        tested = test.good
    stay, drawn = hold_out(pool.labels[kept], dataset.validation_size, seed, "validation")
    if dataset.attributes:
        _check_combinations(pool.labels[kept[stay]], raw.classes, "in train")
        _check_combinations(pool.labels[kept[drawn]], raw.classes, "in validation")
        _check_combinations((test or pool).labels[tested], raw.classes, "in test")
    of_pool = (pool.images, pool.labels)
    of_test = of_pool if test is None else (test.images, test.labels)
    data_set = catalog.of(dataset)
    return data.write_prepared(
        folder,
        {"train": of_pool, "validation": of_pool, "test": of_test},
        positions={"train": kept[stay], "validation": kept[drawn], "test": tested},
        name=dataset.name,
        classes=raw.classes,
        image_size=dataset.image_size,
        licence=data_set.licence,
        drawings=data_set.drawings,
    )
