"""Two signs of a training that has gone wrong: D has won, or G draws the same few images.

Both are told while it trains. Neither ends it: a training may come back, and who watches decides.
Their limits were measured on trainings that went well and on spoilt ones (docs/protocol.md).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from dcgan.config.sections import Training
from dcgan.data import Images
from dcgan.training.losses import LOSSES
from dcgan.training.state import Row

WON = 0.05  # D's loss, as a share of what it is without knowing anything
COLLAPSED = 0.1  # variety, of that of real images
FEWEST_STEPS = 300  # before them a healthy G may still draw one grey
FEWEST_IMAGES = 16  # of fewer the nearest ones say little


def found(
    rows: Sequence[Row], made: Images, real: Images, training: Training
) -> Mapping[str, float]:
    """The signs that an epoch has, with their figures.

    Args:
        rows: of the epoch, as history.csv has them.
        made: the images of its grid, uint8 N x C x H x W.
        real: as many of the train split.
        training: the section of params.yaml.

    Returns:
        `discriminator_won` with `loss_share`'s value, `collapsed` with that of `variety`, or
        neither.
    """
    if not rows or rows[-1]["step"] < FEWEST_STEPS:
        return {}
    figures = {"discriminator_won": (loss_share(rows, training), WON)}
    if len(made) >= FEWEST_IMAGES:
        figures["collapsed"] = (variety(made, real), COLLAPSED)
    return {name: value for name, (value, limit) in figures.items() if value < limit}


def loss_share(rows: Sequence[Row], training: Training) -> float:
    """D's mean loss over some rows: 1 if it tells nothing apart, 0 if it tells all."""
    loss = LOSSES[training.loss].discriminator
    smoothing = training.label_smoothing
    undecided = (1 - smoothing) / 2 if training.loss == "least_squares" else 0.0
    logits = torch.tensor([undecided])
    chance = float(loss(logits, logits, smoothing))
    # With smoothed labels the best loss is not zero: there it is the labels' own entropy.
    entropic = training.loss in ("non_saturating", "minimax") and smoothing
    best = -sum(p * math.log(p) for p in (smoothing, 1 - smoothing)) if entropic else 0.0
    mean = sum(row["loss_d"] for row in rows) / len(rows)
    if training.update == "concatenated":  # there it is a mean over real and fake images
        mean *= 2
    return (mean - best) / (chance - best)


def variety(made: Images, real: Images) -> float:
    """How far apart images are, beside real ones: 1 as far, 0 each has an equal one.

    The median distance from an image to its nearest other one, of uint8 N x C x H x W each; over
    that of the real ones. A few modes, each drawn many times, give 0, where the mean of all
    distances would be as usual.
    """
    count = min(len(made), len(real))
    among_real = _median_to_nearest(real[:count])
    return _median_to_nearest(made[:count]) / among_real if among_real else 1.0


def _median_to_nearest(images: Images) -> float:
    pixels = torch.from_numpy(np.array(images, np.float32)).flatten(1)
    distances = torch.cdist(pixels, pixels, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distances.fill_diagonal_(math.inf).min(dim=1).values.median())
