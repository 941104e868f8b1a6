"""The frozen feature extractor.

Features are what FID and its relatives compare; verdicts, which only a classifier gives, are what
the class histogram counts. The extractor lies in a folder, a file for each of its networks:

* classifier.safetensors, wherever there are labels: it gives the verdicts, whichever network gives
  the features;
* rotation.safetensors or inception.safetensors, if that network gives the features;
* extractor.json, written last: which one gives the features, and the sha256 of each file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import files
from dcgan.data import Images, Split
from dcgan.errors import ConfigError, DataError
from dcgan.judging import classifier, flips, inception, labels
from dcgan.judging.classifier import Classifier
from dcgan.judging.coverage import FEWEST
from dcgan.judging.sample import Sample

NETWORKS = ("classifier", "rotation", "inception")


@dataclass(frozen=True)
class Trained:
    """What is known of a network that was trained here.

    Attributes:
        accuracy: on test, 0 to 1.
        chance: what a network that has learnt nothing reaches: the share of the largest class.
        flip: whether it learnt from mirror images too, and why, see `flips.decide`.
        shuffled: share of the validation labels that look shuffled, see `labels.shuffled`; None: it
            cannot be told.
    """

    accuracy: float
    chance: float
    flip: dict[str, Any]
    shuffled: float | None = None

    def __str__(self) -> str:
        said = (
            f"{100 * self.accuracy:.2f} % on test, with{'' if self.flip['used'] else 'out'} flips"
        )
        if "images" in self.flip:
            said += (
                f" (in a trial {100 * self.flip['with']:.1f} % with and"
                f" {100 * self.flip['without']:.1f} % without, on {self.flip['images']} images)"
            )
        return said

    def warnings(self, name: str, num_images: int) -> list[str]:
        """A sentence each: it is no better than chance, or the labels look shuffled.

        Chance is exceeded by two standard errors of `num_images`.
        """
        found = []
        if self.shuffled is not None and self.shuffled > labels.NOTABLE:
            found.append(
                f"about {100 * self.shuffled:.0f} % of the labels look shuffled: in that many"
                " validation images the label is one that the classifier thinks least of, and any"
                " of these alike: check the source's labels"
            )
        error = math.sqrt(self.chance * (1 - self.chance) / num_images)
        if self.accuracy > self.chance + 2 * error:
            return found
        advice = (
            "raise reference.epochs, or, if the classes are mere shards, set dataset.class_folders"
            " to false"
            if name == "classifier"
            else "raise reference.epochs"
        )
        found.append(
            f"the {name} is right in {100 * self.accuracy:.1f} % of {num_images} test images, and"
            f" guessing in {100 * self.chance:.1f} %: its features carry all figures; {advice}"
        )
        return found


@dataclass(frozen=True, eq=False)
class Extractor:
    """Images in, features and verdicts out.

    Attributes:
        name: classifier, rotation or inception.
        sha256: of the weights that give the features; for Inception, of the published file.
        resize: how images are resized first, or "none".
        num_features: of an image.
        num_classes: of the verdicts; 0: there are none.
        network: gives the features.
        classifier: gives the verdicts, where there are any; the same object as `network` where that
            gives the features too.
        classifier_sha256: of its weights.
    """

    name: str
    sha256: str
    resize: str
    num_features: int
    num_classes: int
    network: Classifier | inception.Inception
    classifier: Classifier | None = None
    classifier_sha256: str | None = None

    def extract(self, images: Images, on_batch: Callable[[int, int], None] | None = None) -> Sample:
        """Features float32 N x num_features and, where there are classes, verdicts of N images.

        Args:
            images: uint8 N x C x H x W; mapped ones are read a batch at a time. An image's features
                do not depend on the number of images.
            on_batch: called with the number of images done, and of all, after each batch.

        Raises:
            DataError: no images, or not uint8 N x C x H x W; or features that are not finite.
        """
        if isinstance(self.network, inception.Inception):
            features = inception.extract(self.network, images, on_batch)
        else:
            features, verdicts = classifier.extract(self.network, images, on_batch=on_batch)
            if self.classifier is self.network:
                return Sample(features, verdicts)
        if self.classifier is None:
            return Sample(features)
        return Sample(features, classifier.extract(self.classifier, images)[1])

    def probabilities(self, images: Images) -> npt.NDArray[np.float32]:
        """How likely each class is for each of uint8 images N x C x H x W, by the classifier.

        Returns:
            float32 N x num_classes, 0 to 1.

        Raises:
            DataError: there is no classifier, no images, or not uint8 N x C x H x W.
        """
        if self.classifier is None:
            raise DataError(
                "extractor: has no classifier, because the data set has no labels:"
                " cannot tell classes"
            )
        return classifier.probabilities(self.classifier, images)

    @property
    def device(self) -> torch.device:
        """Where it computes; generators that it judges go there too."""
        return next(self.network.parameters()).device

    def description(self) -> dict[str, str]:
        """What stands beside every figure: `extractor`, `extractor_sha256`, `resize`, `device`.

        Also `classifier_sha256`, where the classifier gives the verdicts and not the features.
        """
        values = {
            "extractor": self.name,
            "extractor_sha256": self.sha256,
            "resize": self.resize,
            "device": self.device.type,
        }
        if self.classifier_sha256 is not None and self.classifier is not self.network:
            values["classifier_sha256"] = self.classifier_sha256
        return values


def networks(extractor: str, classes: Sequence[str]) -> list[str]:
    """The networks of an extractor: first the one that gives the features.

    Wherever there are labels, a classifier is one of them.

    Args:
        extractor: classifier, rotation, inception, or auto: the classifier if there are labels,
            else the rotation. Auto is never inception, whose weights must be downloaded.
        classes: of the images; none: they have no labels.

    Raises:
        ConfigError: a classifier is asked for, and the images have no labels.
    """
    if extractor == "classifier" and not classes:
        raise ConfigError(
            "params.yaml: reference.extractor = 'classifier': the data set has no labels:"
            " use auto, rotation or inception"
        )
    if extractor == "auto":
        extractor = "classifier" if classes else "rotation"
    if extractor == "classifier" or not classes:
        return [extractor]
    return [extractor, "classifier"]


def train(
    folder: Path,
    name: str,
    splits: Mapping[str, Split],
    manifest: Mapping[str, Any],
    *,
    seed: int,
    epochs: int,
    lr: float,
    batch_size: int,
    flip: str = "always",
    device: torch.device = classifier.CPU,
    on_epoch: Callable[[int, float, float], None] | None = None,
) -> Trained:
    """Train one of the networks and write it to `folder`.

    Args:
        folder: where `NAME.safetensors` and `NAME.json` go.
        name: classifier or rotation.
        splits: train, validation and test.
        manifest: of the prepared images: dataset, classes and image_size.
        seed: of everything that is drawn.
        epochs: passes over train.
        lr: peak of the learning rate.
        batch_size: images a step.
        flip: always, never, or auto: the data decide, see `flips.decide`; for the rotation never,
            because without labels nothing tells whether mirror images mean the same.
        device: where it is trained.
        on_epoch: called with the epoch, from 1, the mean loss, and the accuracy on validation, 0 to
            1.

    Returns:
        What is known of it.

    Raises:
        DataError, Diverged: as `classifier.train_classifier`.
    """
    answers = {
        split: part.labels if name == "classifier" else None for split, part in splits.items()
    }

    def report(epoch: int, loss: float, network: Classifier) -> None:
        if on_epoch is not None:
            on_epoch(
                epoch,
                loss,
                classifier.accuracy(network, splits["validation"].images, answers["validation"]),
            )

    settings: Any = {
        "seed": seed, "epochs": epochs, "lr": lr, "batch_size": batch_size, "device": device,
    }  # fmt: skip
    if name == "classifier":
        num_classes = len(manifest["classes"])
        decided = flips.decide(flip, splits, num_classes=num_classes, **settings)
        chance = np.bincount(splits["test"].labels).max() / len(splits["test"].labels)
    else:
        num_classes, chance = classifier.NUM_TURNS, 1 / classifier.NUM_TURNS
        decided = {"used": flip == "always"}
    network = classifier.train_classifier(
        splits["train"].images, answers["train"], num_classes=num_classes, flip=decided["used"],
        on_epoch=report, **settings,
    )  # fmt: skip
    accuracy = classifier.accuracy(network, splits["test"].images, answers["test"])
    description = {
        "dataset": manifest["dataset"],
        "image_size": manifest["image_size"],
        "extractor": name,
        "test_accuracy": accuracy,
        "flip": decided,
    }
    classifier.save_classifier(folder / f"{name}.safetensors", network, description)
    held_out = answers["validation"]
    share = None
    if held_out is not None:
        guessed = classifier.probabilities(network, splits["validation"].images)
        share = labels.shuffled(guessed, held_out)
    return Trained(accuracy, float(chance), decided, share)


def check_counts(splits: Mapping[str, Split]) -> None:
    """Refuse too few held-out images before anything is trained.

    Raises:
        DataError: a split has fewer images than figures need.
    """
    for name in ("validation", "test"):
        count = len(splits[name].images)
        if count < FEWEST:
            raise DataError(
                f"{name}: {count} images: figures need at least {FEWEST}; raise dataset.{name}_size"
                + (", or add images to the folder test" if name == "test" else "")
            )


def finish(folder: Path, names: Sequence[str]) -> None:
    """Make an extractor of these networks, which lie in `folder`; the first one gives the features.

    The files of other networks, as an earlier run leaves them, are deleted.
    """
    for name in set(NETWORKS) - set(names):
        for suffix in (".safetensors", ".json"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    digests = {name: files.sha256(folder / f"{name}.safetensors") for name in names}
    files.write_json(folder / "extractor.json", {"extractor": names[0], "sha256": digests})


def load(folder: Path, device: torch.device = classifier.CPU) -> Extractor:
    """Read the extractor in `folder`, and move its networks to `device`.

    Raises:
        DataError: a file is missing, damaged, or not of this extractor.
    """
    name, digests = _read_list(folder / "extractor.json")
    loaded: dict[str, tuple[Any, dict[str, Any]]] = {}
    for kind, sha256 in digests.items():
        read = inception.load if kind == "inception" else classifier.load_classifier
        loaded[kind] = read(folder / f"{kind}.safetensors")
        if loaded[kind][1]["sha256"] != sha256:
            raise DataError(
                f"{folder / kind}.safetensors: is not the one that extractor.json names:"
                " run reference"
            )
    network, description = loaded[name]
    for each, _ in loaded.values():
        each.to(device)
    of_classes, its_description = loaded.get("classifier", (None, {}))
    return Extractor(
        name=name,
        sha256=description.get("weights_sha256", description["sha256"]),
        resize=inception.RESIZE if name == "inception" else "none",
        num_features=description["num_features"],
        num_classes=its_description.get("num_classes", 0),
        network=network,
        classifier=of_classes,
        classifier_sha256=its_description.get("sha256"),
    )


def _read_list(path: Path) -> tuple[str, dict[str, str]]:
    """Which network gives the features, and the sha256 of each network's file."""
    content = files.read_json(path)
    if isinstance(content, dict):
        name, digests = str(content.get("extractor")), content.get("sha256")
        if isinstance(digests, dict) and name in digests and set(digests) <= set(NETWORKS):
            return name, digests
    raise DataError(
        f"{path}: names no extractor, expected one of {', '.join(NETWORKS)} with its sha256:"
        " run reference"
    )
