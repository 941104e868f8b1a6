"""Whether the features tell an image from its mirror image.

Where they do not, a generator that turns everything round gets the same FID as one that does not.
"""

from collections.abc import Mapping

import numpy as np

from dcgan import rng
from dcgan.data import Labels
from dcgan.judging import fidelity
from dcgan.judging.coverage import FEWEST
from dcgan.judging.sample import Sample


def within_classes(
    test: Sample, mirrored: Sample, train: Sample, labels: Mapping[str, Labels], seed: int
) -> dict[str, float | int | None]:
    """FID of mirror images, within each class: a set of left and right arrows is its own mirror.

    Args:
        test: features of the test images.
        mirrored: of their mirror images, in the same order.
        train: of the train images.
        labels: of the images, for train and test; zeros where there are none.
        seed: of the draw of train images.

    Returns:
        `fid`: mean over the classes of the FID of a class's mirror images against its images;
        `floor`: the same of as many train images; `classes`: how many have enough images. Both are
        null where none has.
    """
    fids, floors = [], []
    for label in np.unique(labels["test"]):
        here = np.flatnonzero(labels["test"] == label)
        there = np.flatnonzero(labels["train"] == label)
        count = min(len(here), len(there))
        if count < FEWEST:
            continue
        of_class = test.taken(here).statistics
        drawn = rng.choose(len(there), count, seed, "mirror", int(label)).numpy()
        fids.append(fidelity.fid(of_class, mirrored.taken(here).statistics))
        floors.append(fidelity.fid(of_class, train.taken(there[drawn]).statistics))
    return {
        "fid": float(np.mean(fids)) if fids else None,
        "floor": float(np.mean(floors)) if floors else None,
        "classes": len(fids),
    }
