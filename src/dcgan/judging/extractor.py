"""The frozen feature extractor, and what it found in the real images.

Features are what FID and its relatives compare; verdicts, which only a classifier gives, are what
the class histogram counts. The extractor lies in a folder, a file for each of its networks:

* classifier.safetensors, wherever there are labels: its verdicts count, whichever network gives the features;
* rotation.safetensors or inception.safetensors, where that one gives the features;
* extractor.json, written last: which one gives the features, and the sha256 of each file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import files
from dcgan.data import Split
from dcgan.errors import ConfigError, DataError
from dcgan.judging import classifier, fidelity, inception
from dcgan.judging.classifier import Classifier

NETWORKS = ("classifier", "rotation", "inception")

Images = npt.NDArray[np.uint8]  # N x C x H x W
Features = npt.NDArray[np.float32]  # N x D
Verdicts = npt.NDArray[np.int64]  # N


@dataclass(frozen=True, eq=False)
class Extractor:
    """Images in, features and verdicts out.

    Attributes:
        name: classifier, rotation or inception.
        sha256: of the weights whose features are compared; of Inception that of the published file.
        resize: what is done to the images before: "none", or how they are resized.
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

    def extract(
        self, images: Images, on_batch: Callable[[int, int], None] | None = None
    ) -> tuple[Features, Verdicts | None]:
        """Features float32 N x num_features of uint8 images N x C x H x W, and the most likely class int64 N.

        Args:
            images: mapped ones are read a batch at a time. What is found in one does not depend on
                how many others there are.
            on_batch: called with the number of images done, and of all, after each batch.

        Raises:
            DataError: no images, or not uint8 N x C x H x W.
        """
        if isinstance(self.network, inception.Inception):
            features = inception.extract(self.network, images, on_batch)
        else:
            features, verdicts = classifier.extract(self.network, images, on_batch=on_batch)
            if self.classifier is self.network:
                return features, verdicts
        return features, None if self.classifier is None else classifier.extract(
            self.classifier, images
        )[1]

    def probabilities(self, images: Images) -> Features:
        """How likely the classifier finds each class: float32 N x num_classes, 0 to 1, of uint8 images N x C x H x W.

        Raises:
            DataError: there is no classifier, no images, or not uint8 N x C x H x W.
        """
        if self.classifier is None:
            raise DataError(
                "extractor: has no classifier, because the data set has no labels: cannot tell classes"
            )
        return classifier.probabilities(self.classifier, images)

    def description(self) -> dict[str, str]:
        """What stands beside every figure: `extractor`, `extractor_sha256`, `resize`; `classifier_sha256` where that is another."""
        about = {"extractor": self.name, "extractor_sha256": self.sha256, "resize": self.resize}
        if self.classifier_sha256 is not None and self.classifier is not self.network:
            about["classifier_sha256"] = self.classifier_sha256
        return about


def choose(extractor: str, classes: Sequence[str]) -> str:
    """`classifier`, `rotation` or `inception`: what `auto` stands for, which is never inception, or what was asked for.

    Raises:
        ConfigError: a classifier of images that have no labels.
    """
    if extractor == "classifier" and not classes:
        raise ConfigError(
            "params.yaml: reference.extractor = 'classifier': the data set has no labels: use auto, rotation or inception"
        )
    return extractor if extractor != "auto" else "classifier" if classes else "rotation"


def networks(extractor: str, classes: Sequence[str]) -> list[str]:
    """What an extractor is made of: the network that gives the features first, and a classifier wherever there are labels."""
    return [extractor] if extractor == "classifier" or not classes else [extractor, "classifier"]


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
    on_epoch: Callable[[int, float, float], None] | None = None,
) -> float:
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
        on_epoch: called with the epoch, from 1, the mean loss, and the accuracy on validation, 0 to
            1.

    Returns:
        The accuracy on test, 0 to 1.

    Raises:
        DataError, Diverged: as `classifier.train_classifier`.
    """
    labels = {
        split: part.labels if name == "classifier" else None for split, part in splits.items()
    }

    def report(epoch: int, loss: float, network: Classifier) -> None:
        if on_epoch is not None:
            on_epoch(
                epoch,
                loss,
                classifier.accuracy(network, splits["validation"].images, labels["validation"]),
            )

    num_classes = len(manifest["classes"]) if name == "classifier" else classifier.NUM_TURNS
    network = classifier.train_classifier(
        splits["train"].images, labels["train"], num_classes=num_classes, seed=seed, epochs=epochs, lr=lr, batch_size=batch_size,
        on_epoch=report,
    )  # fmt: skip
    accuracy = classifier.accuracy(network, splits["test"].images, labels["test"])
    about = {
        "dataset": manifest["dataset"],
        "image_size": manifest["image_size"],
        "extractor": name,
        "test_accuracy": accuracy,
    }
    classifier.save_classifier(folder / f"{name}.safetensors", network, about)
    return accuracy


def finish(folder: Path, names: Sequence[str]) -> None:
    """Make an extractor of the networks that lie in `folder`, the first of which gives the features; networks of others go."""
    for name in set(NETWORKS) - set(names):
        for suffix in (".safetensors", ".json"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    digests = {name: files.sha256(folder / f"{name}.safetensors") for name in names}
    files.write_json(folder / "extractor.json", {"extractor": names[0], "sha256": digests})


def load(folder: Path) -> Extractor:
    """Read the extractor that the reference stage left in `folder`. Inception goes to the GPU where there is one.

    Raises:
        DataError: a file is missing, damaged, or not of this extractor.
    """
    path = folder / "extractor.json"
    chosen = files.read_json(path)
    name, digests = (
        (str(chosen.get("extractor")), chosen.get("sha256"))
        if isinstance(chosen, dict)
        else ("", None)
    )
    if not isinstance(digests, dict) or name not in digests or not set(digests) <= set(NETWORKS):
        raise DataError(
            f"{path}: names no extractor, expected one of {', '.join(NETWORKS)} with its sha256: run reference"
        )
    loaded: dict[str, tuple[Any, dict[str, Any]]] = {}
    for kind, sha256 in digests.items():
        read = inception.load if kind == "inception" else classifier.load_classifier
        loaded[kind] = read(folder / f"{kind}.safetensors")
        if loaded[kind][1]["sha256"] != sha256:
            raise DataError(
                f"{folder / kind}.safetensors: is not the one that {path.name} names: run reference"
            )
    network, about = loaded[name]
    if name == "inception" and torch.cuda.is_available():
        network = network.to("cuda")
    judge, judged = loaded.get("classifier", (None, {}))
    return Extractor(
        name=name,
        sha256=about.get("weights_sha256", about["sha256"]),
        resize=inception.RESIZE if name == "inception" else "none",
        num_features=about["num_features"],
        num_classes=judged.get("num_classes", 0),
        network=network,
        classifier=judge,
        classifier_sha256=judged.get("sha256"),
    )


def class_shares(verdicts: Verdicts | None, num_classes: int) -> list[float] | None:
    """Share of the images that the classifier takes for each class, 0 to 1; None where there are no verdicts."""
    if verdicts is None:
        return None
    return [count / len(verdicts) for count in fidelity.class_histogram(verdicts, num_classes)]


def save_features(path: Path, features: Features, description: dict[str, Any]) -> None:
    """Write features N x D as .npy and, last, `description` with their sha256 as JSON beside them.

    The description has `extractor_sha256`, which `load_features` wants to see again.
    """
    with files.replacing(path) as temporary:
        np.save(temporary, features)
    files.write_json(
        path.with_suffix(".json"),
        {**description, "shape": features.shape, "sha256": files.sha256(path)},
    )


def load_features(path: Path, extractor_sha256: str) -> Features:
    """Read what `save_features` wrote: float32 N x D.

    Raises:
        DataError: a file is missing or damaged, or the features are another extractor's.
    """
    description = files.read_json(path.with_suffix(".json"))
    if not isinstance(description, dict) or not isinstance(description.get("sha256"), str):
        raise DataError(f"{path.with_suffix('.json')}: has no sha256: run reference")
    if description.get("extractor_sha256") != extractor_sha256:
        found = str(description.get("extractor_sha256"))
        raise DataError(
            f"{path}: features of the extractor {found[:16]}, expected those of {extractor_sha256[:16]}: run reference"
        )
    files.verify(path, description["sha256"])
    try:
        features: Features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: is no array ({error}): run reference") from error
    return features
