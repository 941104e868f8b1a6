"""A look at a folder of pictures before anything is written: headers only, no pixels.

It says what `prepare` will do with the folder, and which values of params.yaml fit it.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import layout, packing
from dcgan.raw.dataset import FORMATS, SUFFIXES, counted

LOOKED_AT = 3000  # from twice as many images on only so many headers are read, evenly spread
FEWEST = 100  # images for a training
GOOD_STEPS, REFERENCE_STEPS = 4000, 1000  # of the training, and of the classifier
NEAR_SQUARE = 1.1  # longer side / shorter side
# By the side of the prepared images: the recipe whose networks make them, and from which side of
# the pictures on it is chosen.
NETWORKS = {64: ("celeba64", 48), 32: ("svhn32", 30), 28: ("best28", 0)}


@dataclass
class Survey:
    """What is known of a folder."""

    source: str  # as the user has written it
    num_images: int  # possible images
    left_out: Mapping[str, int]  # other files, by suffix
    not_followed: Mapping[str, str]  # links and the reason
    arranged: layout.Layout | None  # classes and splits; None: refused
    refused: str  # why
    looked_at: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    facts: Counter[str] = field(default_factory=Counter)  # unreadable, grey, transparent, ...
    sides: list[tuple[int, int]] = field(default_factory=list)  # shorter and longer, pixels

    @property
    def shorter(self) -> int:
        """The median of the shorter sides, pixels."""
        return int(np.median([short for short, _ in self.sides])) if self.sides else 0


def look(source: Path, shown: str, dataset: sections.Dataset) -> Survey:
    """Look at a folder.

    Args:
        source: the folder.
        shown: what to call it in messages.
        dataset: `class_folders` and `test_size` say how folders are taken.

    Raises:
        DataError: it is no folder, or has no possible image.
    """
    if not source.is_dir():
        raise DataError(f"{shown}: is no folder: give the folder with the pictures")
    found = packing.Found()
    paths = list(packing.walk(source, found))
    if not paths:
        others = counted(found.left_out) or "none"
        raise DataError(f"0 images found in {shown} (other files: {others}): check the folder")
    arranged, refused = None, ""
    try:
        arranged = layout.arrange(
            [packing.printable(path) for path in paths],
            [True] * len(paths),
            class_folders=dataset.class_folders,
            own_test=dataset.name == "folder" and dataset.test_size == 0,
        )
    except DataError as error:
        refused = str(error)
    survey = Survey(shown, len(paths), found.left_out, found.not_followed, arranged, refused)
    step = max(1, len(paths) // LOOKED_AT)
    for path in paths[::step]:
        _look_at(source / path, survey)
    return survey


def lines(survey: Survey, dataset: sections.Dataset) -> list[str]:
    """What will be done with the folder, in about ten lines.

    Args:
        survey: of the folder.
        dataset: the section that would be used.
    """
    looked, facts = survey.looked_at, survey.facts
    formats = ", ".join(f"{count} {name}" for name, count in survey.formats.most_common())
    part = "" if looked == survey.num_images else f" ({looked} of them looked at)"
    said = [f"{survey.num_images} images{part}: {formats}"]
    said += [survey.refused] if survey.arranged is None else list(survey.arranged.notes)
    if survey.left_out:
        said.append(f"left out: {counted(survey.left_out)}: no images")
    said += [f"not followed: {name} {why}" for name, why in list(survey.not_followed.items())[:3]]
    if facts["unreadable"]:
        what = "skipped" if dataset.on_bad_image == "skip" else "refused (dataset.on_bad_image)"
        said.append(f"{facts['unreadable']} of {looked} are unreadable, empty or no images: {what}")
    short, long = zip(*survey.sides, strict=True) if survey.sides else ((0,), (0,))
    said.append(
        f"sides of {min(short)} to {max(long)} pixels, shorter side {survey.shorter} in the middle;"
        f" prepared: {dataset.image_size} x {dataset.image_size} x {dataset.channels}"
    )
    squares = sum(width == height for width, height in survey.sides)
    if dataset.crop is not None:
        said.append(f"dataset.crop = {dataset.crop}: the central square of that side is cut out")
    elif squares < len(survey.sides):
        kept = np.mean([width / height for width, height in survey.sides])
        how = {
            "crop": f"the central square is taken, {100 * (1 - kept):.0f} % of the area is cut off",
            "pad": f"padded with {dataset.background}",
            "stretch": "stretched",
        }[dataset.fit]
        said.append(
            f"{len(survey.sides) - squares} of {looked} are no squares: {how} (dataset.fit)"
        )
    small = sum(width < dataset.image_size for width, _ in survey.sides)
    if small:
        said.append(f"{small} of {looked} are smaller than prepared (dataset.enlarge)")
    for fact, sentence in {
        "transparent": f"may have transparent pixels: {dataset.background} under them"
        " (dataset.background)",
        "colour": "are in colour: made grey (dataset.channels)",
        "deep": "have more than 8 bits: scaled by their range (dataset.max_value)",
        "animated": "have several frames: the first is taken",
        "renamed": "are of another format than the name says: read by content",
    }.items():
        if facts[fact] and (fact != "colour" or dataset.channels == 1):
            said.append(f"{facts[fact]} of {looked} {sentence}")
    return said


def values(survey: Survey, recipe: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Values of params.yaml that fit a folder, nested as in the file.

    Args:
        survey: of the folder.
        recipe: the overlay whose networks make images of `size`.
        size: side of the prepared images, as `side` says.

    Raises:
        DataError: the folder has too few images, or a class that cannot be split.
    """
    if survey.arranged is None:
        raise DataError(survey.refused)
    used = survey.num_images
    if used < FEWEST:
        raise DataError(
            f"{survey.source}: {used} images: a training needs at least {FEWEST}, better thousands"
        )
    held_out = max(20, min(10_000, max(used // 10, min(100, used // 4))))
    batch = recipe["batch_size"]
    train = used - 2 * held_out
    grey = survey.facts["grey"] == sum(survey.formats.values())
    aspects = [height / width for width, height in survey.sides]
    overlay = {
        key: recipe[key]
        for key in ("lr", "beta1", "batch_size", "generator", "discriminator", "training")
        if key in recipe
    }
    return {
        **overlay,
        "epochs": max(5, math.ceil(GOOD_STEPS / max(1, train // batch))),
        "dataset": {
            "name": "folder",
            "source": survey.source,
            "title": None,
            "image_size": size,
            "channels": 1 if grey else 3,
            "crop": None,
            "fit": "crop" if np.median(aspects) <= NEAR_SQUARE else "pad",
            "enlarge": "twice" if survey.shorter >= size / 2 else "bilinear",
            "attributes": [],
            "validation_size": held_out,
            "test_size": held_out,
        },
        "reference": {"epochs": min(100, max(6, math.ceil(REFERENCE_STEPS * 128 / train)))},
        "evaluate": {"num_samples": min(10_000, 10 * held_out)},
        "paper": {"arithmetic": [], "forget": None},
    }


def side(survey: Survey) -> int:
    """The side of the prepared images that fits the pictures: 28, 32 or 64 pixels."""
    return next(size for size, (_, least) in NETWORKS.items() if survey.shorter >= least)


def _look_at(path: Path, survey: Survey) -> None:
    """Note what an image's header says."""
    survey.looked_at += 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        try:
            with Image.open(path, formats=FORMATS) as image:
                kind = "JPEG" if image.format == "MPO" else str(image.format)
                mode, size = image.mode, image.size
                animated = kind != "JPEG" and getattr(image, "is_animated", False)
                transparent = image.has_transparency_data
        except Exception:  # of many kinds: prepare says which
            survey.facts["unreadable"] += 1
            return
    survey.formats[kind] += 1
    survey.sides.append((min(size), max(size)))
    grey = mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;16")
    survey.facts.update(
        fact
        for fact, holds in {
            "grey": grey,
            "colour": not grey,
            "transparent": transparent,
            "deep": mode in ("I", "F") or mode.startswith("I;16"),
            "animated": animated,
            "renamed": SUFFIXES.get(path.suffix.lower(), kind) != kind,
        }.items()
        if holds
    )
