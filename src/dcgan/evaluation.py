"""Judge every checkpoint of a training, choose one on the validation images, report it on the test images once.

Real and generated images go through the same frozen extractor. Choosing and reporting use different latent vectors, so that the
reported figure does not profit from the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan import checkpoint, features, fidelity, files, sampling
from dcgan.errors import NoCheckpoint

WEIGHTS = {"raw": "generator.safetensors", "ema": "generator_ema.safetensors"}

Row = dict[str, float]


@dataclass(frozen=True)
class Judge:
    """What all checkpoints of a training are measured with."""

    classifier: features.Classifier
    num_classes: int  # whose shares are counted; 0 where the extractor knows no classes
    num_samples: int  # generated images
    seed: int

    def figures(self, generator: Path, real: npt.NDArray[np.float32], stream: str) -> tuple[Row, npt.NDArray[np.float32]]:
        """Measure one exported generator.

        Args:
            generator: the export.
            real: features of the real images, N x 128.
            stream: names the latent vectors.

        Returns:
            `fid`, `kid`, `kid_std`, and `class_<i>`, the share of the images that the classifier takes for class i, 0 to 1; and the
            features of the generated images, num_samples x 128.
        """
        network, _ = checkpoint.load_generator(generator)
        images = sampling.sample(network, self.num_samples, seed=self.seed, stream=stream)
        fake, verdicts = features.extract(self.classifier, images)
        counts = fidelity.class_histogram(verdicts, self.num_classes) if self.num_classes else []
        shares = {f"class_{i}": count / len(verdicts) for i, count in enumerate(counts)}
        return {**fidelity.compare(real, fake, self.seed), **shares}, fake

    def judge(self, folder: Path, real: npt.NDArray[np.float32]) -> Row:
        """The row of by_epoch.csv for one epoch's exports: the figures of the raw and of the EMA weights."""
        row: Row = {"epoch": int(folder.name.removeprefix("epoch-"))}
        known: dict[str, Row] = {}  # by sha256: without an average both are the same weights
        for weights, name in WEIGHTS.items():
            sha256 = files.read_json((folder / name).with_suffix(".json"))["sha256"]
            if sha256 not in known:
                known[sha256], _ = self.figures(folder / name, real, stream="choose")
            found = known[sha256]
            row |= {f"{key}_{weights}": value for key, value in found.items()}
        return row

    def report(self, generator: Path, real: npt.NDArray[np.float32]) -> dict[str, Any]:
        """The figures of the chosen generator: those of `figures` with the sample count in the name, precision and recall."""
        found, fake = self.figures(generator, real, stream="report")
        precision, recall = fidelity.precision_recall(real, fake)
        shares = [found.pop(f"class_{i}") for i in range(self.num_classes)]
        named = {f"{key}_{count_name(self.num_samples)}": value for key, value in found.items()}
        coverage = {"class_shares": shares, "smallest_class_share": min(shares)} if shares else {}
        return {**named, "precision": precision, "recall": recall, **coverage}


def epochs(checkpoints: Path) -> list[Path]:
    """The folders of a training's exports, first epoch first.

    Raises:
        NoCheckpoint: there is none.
    """
    folders = sorted(path for path in checkpoints.glob("epoch-*") if path.is_dir())
    if not folders:
        raise NoCheckpoint(f"{checkpoints}: has no epoch-* folder, expected one an epoch: run train")
    return folders


def choose(rows: Sequence[Row]) -> tuple[int, str]:
    """Index of the row and weights (`raw` or `ema`) of the lowest validation FID; of equals the first."""
    candidates = ((index, weights) for index in range(len(rows)) for weights in WEIGHTS)
    return min(candidates, key=lambda which: rows[which[0]][f"fid_{which[1]}"])


def count_name(count: int) -> str:
    """A sample count as it stands in a metric's name: 10000 is `10k`."""
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)
