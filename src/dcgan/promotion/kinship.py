"""Whether two models have learnt the same images, by the sketches of their data sets.

A champion is replaced by a model of the same data, which may have grown. Two projects with one
title would replace one another's champions: their data sets share no image.
"""

from collections.abc import Sequence

from dcgan import data


def shared(ours: Sequence[str], others: Sequence[str]) -> tuple[int, int]:
    """How many of a sample of all images are in both data sets, and the size of the sample.

    Among the smallest hashes of both together each image is drawn with equal chance, so the share
    estimates the Jaccard index (Broder 1997, "On the resemblance and containment of documents").

    Args:
        ours: the sketch of a data set, as `data.sketch` makes it.
        others: that of the other.
    """
    sample = sorted({*ours, *others})[: data.SKETCH]
    both = set(ours) & set(others)
    return sum(digest in both for digest in sample), len(sample)


def of_other_data(ours: Sequence[str], others: Sequence[str]) -> str | None:
    """A sentence, if both sketches are known and share nothing; else None."""
    if not ours or not others:
        return None
    common, size = shared(ours, others)
    return f"{common} of a sample of {size} images are in both data sets" if not common else None
