"""Whether the reference classifier may also learn from mirror images.

Mirror images of clothes are clothes, those of arrows, letters or hands are other things: a
classifier that has seen them cannot tell left from right, and its FID cannot either. The data
decide: two small classifiers, one with flips and one without, on the same images.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dcgan import rng
from dcgan.data import Split
from dcgan.judging import classifier

TRIAL_IMAGES = 5000  # of train and of validation, at most
TOLERANCE = 2.0  # standard errors of the difference that flips may cost
# And the error without flips that they may add: on Fashion-MNIST another seed alone adds a tenth.
MORE_ERROR = 0.25


def decide(
    setting: str,
    splits: Mapping[str, Split],
    *,
    num_classes: int,
    seed: int,
    epochs: int,
    lr: float,
    batch_size: int,
    device: torch.device = classifier.CPU,
) -> dict[str, Any]:
    """Decide whether the classifier of the labels is trained with horizontal flips.

    With `auto` flips are used unless they raise the error on validation by more than two standard
    errors of the difference, image by image, and by more than a quarter.

    Args:
        setting: always, never or auto.
        splits: train and validation are used, at most 5,000 images each, from each class in its
            share.
        num_classes: of the labels.
        seed: of the draws and of both trainings.
        epochs: passes of each over the drawn images.
        lr: peak of the learning rate.
        batch_size: images a step.
        device: where they are trained.

    Returns:
        `used`; with auto also the accuracies `with` and `without`, 0 to 1, and the number of
        `images` that they are of.
    """
    if setting != "auto":
        return {"used": setting == "always"}
    drawn = {}
    for name in ("train", "validation"):
        split = splits[name]
        rows = rng.choose_of_each(split.labels, TRIAL_IMAGES, seed, f"flips {name}")
        drawn[name] = Split(split.images[rows], split.labels[rows])
    right = {}
    for flip in (True, False):
        network = classifier.train_classifier(
            drawn["train"].images, drawn["train"].labels, num_classes=num_classes, seed=seed,
            epochs=epochs, lr=lr, batch_size=batch_size, flip=flip, device=device,
        )  # fmt: skip
        verdicts = classifier.extract(network, drawn["validation"].images)[1]
        right[flip] = (verdicts == drawn["validation"].labels).astype(np.float64)
    cost = right[False] - right[True]
    noise = TOLERANCE * cost.std() / np.sqrt(len(cost))
    allowed = max(noise, MORE_ERROR * (1 - right[False].mean()))
    return {
        "used": bool(cost.mean() <= allowed),
        "with": float(right[True].mean()),
        "without": float(right[False].mean()),
        "images": len(cost),
    }
