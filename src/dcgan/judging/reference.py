"""What the reference stage leaves in its folder, written here and read here.

* extractor/: the frozen extractor, see `extractor`;
* features/SPLIT.npy and SPLIT.json: the features of the real images, their class shares, a sha256;
* metrics.json: the figures of real images (floor), of noise (ceiling) and of mirror images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcgan import files, rng
from dcgan.data import Split
from dcgan.errors import DataError
from dcgan.judging import classifier, extractor, mirror
from dcgan.judging.comparison import Real
from dcgan.judging.extractor import Extractor, Trained
from dcgan.judging.sample import Features, Sample, class_histogram

SHOWN = ("floor.fid", "ceiling.fid", "test_accuracy")  # what DVC shows of metrics.json


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference stage's folder, open for reading.

    Attributes:
        folder: results/reference.
        extractor: frozen.
        seed: of the draws that figures against the real images need.
    """

    folder: Path
    extractor: Extractor
    seed: int

    @classmethod
    def open(cls, folder: Path, seed: int, device: torch.device = classifier.CPU) -> "Reference":
        """Load the extractor to `device`; features are read when they are asked for.

        Raises:
            DataError: a file is missing, damaged, or not of this extractor.
        """
        return cls(folder, extractor.load(folder / "extractor", device), seed)

    def sample(self, split: str) -> Sample:
        """The features of a split's real images, without verdicts.

        Raises:
            DataError: a file is missing or damaged, or the features are another extractor's.
        """
        return Sample(load_features(self._path(split), self.extractor.sha256))

    def real(self, split: str) -> Real:
        """A split's real images, measured; errors as those of `sample` and `Real.of`."""
        shares = files.read_json(self._path(split).with_suffix(".json"))["class_shares"]
        return Real.of(self.sample(split), shares, self.seed)

    def metrics(self) -> dict[str, Any]:
        """The figures of floor and ceiling; DataError where the file is missing or no JSON."""
        metrics: dict[str, Any] = files.read_metrics(self.folder / "metrics.json")
        return metrics

    def section(self) -> str:
        """The extractor's name in MLflow, which keeps different extractors' curves apart."""
        return f"{self.extractor.name}-{self.extractor.sha256[:8]}"

    def write(
        self,
        samples: Mapping[str, Sample],
        splits: Mapping[str, Split],
        trained: Mapping[str, Trained],
    ) -> dict[str, Any]:
        """Write the features of the real images, and the figures of floor and ceiling.

        Args:
            samples: the real images of train, validation and test, with verdicts.
            splits: the same images, and their labels.
            trained: the networks that were trained here.

        Returns:
            The content of metrics.json: beside `floor` and `ceiling` also `mirror`, see
            `mirror.within_classes`: where its `fid` is near its `floor`, the figures cannot tell an
            image from its mirror image. `warnings` are sentences.
        """
        for split, sample in samples.items():
            description = {
                "split": split,
                "class_shares": class_shares(sample, self.extractor.num_classes),
                **self.extractor.description(),
            }
            save_features(self._path(split), sample.features, description)
        metrics = {
            **self.extractor.description(),
            "num_images": len(samples["test"]),
            **self._floor_and_ceiling(samples, splits),
        }
        if trained:
            network = trained.get("classifier") or trained["rotation"]
            metrics |= {
                "test_accuracy": network.accuracy,
                "flip": network.flip,
                "shuffled_labels": network.shuffled,
            }
        metrics["warnings"] = [
            warning
            for name, each in trained.items()
            for warning in each.warnings(name, len(samples["test"]))
        ]
        files.write_metrics(self.folder / "metrics.json", metrics, SHOWN)
        return metrics

    def _floor_and_ceiling(
        self, samples: Mapping[str, Sample], splits: Mapping[str, Split]
    ) -> dict[str, Any]:
        """Figures of train images, of noise and of mirror images against test.

        Those of train images and of noise have the number of images that test has, because FID
        depends on the number.
        """
        count, images = len(samples["test"]), splits["test"].images
        floor = samples["train"].taken(
            rng.choose(len(samples["train"]), count, self.seed, "floor").numpy()
        )
        noise = torch.randint(
            256, images.shape, dtype=torch.uint8, generator=rng.generator(self.seed, "noise")
        )
        validation, test = (
            Real.of(each, class_shares(each, self.extractor.num_classes), self.seed)
            for each in (samples["validation"], samples["test"])
        )
        mirrored = self.extractor.extract(np.array(np.asarray(images)[..., ::-1]))
        labels = {name: split.labels for name, split in splits.items()}
        of_validation = validation.basic_figures(Sample(floor.features))
        return {
            "floor": {**test.all_figures(floor), "fid_validation": of_validation["fid"]},
            "ceiling": test.all_figures(self.extractor.extract(noise.numpy())),
            "mirror": mirror.within_classes(
                samples["test"], mirrored, samples["train"], labels, self.seed
            ),
        }

    def _path(self, split: str) -> Path:
        return self.folder / "features" / f"{split}.npy"


def summary(metrics: Mapping[str, Any], trained: Mapping[str, Trained]) -> list[str]:
    """What a person reads at the end."""
    floor, ceiling, turned = metrics["floor"], metrics["ceiling"], metrics["mirror"]
    lines = [f"{name}: {network}" for name, network in trained.items()]
    lines.append(
        f"FID on test, {metrics['extractor']} features: real images {floor['fid']:.3g},"
        f" uniform noise {ceiling['fid']:.4g}"
    )
    if turned["fid"] is not None:
        lines.append(
            f"FID within classes: mirror images {turned['fid']:.3g}, real images"
            f" {turned['floor']:.3g}"
        )
    return [*lines, *(f"warning: {warning}" for warning in metrics["warnings"])]


def class_shares(sample: Sample, num_classes: int) -> Sequence[float] | None:
    """Share of the images that the classifier takes for each class; None without verdicts."""
    if sample.verdicts is None:
        return None
    return [count / len(sample) for count in class_histogram(sample.verdicts, num_classes)]


def save_features(path: Path, features: Features, description: Mapping[str, Any]) -> None:
    """Write features N x D as .npy and, last, `description` with their sha256 as JSON beside them.

    The description has `extractor_sha256`, which `load_features` compares.
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
        other = str(description.get("extractor_sha256"))
        raise DataError(
            f"{path}: features of the extractor {other[:16]}, expected those of"
            f" {extractor_sha256[:16]}: run reference"
        )
    files.verify(path, description["sha256"])
    try:
        features: Features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: is no array ({error}): run reference") from error
    return features
