"""What a discriminator has learnt, measured with a linear L2-SVM on its features.

The paper has two such probes, the protocols `cifar10` and `svhn1000`.

C is chosen on validation images; test images are looked at once, with the chosen C.

Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", 2015,
sections 5.1 and 5.2.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import rng
from dcgan.config import sections
from dcgan.data import SPLITS, Labels, Split
from dcgan.errors import DataError
from dcgan.judging import classifier
from dcgan.networks import devices
from dcgan.networks.models import Discriminator
from dcgan.probing import svm
from dcgan.probing.features import extract, recompute_batch_norm, squared_length
from dcgan.probing.svm import Features, Svm

# Duality gap of a fit to all labels. It takes three quarters of the time of 1e-3, and changes
# accuracies by 0.03 points.
ROUGH_GAP = 1e-2
CHOOSING_DRAWS = 10  # of the labels, to choose C with few of them
CHOOSE, REPORT = "probe choose", "probe report"  # streams of random numbers
SUPERVISED_DRAWS, SUPERVISED_EPOCHS = 10, 40  # of the classifier that learns from few labels


@dataclass(frozen=True, eq=False)
class Report:
    """What the SVM with the chosen C reaches.

    Attributes:
        figures: for metrics.json.
        confusion: on test, num_classes x num_classes counts; a row for each true class.
    """

    figures: dict[str, Any]
    confusion: npt.NDArray[np.int64]

    @property
    def title(self) -> str:
        """The test figure and C, for people."""
        c = f"C = {self.figures['c']:.3g}"
        if "test_error" in self.figures:
            error, spread = self.figures["test_error"], self.figures["test_error_1.96_sigma"]
            return f"{100 * error:.2f} +- {100 * spread:.2f} % error on test, {c}"
        return f"{100 * self.figures['test_accuracy']:.2f} % on test, {c}"


def measure(
    network: Discriminator | None,
    splits: Mapping[str, Split],
    params: sections.Probe,
    num_classes: int,
    seed: int,
    precision: str = "float32",
) -> Report:
    """Take the features of the images of each split, and follow the protocol on them.

    Args:
        network: None: the features are the pixels.
        splits: train, validation and test.
        params: the protocol.
        num_classes: of the labels.
        seed: of the draws: `num_train` images from each class in its share, those of `svhn1000`.
        precision: of the network's layers, float32 or bfloat16. The SVM computes on the CPU, in
            float32.
    """
    train = splits["train"]
    count = params.num_train if params.protocol == "cifar10" else len(train.labels)
    # Not the first ones: prepared images may be sorted by class.
    rows = rng.choose_of_each(train.labels, count, seed, "probe train")
    images = {name: split.images for name, split in splits.items()}
    labels = {name: split.labels for name, split in splits.items()}
    if len(rows) < len(train.labels):
        images["train"], labels["train"] = train.images[rows], train.labels[rows]
    device = classifier.CPU if network is None else next(network.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        if params.protocol == "svhn1000" and network is not None:
            recompute_batch_norm(network, images["train"])
        features = {name: extract(network, images[name]) for name in SPLITS}
    unit = 1.0 if params.c_unit == "one" else 1 / squared_length(features["train"])
    c_values = [unit * c for c in params.c]
    if params.protocol == "cifar10":
        return all_labels(features, labels, c_values, num_classes)
    return few_labels(
        features, labels, c_values, num_classes,
        seed=seed, labels_per_class=params.labels_per_class, draws=params.num_draws,
    )  # fmt: skip


def supervised(
    splits: Mapping[str, Split],
    params: sections.Probe,
    num_classes: int,
    seed: int,
    reference: Mapping[str, Any],
) -> dict[str, Any]:
    """The test figure of the reference stage's classifier, which learns from the same labels.

    With the protocol `cifar10` the figure is taken from `reference`, that stage's metrics; with
    `svhn1000` a new classifier is trained on each of the first ten draws that report.
    """
    if params.protocol == "cifar10":
        return {"test_accuracy": reference["test_accuracy"]}
    train, test = splits["train"], splits["test"]
    errors = []
    for draw in range(min(SUPERVISED_DRAWS, params.num_draws)):
        rows = draw_rows(train.labels, num_classes, params.labels_per_class, seed, REPORT, draw)
        network = classifier.train_classifier(
            train.images[rows], train.labels[rows], num_classes=num_classes,
            seed=seed, epochs=SUPERVISED_EPOCHS, lr=3e-3, batch_size=128,
            flip=reference["flip"]["used"],
        )  # fmt: skip
        errors.append(1 - classifier.accuracy(network, test.images, test.labels))
    return {
        "test_error": float(np.mean(errors)),
        "test_error_1.96_sigma": float(1.96 * np.std(errors, ddof=1)),
    }


def choose_precision(trained_in: str, device: torch.device) -> str:
    """The precision of D's training if `device` computes in it, or float32.

    bfloat16 takes half the time and changes a feature by 0.3 %.
    """
    return trained_in if devices.computes_in_bfloat16(device) else "float32"


def protocol(
    params: sections.Probe, precision: str, device: torch.device, epoch: int, seed: int
) -> dict[str, Any]:
    """What the figures mean, for metrics.json.

    Args:
        params: the protocol.
        precision: of the network's layers.
        device: where the features are computed.
        epoch: of the discriminator.
        seed: of the draws.
    """
    few = {
        "labels_per_class": params.labels_per_class,
        "draws": params.num_draws,
        "draws_that_choose": CHOOSING_DRAWS,
    }
    learnt_from = {"num_train": params.num_train} if params.protocol == "cifar10" else few
    return {
        "name": params.protocol,
        "epoch": epoch,
        "seed": seed,
        "features": "every convolution of D after its activation,"
        " max-pooled to 4 x 4, concatenated",
        "precision": precision,
        "device": device.type,
        "classifier": "L2-SVM, one against the rest",
        "c_unit": "1"
        if params.c_unit == "one"
        else "1 / mean squared length of the train features",
        "chosen_on": "validation",
        "reported_on": "test",
        **learnt_from,
    }


def all_labels(
    features: Mapping[str, Features],
    labels: Mapping[str, Labels],
    c_values: Sequence[float],
    num_classes: int,
) -> Report:
    """The protocol `cifar10`: the SVM learns from all train labels.

    The C with the highest accuracy on validation is chosen (the smallest of equals) and reported on
    test.

    Args:
        features: float32 N x D by split.
        labels: N by split, 0 .. num_classes - 1.
        c_values: the values of C to choose from, above 0.
        num_classes: number of classes.

    Raises:
        DataError: as `svm.fit_path`; or validation or test images that do not fit the train images.
    """
    _check(features, labels, num_classes)
    path = svm.fit_path(features["train"], labels["train"], c_values, num_classes, gap=ROUGH_GAP)
    validation = [svm.accuracy(fit, features["validation"], labels["validation"]) for fit in path]
    best = int(np.argmax(validation))
    matrix = svm.confusion(path[best], features["test"], labels["test"], num_classes)
    figures = {
        "c": path[best].c,
        "test_accuracy": float(matrix.trace() / matrix.sum()),
        "validation_accuracy": validation[best],
        "num_features": features["train"].shape[1],
        "tried": [
            {"c": fit.c, "validation_accuracy": accuracy, "gap": fit.gap}
            for fit, accuracy in zip(path, validation, strict=True)
        ],
    }
    return Report(figures, matrix)


def few_labels(
    features: Mapping[str, Features],
    labels: Mapping[str, Labels],
    c_values: Sequence[float],
    num_classes: int,
    *,
    seed: int,
    labels_per_class: int,
    draws: int,
) -> Report:
    """The protocol `svhn1000`: the SVM learns from few labels, drawn again and again.

    C is chosen by the mean validation error of 10 draws; other draws then give the test error with
    that C, once each.

    Args:
        features: float32 N x D by split.
        labels: N by split, 0 .. num_classes - 1.
        c_values: the values of C to choose from, above 0.
        num_classes: number of classes.
        seed: of the draws.
        labels_per_class: train images a draw takes of each class.
        draws: number of draws that report.

    Raises:
        DataError: as `all_labels`; or a class with fewer train images than a draw takes.
    """
    _check(features, labels, num_classes)

    def fits(stream: str, draw: int, values: Sequence[float]) -> list[Svm]:
        rows = draw_rows(labels["train"], num_classes, labels_per_class, seed, stream, draw)
        return svm.fit_path(features["train"][rows], labels["train"][rows], values, num_classes)

    def errors(path: Iterable[Svm], split: str) -> list[float]:
        return [1 - svm.accuracy(fit, features[split], labels[split]) for fit in path]

    validation = np.mean(
        [errors(fits(CHOOSE, draw, c_values), "validation") for draw in range(CHOOSING_DRAWS)],
        axis=0,
    )
    c = sorted(c_values)[int(np.argmin(validation))]
    matrices = [
        svm.confusion(fits(REPORT, draw, [c])[0], features["test"], labels["test"], num_classes)
        for draw in range(draws)
    ]
    test = [1 - matrix.trace() / matrix.sum() for matrix in matrices]
    figures = {
        "c": c,
        "test_error": float(np.mean(test)),
        "test_error_1.96_sigma": float(1.96 * np.std(test, ddof=1)) if draws > 1 else 0.0,
        "validation_error": float(validation.min()),
        "num_features": features["train"].shape[1],
        "tried": [
            {"c": value, "validation_error": float(error)}
            for value, error in zip(sorted(c_values), validation, strict=True)
        ],
    }
    return Report(figures, np.sum(matrices, axis=0))


def draw_rows(
    labels: Labels, num_classes: int, labels_per_class: int, seed: int, stream: str, draw: int
) -> npt.NDArray[np.int64]:
    """Positions of `labels_per_class` images of each class, without replacement: int64, rising.

    Raises:
        DataError: a class has too few images.
    """
    generator = rng.generator(seed, stream, draw)
    rows = []
    for label in range(num_classes):
        members = np.flatnonzero(np.asarray(labels) == label)
        if len(members) < labels_per_class:
            raise DataError(
                f"train: {len(members)} images of class {label}:"
                f" must be {labels_per_class} or more; lower probe.labels_per_class"
            )
        # One generator for all classes, so that each class has draws of its own.
        order = torch.randperm(len(members), generator=generator).numpy()
        rows.append(members[order[:labels_per_class]])
    return np.sort(np.concatenate(rows))


def _check(
    features: Mapping[str, Features], labels: Mapping[str, Labels], num_classes: int
) -> None:
    for split in SPLITS:
        svm.check(split, features[split], labels[split], num_classes)
        width, expected = features[split].shape[1], features["train"].shape[1]
        if width != expected:
            raise DataError(
                f"{split}: {width} features, train has {expected}: must be the same network's;"
                " run probe again"
            )
