"""From raw records to the prepared folder: decode, leave out bad images and copies, hold out."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan import data, rng
from dcgan.config import sections
from dcgan.errors import ConfigError, DataError
from dcgan.preparing import decoding, duplicates, remarks, splitting
from dcgan.preparing.decoding import Part
from dcgan.raw import catalog, links, locks
from dcgan.raw.dataset import Raw, Records

NUM_NAMED = 10  # bad images that are named


def prepare(
    raw: Raw,
    folder: Path,
    resume_folder: Path,
    dataset: sections.Dataset,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    workers: decoding.Workers | None = None,
) -> tuple[dict[str, Any], data.Images]:
    """Turn raw records into the prepared folder: shards, the rows of the three splits, a manifest.

    A data set's own test split is used if it has one. Otherwise test is held out of the pool first.
    Validation is held out of the rest. Both keep the shares of the classes: to the image where
    images are drawn, roughly where their content decides (see `splitting`). Test images of the data
    set's own are never dropped as duplicates, so that the test is the published one.

    Args:
        raw: the records.
        folder: where the shards, `SPLIT.rows.npy`, `SPLIT.labels.npy` and `manifest.json` go; any
            other file in it is deleted.
        resume_folder: keeps the shards, as second names of the same files where the disk has such,
            so that a killed run goes on and another split decodes nothing. The caller names it
            after all that decoding depends on. Its siblings of other names are deleted at the end.
        dataset: the section of params.yaml.
        seed: of the choice of `max_images` and of the splits.
        on_progress: called with images done and images in all.
        workers: as in `decoding.decode_shards`.

    Returns:
        The report: `num_images` by split, `bad`, how many images cannot be used, and `bad_first`,
        ten of them with the reason; `left_out`, files that are no images, by suffix; `duplicates`:
        `exact`, `near`, and `dropped_from`; `notes`, sentences about what was assumed. And a
        picture of what was dropped as a duplicate, beside what stays, H x W x 3, uint8.

    Raises:
        DataError: images are unreadable and `on_bad_image` is refuse; or none is left, of all or of
            a combination of attributes; or a class has too few images for all splits.
        ConfigError: more images are to be held out than there are, or of a class.
        EnvironmentProblem: another process prepares the same data; or the disk is full.
    """
    if dataset.attributes:
        # Before room is reserved and anything is decoded; each split is checked again after the
        # images are held out.
        _check_combinations(raw.pool.labels, raw.classes, "outside the test split")
        _check_combinations(raw.test.labels if raw.test else None, raw.classes, "in the test split")
    _check_counts(raw, dataset)
    lock = resume_folder.with_name(f"{resume_folder.name}.lock")
    with locks.held(lock, 0, "prepares the same data"):
        parts, white = _decode_all(raw, resume_folder, dataset, seed, on_progress, workers)
        pool, test = parts[0], parts[1] if raw.test is not None else None
        bad = decoding.bad(parts)
        _check_bad(bad, pool, test, dataset.on_bad_image)
        kept, dropped, picture = _without_duplicates(pool, test, dataset)
        notes = [*raw.said(), *remarks.of(parts, dataset, white)]
        manifest = _write(raw, folder, pool, test, kept, dataset, seed)
        locks.delete_others(resume_folder)
    report = {
        "num_images": {split: counts["count"] for split, counts in manifest["splits"].items()},
        "bad": len(bad),
        "bad_first": bad[:NUM_NAMED],
        "left_out": dict(raw.left_out),
        "duplicates": {
            **dropped,
            "dropped_from": "train and validation" if test else "train, validation and test",
        },
        "notes": notes,
    }
    return report, picture


def _check_counts(raw: Raw, dataset: sections.Dataset) -> None:
    """Refuse too few images of one's own before anything is decoded."""
    if raw.pool.digests is None:
        return
    if raw.test is not None and len(raw.test) < splitting.FEWEST:
        raise DataError(
            f"{len(raw.test)} images in the folder test: needs at least {splitting.FEWEST}: add"
            f" some, or set dataset.test_size to {splitting.FEWEST} or more, which pools all"
            " folders and holds out test images anew"
        )
    held_out = dataset.test_size + dataset.validation_size
    if held_out >= len(raw.pool):
        raise ConfigError(
            f"params.yaml: dataset.test_size + dataset.validation_size = {held_out}: must be less"
            f" than the {len(raw.pool)} images; choose smaller values, a tenth of the images each"
            f" and at least {splitting.FEWEST}"
        )


def chosen(pool: Records, dataset: sections.Dataset, seed: int) -> data.Labels:
    """Positions of the images that are used: `max_images` counts those outside the test split."""
    if dataset.max_images is None:
        return np.arange(len(pool))
    if pool.digests is None:
        # `test_size` is 0 if the data set has a test split of its own.
        limit = dataset.max_images + dataset.test_size
        return np.sort(rng.choose(len(pool), limit, seed, "max_images").numpy())
    # The test images stay, however many others are used.
    for_test = splitting.numbers(pool.digests, seed, "splits") < splitting.share(
        dataset.test_size, len(pool)
    )
    others = np.flatnonzero(~for_test)
    numbers = splitting.numbers(
        [pool.digests[place] for place in others.tolist()], seed, "max_images"
    )
    taken = others[np.argsort(numbers, kind="stable")[: dataset.max_images]]
    return np.sort(np.concatenate([np.flatnonzero(for_test), taken]))


def plan(raw: Raw, folder: Path, dataset: sections.Dataset, seed: int) -> list[Part]:
    """The chosen images, cut into shards: those of the pool and those of a test split."""
    test = None if raw.test is None else (raw.test, np.arange(len(raw.test)))
    return decoding.plan(folder, (raw.pool, chosen(raw.pool, dataset, seed)), test, dataset)


def _decode_all(
    raw: Raw,
    folder: Path,
    dataset: sections.Dataset,
    seed: int,
    on_progress: Callable[[int, int], None],
    workers: decoding.Workers | None,
) -> tuple[list[Part], int | None]:
    """The decoded images, and what became 255 in those of more than 8 bits."""
    parts = plan(raw, folder, dataset, seed)
    jobs = [job for part in parts for job in part.jobs]
    total = sum(len(part.chosen) for part in parts)

    def decode(white: int | None) -> None:
        decoding.decode_shards(
            raw, jobs, lambda done: on_progress(done, total), white=white, workers=workers
        )
        for part in parts:
            part.finish()

    decode(None)
    white = decoding.white(parts)
    if white is not None:
        decode(white)
    return parts, white


def _check_bad(bad: list[str], pool: Part, test: Part | None, rule: str) -> None:
    named = ", ".join(bad[:NUM_NAMED]) + (", ..." if len(bad) > NUM_NAMED else "")
    if bad and rule == "refuse":
        total = len(pool.chosen) + (len(test.chosen) if test else 0)
        raise DataError(
            f"{len(bad)} of {total} images are unreadable: {named};"
            f" {remarks.advice(bad)}, or set dataset.on_bad_image to skip"
        )
    for part, place in ((pool, "outside the test split"), (test, "in the test split")):
        if part is not None and not len(part.good):
            raise DataError(
                f"0 images {place}: need at least 1; unreadable: {named or 'none'};"
                f" {remarks.advice(bad) if bad else 'check dataset.source'}"
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
        return part.images()[positions[place]]

    def of_all(kind: str) -> npt.NDArray[np.uint64]:
        before = [getattr(test, kind)[protected]] if test else []
        return np.concatenate([*before, getattr(pool, kind)[pool.good]])

    exact, near = duplicates.find(
        of_all("digests"),
        of_all("hashes"),
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
    train, validation, tested = _split(raw, pool, test, kept, dataset, seed)
    if dataset.attributes:
        _check_combinations(pool.labels[train], raw.classes, "in train")
        _check_combinations(pool.labels[validation], raw.classes, "in validation")
        _check_combinations((test or pool).labels[tested], raw.classes, "in test")
    held: dict[str, tuple[data.Labels, data.Labels]] = {
        split: (part.first + positions, part.labels[positions])
        for split, part, positions in (
            ("train", pool, train), ("validation", pool, validation), ("test", test or pool, tested)
        )
    }  # fmt: skip
    parts = [pool, test] if test else [pool]
    shards = [shard for part in parts for shard in part.shards]
    for job in (job for part in parts for job in part.jobs):
        links.second_name(job.path, folder / job.path.name)
    data_set = catalog.of(dataset)
    manifest = data.write_prepared(
        folder,
        shards,
        held,
        name=catalog.title(dataset),
        classes=raw.classes,
        image_size=dataset.image_size,
        licence=data_set.licence,
        drawings=data_set.drawings,
        own_folder=dataset.name == "folder",
        # Published images never change, so their files stand for them.
        sketch=data.sketch(
            raw.files if raw.pool.digests is None else map(bytes.hex, _digests(raw))
        ),
        source=_source(raw, dataset),
    )
    for path in folder.iterdir():
        if path.name not in {*manifest["files"], "manifest.json"}:
            path.unlink()
    return manifest


def _source(raw: Raw, dataset: sections.Dataset) -> str:
    """Where the images are from: the publisher's URL; for one's own a hash of all of them."""
    data_set = catalog.of(dataset)
    if not data_set.raw:
        return "drawn by the stage prepare"
    if dataset.source is None and data_set.mirrors:
        return data_set.mirrors[0]
    own = raw.files if raw.pool.digests is None else [digest.hex() for digest in _digests(raw)]
    listed = hashlib.sha256("\n".join(sorted(own)).encode()).hexdigest()
    what = "images of one's own" if dataset.name == "folder" else f"own files of {dataset.name}"
    return f"{what}, sha256 of their sha256s {listed}"


def _digests(raw: Raw) -> Iterator[bytes]:
    """What names each image by its content, of all splits; not of files without bytes."""
    for records in (raw.pool, raw.test):
        yield from (digest for digest in (records and records.digests) or () if digest)


def _split(
    raw: Raw,
    pool: Part,
    test: Part | None,
    kept: data.Labels,
    dataset: sections.Dataset,
    seed: int,
) -> tuple[data.Labels, data.Labels, data.Labels]:
    """Positions for train and validation in the pool, and for test in the pool or in `test`."""
    labels, digests = pool.labels[kept], raw.pool.digests
    if digests is not None:
        num_test, num_images = dataset.test_size, len(digests)
        rest = min(num_images - num_test, dataset.max_images or num_images)
        parts = splitting.by_content(
            splitting.numbers(
                [digests[place] for place in pool.chosen[kept].tolist()], seed, "splits"
            ),
            labels,
            raw.classes,
            test=splitting.share(num_test, num_images),
            validation=splitting.share(dataset.validation_size, rest),
        )
        tested = kept[parts["test"]] if test is None else test.good
        return kept[parts["train"]], kept[parts["validation"]], tested
    if test is None:
        stay, drawn = splitting.hold_out(labels, dataset.test_size, seed, "test")
        kept, tested = kept[stay], kept[drawn]
    else:
        tested = test.good
    size = dataset.validation_size
    stay, drawn = splitting.hold_out(pool.labels[kept], size, seed, "validation")
    return kept[stay], kept[drawn], tested
