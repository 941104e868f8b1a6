"""Judge every checkpoint of a training, choose one on the validation images, report it on the test images once.

Real and generated images go through the same frozen extractor. Choosing and reporting use different
latent vectors, so that the reported figure does not profit from the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan import files
from dcgan.errors import NoCheckpoint
from dcgan.judging import comparison, coverage, fidelity, manifold
from dcgan.judging.comparison import Real, Verdicts
from dcgan.judging.extractor import Extractor
from dcgan.judging.fidelity import Features
from dcgan.networks import exports, sampling
from dcgan.networks.models import Generator

WEIGHTS = {"raw": "generator.safetensors", "ema": "generator_ema.safetensors"}
DRAWS = 5  # of latent vectors that the chosen checkpoint is reported on

Images = npt.NDArray[np.uint8]  # N x C x H x W
Row = dict[str, float]


@dataclass(frozen=True, eq=False)
class Report:
    """The chosen generator on test: figures for metrics.json, and the ten generated images nearest to a training image."""

    figures: dict[str, Any]
    generated: Images
    nearest: list[int]  # positions in train


@dataclass(frozen=True, eq=False)
class Judge:
    """What all checkpoints of a training are measured with."""

    extractor: Extractor
    num_samples: int  # generated images a draw
    seed: int

    def draw(self, generator: Generator, stream: str) -> tuple[Images, Features, Verdicts | None]:
        """Images of the latent vectors that `stream` names, their features and verdicts."""
        images = sampling.sample(generator, self.num_samples, seed=self.seed, stream=stream)
        return images, *self.extractor.extract(images)

    def judge(self, folder: Path, real: Real) -> Row:
        """The row of by_epoch.csv for one epoch's exports: the cheap figures of raw and EMA weights, `fid_raw` and so on."""
        row: Row = {"epoch": int(folder.name.removeprefix("epoch-"))}
        known: dict[str, Row] = {}  # by sha256: without an average both are the same weights
        for weights, name in WEIGHTS.items():
            sha256 = files.read_json((folder / name).with_suffix(".json"))["sha256"]
            if sha256 not in known:
                generator, _ = exports.load_generator(folder / name)
                _, features, verdicts = self.draw(generator, "choose")
                known[sha256] = _flat(real.cheap(features, verdicts))
            row |= {f"{key}_{weights}": value for key, value in known[sha256].items()}
        return row

    def report(self, generator: Path, real: Real, train: Features) -> Report:
        """The chosen generator against the test images, and against the train images for what it has memorised.

        Returns:
            Figures with the sample count in the name of FID and KID: the mean over five draws of
            latent vectors, under `noise` the standard deviation; FID extrapolated from all draws
            together; memorisation from the first.
        """
        network, _ = exports.load_generator(generator)
        images, features, verdicts = self.draw(network, "report 0")
        draws = [(features, verdicts)]
        for index in range(1, DRAWS):  # whose images are not kept
            _, features, verdicts = self.draw(network, f"report {index}")
            draws.append((features, verdicts))
        found = [real.all(features, verdicts) for features, verdicts in draws]
        means, deviations = comparison.mean_and_deviation(found)
        memorised, pairs = manifold.memorisation(draws[0][0], train, real.features)
        pooled, notes = np.concatenate([features for features, _ in draws]), []
        figures = {
            **self.named(means),
            "collapsed": any(figures["collapsed"] for figures in found),
            "noise": self.named(deviations),
            "memorisation": memorised,
        }
        if real.class_shares:
            pooled_verdicts = np.concatenate(
                [verdicts for _, verdicts in draws if verdicts is not None]
            )
            figures |= coverage.class_coverage(pooled_verdicts, real.class_shares)
        dims = pooled.shape[1]
        if len(pooled) >= 2 * (dims + 1):
            figures["fid_infinity"] = fidelity.fid_infinity(real.statistics, pooled, self.seed)[
                "fid_infinity"
            ]
        else:
            notes.append(f"no fid_infinity: {len(pooled)} images for {dims} features")
        notes += [
            caution
            for images in (real.statistics, fidelity.statistics(draws[0][0]))
            if (caution := images.caution)
        ]
        return Report(
            {**figures, "notes": notes},
            images[[fake for fake, _ in pairs]],
            [index for _, index in pairs],
        )

    def named(self, figures: dict[str, float]) -> dict[str, float]:
        """The sample count in the names of those figures that move with it most."""
        count = count_name(self.num_samples)
        return {
            f"{key}_{count}" if key.startswith(("fid", "kid")) else key: value
            for key, value in figures.items()
        }


def epochs(checkpoints: Path) -> list[Path]:
    """The folders of a training's exports, first epoch first.

    Raises:
        NoCheckpoint: there is none.
    """
    folders = sorted(path for path in checkpoints.glob("epoch-*") if path.is_dir())
    if not folders:
        raise NoCheckpoint(
            f"{checkpoints}: has no epoch-* folder, expected one an epoch: run train"
        )
    return folders


def choose(rows: Sequence[Row]) -> tuple[int, str]:
    """Index of the row and weights (`raw` or `ema`) of the lowest validation FID; of equals the first."""
    candidates = ((index, weights) for index in range(len(rows)) for weights in WEIGHTS)
    return min(candidates, key=lambda which: rows[which[0]][f"fid_{which[1]}"])


def collapsed(row: Row) -> list[str]:
    """Which of a row's weights have collapsed: raw, ema."""
    return [weights for weights in WEIGHTS if row[f"collapsed_{weights}"]]


def count_name(count: int) -> str:
    """A sample count as it stands in a metric's name: 10000 is `10k`."""
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)


def _flat(figures: dict[str, Any]) -> Row:
    """Numbers only: a class's share under `class_<i>`, the number of dropped classes, 1 for collapsed."""
    shares = {f"class_{i}": share for i, share in enumerate(figures.get("class_shares", ()))}
    dropped = (
        {"dropped_classes": len(figures["dropped_classes"])} if "dropped_classes" in figures else {}
    )
    single = {key: value for key, value in figures.items() if isinstance(value, float)}
    return {**single, "collapsed": int(figures["collapsed"]), **dropped, **shares}
