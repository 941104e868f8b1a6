"""What was assumed about the images, in sentences for the user."""

from collections.abc import Sequence

import numpy as np

from dcgan.config import sections
from dcgan.preparing.decode import SMALLER_THAN_CROP, TOO_SMALL, UNKNOWN_RANGE, Fact
from dcgan.preparing.decoding import Part

# What helps where most bad images are bad for one reason, by a part of the reason.
ADVICE = {
    TOO_SMALL: (
        "set dataset.enlarge to bilinear, or to nearest for pixel art, or choose a smaller"
        " dataset.image_size"
    ),
    SMALLER_THAN_CROP: "set dataset.crop to null, which takes the largest central square",
    UNKNOWN_RANGE: "set dataset.max_value to the value that is white",
}


def of(parts: Sequence[Part], dataset: sections.Dataset, white: int | None) -> list[str]:
    """A sentence for each kind of assumption that was made, with the number of images.

    Args:
        parts: decoded images.
        dataset: the section of params.yaml by which they were decoded.
        white: what became 255 in images of more than 8 bits; None: there are none.
    """
    facts = np.concatenate([part.facts[part.good] for part in parts])
    cut = np.concatenate([part.cut[part.good] for part in parts])
    total = len(facts)

    def count(fact: Fact) -> int:
        return int(((facts & fact) > 0).sum())

    def images(number: int) -> str:
        return "1 image is" if number == 1 else f"{number} of {total} images are"

    def owners(number: int) -> str:
        return "1 image has" if number == 1 else f"{number} of {total} images have"

    sentences = []
    if dataset.crop is not None and cut.any():
        share = cut[cut > 0].mean()
        sentences.append(
            f"dataset.crop = {dataset.crop} cuts {share:.0f} % of the area of {(cut > 0).sum()} of"
            f" {total} images; null takes the largest central square"
        )
    elif number := count(Fact.NO_SQUARE):
        done = {
            "crop": f"the central square is taken, {cut[cut > 0].mean() if cut.any() else 0:.0f} %"
            " of their area is cut off",
            "pad": f"they are padded with {dataset.background}",
            "stretch": "they are stretched to squares",
        }[dataset.fit]
        others = " and ".join(way for way in ("crop", "pad", "stretch") if way != dataset.fit)
        sentences.append(f"{images(number)} no squares: {done}; other ways: {others} (dataset.fit)")
    if number := count(Fact.COLOUR_LOST):
        sentences.append(f"{images(number)} in colour: made grey, because dataset.channels is 1")
    if number := count(Fact.ENLARGED):
        how = "nearest pixels" if dataset.enlarge == "nearest" else "bilinear"
        sentences.append(
            f"{images(number)} smaller than {dataset.image_size} x {dataset.image_size}: enlarged,"
            f" {how} (dataset.enlarge)"
        )
    if number := count(Fact.TRANSPARENT):
        sentences.append(
            f"{owners(number)} transparent pixels: {dataset.background} lies under them"
            " (dataset.background)"
        )
    if number := count(Fact.DEEP):
        largest = dataset.max_value if dataset.max_value is not None else white
        sentences.append(
            f"{owners(number)} more than 8 bits: {largest or 1:g} becomes 255 (dataset.max_value)"
        )
    if number := count(Fact.DEEP_COLOUR):
        sentences.append(
            f"{owners(number)} 16 bits a channel in colour: their higher 8 bits are taken; if that"
            " is too dark, save them with 8 bits"
        )
    if number := count(Fact.FRAMES):
        sentences.append(f"{owners(number)} several frames or pages: the first is taken")
    if number := count(Fact.RENAMED):
        sentences.append(f"{images(number)} of another format than the name says: read by content")
    if number := count(Fact.METADATA):
        sentences.append(f"{owners(number)} damaged or very long metadata: read without them")
    return sentences


def advice(bad: Sequence[str]) -> str:
    """What helps against most of the bad images, "name (reason)"."""
    for part, what in ADVICE.items():
        if sum(part in reason for reason in bad) > len(bad) / 2:
            return what
    return "repair or remove them"
