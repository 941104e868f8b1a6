"""Judge every checkpoint of a training, choose one on validation, and report it on test once.

Real and generated images go through the same frozen extractor. Choosing and reporting use different
latent vectors, so that the reported figure does not profit from the choice.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan import files
from dcgan.data import Images
from dcgan.errors import NoCheckpoint
from dcgan.judging import coverage, fidelity, figures, manifold
from dcgan.judging.comparison import Real
from dcgan.judging.extractor import Extractor
from dcgan.judging.reference import Reference
from dcgan.judging.sample import Sample
from dcgan.networks import exports, sampling
from dcgan.networks.models import Generator

WEIGHTS = {"raw": "generator.safetensors", "ema": "generator_ema.safetensors"}
DRAWS = 5  # of latent vectors that the chosen checkpoint is reported on
SENSIBLE = 20  # generated images for a real one; the real ones limit what more can tell

Row = dict[str, float]  # of by_epoch.csv: `epoch`, then `fid_raw`, `fid_ema` and so on


@dataclass(frozen=True, eq=False)
class Report:
    """The chosen generator on test.

    Attributes:
        figures: for metrics.json.
        generated: the ten generated images that lie nearest to a training image.
        nearest: the positions of these training images in train.
        distances: between their features.
    """

    figures: dict[str, Any]
    generated: Images
    nearest: list[int]
    distances: list[float]


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of latent vectors, measured.

    Attributes:
        images: of the first draw, uint8 N x C x H x W; None of the others.
        sample: their features.
        figures: of `Real.all_figures`.
    """

    images: Images | None
    sample: Sample
    figures: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Judge:
    """What generators are measured with.

    Attributes:
        extractor: frozen.
        num_samples: generated images a draw of latent vectors.
        seed: of the latent vectors.
    """

    extractor: Extractor
    num_samples: int
    seed: int

    def draw(self, generator: Generator, stream: str) -> tuple[Images, Sample]:
        """Images of the latent vectors that `stream` names, and the features of these.

        The generator goes to the extractor's device.
        """
        generator.to(self.extractor.device)
        images = sampling.sample(generator, self.num_samples, seed=self.seed, stream=stream)
        return images, self.extractor.extract(images)

    def draws(
        self, generator: Generator, stream: str, on_draw: Callable[[int], None] = lambda draw: None
    ) -> tuple[Images, list[Sample]]:
        """The first draw's images, and the samples of five draws: `STREAM 0` to `STREAM 4`.

        `on_draw` is called with the number of each draw, from 1, before it is measured.
        """
        on_draw(1)
        images, first = self.draw(generator, f"{stream} 0")
        samples = [first]
        for index in range(1, DRAWS):
            on_draw(index + 1)
            samples.append(self.draw(generator, f"{stream} {index}")[1])
        return images, samples

    def row(self, folder: Path, real: Real) -> Row:
        """The basic figures of one epoch's exports, raw and EMA weights."""
        row: Row = {"epoch": int(folder.name.removeprefix("epoch-"))}
        values: Row = {}
        for weights, name in WEIGHTS.items():
            # Without an average there is one file, and the figures of both are its own.
            if (folder / name).is_file() or not values:
                generator, _ = exports.load_generator(folder / name)
                _, sample = self.draw(generator, "choose")
                values = _flat(real.basic_figures(sample))
            row |= {f"{key}_{weights}": value for key, value in values.items()}
        return row

    def report_draw(self, generator: Path, real: Real, index: int) -> Draw:
        """One of the draws of latent vectors that a generator is reported on, 0 to 4."""
        network, _ = exports.load_generator(generator)
        images, sample = self.draw(network, f"report {index}")
        return Draw(None if index else images, sample, real.all_figures(sample))

    def report(
        self, generator: Path, real: Real, train: Sample, draws: Sequence[Draw] | None = None
    ) -> Report:
        """The chosen generator against the test images, and what it has memorised of train.

        Args:
            generator: its export.
            real: the test images.
            train: the train images.
            draws: the five of `report_draw`, if other processes have made them.

        Returns:
            Figures with mean and deviation over five draws of latent vectors. All draws together
            give `fid_infinity`, whose deviation is null, the class shares, and the `mean` of the
            two figures made of them, `js_divergence` and `smallest_class_share`. The first draw
            alone gives `memorisation`.
        """
        if draws is None:
            draws = [self.report_draw(generator, real, index) for index in range(DRAWS)]
        images, samples = draws[0].images, [draw.sample for draw in draws]
        by_draw = [draw.figures for draw in draws]
        assert images is not None, "those of the first draw are kept"
        memorisation, pairs = manifold.memorisation(samples[0], train, real.sample)
        pooled, notes = Sample.pooled(samples), []
        values: dict[str, Any] = {
            **figures.of_draws(by_draw),
            "collapsed": any(draw["collapsed"] for draw in by_draw),
            "memorisation": memorisation,
        }
        if real.class_shares and pooled.verdicts is not None:
            for key, value in coverage.class_coverage(pooled.verdicts, real.class_shares).items():
                values[key] = {**values[key], "mean": value} if key in values else value
        dims = pooled.features.shape[1]
        if len(pooled) >= 2 * (dims + 1):
            infinity = fidelity.fid_infinity(real.sample.statistics, pooled, self.seed)
            values["fid_infinity"] = {"mean": infinity, "deviation": None}
        else:
            notes.append(f"no fid_infinity: {len(pooled)} images for {dims} features")
        notes += [
            sample.statistics.caution
            for sample in (real.sample, samples[0])
            if sample.statistics.caution
        ]
        return Report(
            {**values, "notes": notes},
            images[[fake for fake, _, _ in pairs]],
            [index for _, index, _ in pairs],
            [distance for _, _, distance in pairs],
        )

    def protocol(self, real: Real) -> dict[str, Any]:
        """How the figures of several draws are measured; it is written beside them."""
        return {
            **self.extractor.description(),
            "real_images": len(real.sample),
            "generated_images": self.num_samples,
            "draws": DRAWS,
            "seed": self.seed,
        }

    def record(
        self, rows: Sequence[Row], report: Report, real: Real, reference: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The content of metrics.json.

        Args:
            rows: one an epoch.
            report: on the checkpoint that `choose` chose of them.
            real: the images that it was reported on.
            reference: the reference stage's metrics.json.
        """
        index, weights = choose(rows)
        return {
            **report.figures,
            "epoch": rows[index]["epoch"],
            "weights": weights,
            "validation": {"fid": rows[index][f"fid_{weights}"]},
            "last_epoch_validation": {
                which: {"fid": rows[-1][f"fid_{which}"]} for which in WEIGHTS
            },
            "collapsed_epochs": [row["epoch"] for row in rows if collapsed(row)],
            "floor": reference["floor"],
            "ceiling": reference["ceiling"],
            "protocol": {
                **self.protocol(real),
                "chosen_on": "validation",
                "reported_on": "test",
                "rule": "lowest validation FID of all epochs, raw and EMA",
            },
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of judging a training's checkpoints.

    Attributes:
        rows: of by_epoch.csv, one an epoch.
        chosen: index of a row, and its weights.
        real: FID and Vendi score of real images, for the plot of the rows.
        metrics: the content of metrics.json, except for the name of the run in MLflow.
        generated: the ten generated images that lie nearest to a training image.
        nearest: the positions of these training images in train.
        captions: a text for each pair, with the distance of their features.
        title: what that distance is for an average test image.
    """

    rows: list[Row]
    chosen: tuple[int, str]
    real: dict[str, float]
    metrics: dict[str, Any]
    generated: Images
    nearest: list[int]
    captions: list[str]
    title: str


class Bench:
    """What one process judges with: a judge, and the real images, measured when they are needed."""

    def __init__(self, reference: Reference, num_samples: int) -> None:
        self.judge = Judge(reference.extractor, num_samples, reference.seed)
        self.real = functools.cache(reference.real)

    def row(self, folder: Path) -> Row:
        """An epoch on validation, see `Judge.row`."""
        return self.judge.row(folder, self.real("validation"))

    def report_draw(self, generator: Path, index: int) -> Draw:
        """A draw on test, see `Judge.report_draw`."""
        return self.judge.report_draw(generator, self.real("test"), index)


# The bench of a process that helps another.
_opened: list[Bench] = []


def open_here(bench: Bench) -> None:
    """Give this process what it judges with when another one asks it to."""
    _opened[:] = [bench]


def _row_here(folder: Path) -> Row:
    return _opened[0].row(folder)


def _draw_here(generator: Path, index: int) -> Draw:
    return _opened[0].report_draw(generator, index)


def evaluate(
    reference: Reference,
    num_samples: int,
    models: Path,
    on_row: Callable[[Row, int, int], None],
    say: Callable[[str], None] = lambda line: None,
    helpers: Executor | None = None,
) -> Evaluation:
    """Judge every checkpoint on validation, export the best one, and report it on test.

    A checkpoint, and a draw of the report, is judged as a whole by one process, so that the figures
    do not depend on the number of processes.

    Args:
        reference: the extractor and the real images; its seed is that of the latent vectors too.
        num_samples: generated images a draw of latent vectors.
        models: has `checkpoints`; generator and discriminator of the best one are copied to it.
        on_row: called after each epoch with its row, the number of epochs done, and of all.
        say: called with each line that a person should read first.
        helpers: processes that have called `open_here`; None: this one does all.

    Raises:
        NoCheckpoint: no checkpoint exists.
        DataError: a file is missing or damaged, or there are too few images.
    """
    bench = Bench(reference, num_samples)
    judge, folders = bench.judge, epochs(models / "checkpoints")
    validation, test = bench.real("validation"), bench.real("test")
    for warning in warnings(num_samples, len(validation.sample), len(test.sample)):
        say(f"evaluate: warning: {warning}")
    rows: list[Row] = []
    for row in helpers.map(_row_here, folders) if helpers else map(bench.row, folders):
        rows.append(row)
        on_row(row, len(rows), len(folders))
    index, weights = choose(rows)
    export(folders[index], weights, models)
    generator = models / "generator.safetensors"
    draws = list(helpers.map(_draw_here, [generator] * DRAWS, range(DRAWS))) if helpers else None
    report = judge.report(generator, test, reference.sample("train"), draws)
    metrics = judge.record(rows, report, test, reference.metrics())
    real = {
        "fid": metrics["floor"]["fid_validation"],
        "vendi": validation.diversity.real_score,
    }
    usual = report.figures["memorisation"]["test_to_train"]
    return Evaluation(
        rows,
        (index, weights),
        real,
        metrics,
        report.generated,
        report.nearest,
        [f"{distance:.3g}" for distance in report.distances],
        f"The ten generated images nearest to a training image, and the distance of their features"
        f" (median of test images: {usual:.3g})",
    )


def warnings(num_samples: int, *real_images: int) -> list[str]:
    """What a person should know before checkpoints are judged: sentences.

    Args:
        num_samples: generated images a draw of latent vectors.
        real_images: numbers of real images that they are compared with.
    """
    smallest = min(real_images)
    if num_samples <= SENSIBLE * smallest:
        return []
    return [
        f"evaluate.num_samples = {num_samples} generated images for {smallest} real ones take"
        f" time and tell no more: {SENSIBLE // 2 * smallest} are enough"
    ]


def epochs(checkpoints: Path) -> list[Path]:
    """The folders of a training's exports, first epoch first.

    Raises:
        NoCheckpoint: no checkpoint exists.
    """
    folders = sorted(path for path in checkpoints.glob("epoch-*") if path.is_dir())
    if not folders:
        raise NoCheckpoint(
            f"{checkpoints}: has no epoch-* folder, expected one an epoch: run train"
        )
    return folders


def choose(rows: Sequence[Row]) -> tuple[int, str]:
    """The lowest validation FID: index of its row, and its weights, `raw` or `ema`.

    Of equal ones the first is chosen.
    """
    candidates = ((index, weights) for index in range(len(rows)) for weights in WEIGHTS)
    return min(candidates, key=lambda which: rows[which[0]][f"fid_{which[1]}"])


def best(row: Row) -> tuple[str, dict[str, float]]:
    """The weights with the lower validation FID, `raw` or `ema`, and their figures by name."""
    _, weights = choose([row])
    named = {key: f"{key}_{weights}" for key in figures.FIGURES}
    return weights, {key: row[column] for key, column in named.items() if column in row}


def export(folder: Path, weights: str, models: Path) -> None:
    """Copy an epoch's networks, each as weights and description, to the folder `models`."""
    sources = {"generator": WEIGHTS[weights], "discriminator": "discriminator.safetensors"}
    for target, source in sources.items():
        for suffix in (".safetensors", ".json"):
            files.copy((folder / source).with_suffix(suffix), models / f"{target}{suffix}")


def collapsed(row: Row) -> list[str]:
    """Which of a row's weights have collapsed: raw, ema."""
    return [weights for weights in WEIGHTS if row[f"collapsed_{weights}"]]


def lines(row: Row) -> list[str]:
    """What a person reads of an epoch while the others are judged."""
    fids = f"FID {row['fid_raw']:.2f}"
    # Equal: the same weights, before the first step, or where no average is kept.
    if row["fid_ema"] != row["fid_raw"]:
        fids += f" raw, {row['fid_ema']:.2f} EMA"
    fids += " on validation"
    return [
        f"epoch {row['epoch']}: {fids}",
        *(
            f"epoch {row['epoch']}: {weights} weights have collapsed:"
            f" as varied as {row[f'vendi_{weights}']:.1f} images"
            for weights in collapsed(row)
        ),
    ]


def summary(metrics: Mapping[str, Any]) -> str:
    """What a person reads at the end."""
    fid = metrics["fid"]
    return (
        f"epoch {metrics['epoch']}, {metrics['weights']} weights:"
        f" FID {fid['mean']:.2f} +- {fid['deviation']:.2f} on test"
    )


def curves(row: Row, section: str) -> dict[str, float]:
    """A row for MLflow, under the extractor's section, without the shares of single classes."""
    values = {key: value for key, value in row.items() if not key.startswith(("class_", "epoch"))}
    return {
        "step": row["epoch"],
        **{f"{section}/validation/{key}": value for key, value in values.items()},
    }


def for_mlflow(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures of metrics.json that MLflow draws: of this model, by dotted name.

    Floor, ceiling and protocol are the same for all models of a data set: they are in the file,
    which is logged too, and in the tables.
    """
    flat = {
        f"{key}.{part}": value
        for key, figure in metrics.items()
        if isinstance(figure, dict) and key not in ("floor", "ceiling", "protocol")
        for part, value in figure.items()
    }
    numbers = {**flat, "epoch": metrics["epoch"], "collapsed": metrics["collapsed"]}
    return {key: float(x) for key, x in numbers.items() if isinstance(x, int | float)}


def _flat(basic_figures: Mapping[str, Any]) -> Row:
    """Numbers only: shares as `class_0` and so on, how many classes are dropped, collapsed as 1."""
    row: Row = {key: value for key, value in basic_figures.items() if isinstance(value, float)}
    row["collapsed"] = int(basic_figures["collapsed"])
    if "class_shares" in basic_figures:
        row["dropped_classes"] = len(basic_figures["dropped_classes"])
        row |= {f"class_{i}": share for i, share in enumerate(basic_figures["class_shares"])}
    return row
