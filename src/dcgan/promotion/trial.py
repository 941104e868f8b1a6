"""Champion and challenger measured together, for the gate.

Figures of two days are never compared: the data, the extractor or the seed may have changed between
them. Both generators are measured anew against the same real images, by the same extractor, on the
same latent vectors.
"""

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dcgan import files
from dcgan.config.sections import Gate
from dcgan.data import Images
from dcgan.errors import DataError, NoCheckpoint
from dcgan.judging import manifold
from dcgan.judging.comparison import Real
from dcgan.judging.evaluation import DRAWS, Judge
from dcgan.judging.reference import Reference
from dcgan.judging.sample import Sample
from dcgan.networks import exports
from dcgan.promotion import bundle, gate, kinship, registry, serving
from dcgan.promotion.gate import Decision, Measured
from dcgan.promotion.versions import Version

SHOWN = 64  # images in the picture
SKETCH = "data_sketch"  # a tag: the sketch of the images that a version has learnt
NO_LABELS = "the data set has no labels"


@dataclass(frozen=True, eq=False)
class Trial:
    """What champion and challenger are measured with.

    Attributes:
        judge: the extractor, frozen, and the latent vectors.
        real: the test images.
        train: the train images, for what was memorised.
    """

    judge: Judge
    real: Real
    train: Sample

    @classmethod
    def open(cls, folder: Path, seed: int, num_samples: int, device: torch.device) -> "Trial":
        """Read the extractor and the real images; errors as those of `Reference`.

        Args:
            folder: of the reference stage.
            seed: of the latent vectors, and of the draws that figures need.
            num_samples: generated images a draw of latent vectors.
            device: where the models are measured.
        """
        reference = Reference.open(folder, seed, device)
        judge = Judge(reference.extractor, num_samples, reference.seed)
        return cls(judge, reference.real("test"), reference.sample("train"))

    def protocol(self) -> dict[str, Any]:
        """How the figures are measured; it is written beside them in gate.json."""
        return self.judge.protocol(self.real)

    def decide(
        self,
        champion: Version | None,
        challenger: Path,
        probe: Path,
        limits: Gate,
        say: Callable[[str], None] = lambda line: None,
    ) -> tuple[Decision, dict[str, Images]]:
        """Measure both generators, and let the gate decide.

        A challenger that cannot be measured is refused. If the champion cannot be measured, the
        outcome is "cannot tell".

        Args:
            champion: the version to fetch; None: no champion to compare with.
            challenger: its generator's file.
            probe: results/probe/metrics.json, of the challenger's training; may be missing.
            limits: the section `gate` of params.yaml.
            say: called with a line before each piece of work.

        Returns:
            The decision, and the first 64 images of each that could be measured, by its role.

        Raises:
            NoCheckpoint, DataError, EnvironmentProblem: the champion cannot be fetched.
        """
        measured: dict[str, Measured] = {}
        images: dict[str, Images] = {}
        notes = []
        with tempfile.TemporaryDirectory() as folder:
            generators = {"challenger": challenger}
            if champion:
                model = registry.fetch(
                    f"models:/{champion.name}/{champion.number}", Path(folder, "model")
                )
                generators = {"champion": model / bundle.GENERATOR, **generators}
            for role, path in generators.items():
                try:
                    measured[role], images[role] = self._measure(
                        path,
                        _shape(challenger),
                        functools.partial(_say_draw, say, role),
                    )
                except DataError as error:
                    measured[role] = Measured({})
                    notes.append(f"The {role} cannot be measured: {error}.")
        whole = with_probe(
            measured["challenger"], files.read_metrics(probe) if probe.is_file() else {}
        )
        decision = gate.decide(measured.get("champion"), whole, limits)
        return Decision(decision.outcome, [*notes, *decision.reasons], decision.numbers), images

    def _measure(
        self, path: Path, shape: tuple[int, int], on_draw: Callable[[int], None]
    ) -> tuple[Measured, Images]:
        """The figures of an exported generator, and its first 64 images.

        The latent vectors come from streams of the gate's own, because evaluate has used its
        streams to choose the challenger among its epochs.

        Args:
            path: of the generator.
            shape: size and channels that its images must have.
            on_draw: called with the number of each draw of latent vectors, from 1.

        Returns:
            The figures: a value for each draw of latent vectors, except `memorisation`, which is
            measured on the first draw. And the first 64 images of that draw, uint8 N x C x H x W.

        Raises:
            DataError: a file is damaged, or its images have another shape.
        """
        if _shape(path) != shape:
            own, expected = (
                f"{size} x {size} x {channels}" for size, channels in (_shape(path), shape)
            )
            raise DataError(f"its images are {own}, the challenger's {expected}")
        generator, _ = exports.load_generator(path)
        images, samples = self.judge.draws(generator, "gate", on_draw)
        draws = [self.real.all_figures(sample) for sample in samples]
        values = {
            name: [draw[name] for draw in draws]
            for name, value in draws[0].items()
            if isinstance(value, float)
        }
        absent = {} if "smallest_class_share" in values else {"smallest_class_share": NO_LABELS}
        memorisation, _ = manifold.memorisation(samples[0], self.train, self.real.sample)
        if "ratio" in memorisation:
            values["memorisation"] = [memorisation["ratio"]]
        else:
            absent["memorisation"] = "half of the test images have a copy in train"
        return Measured(values, absent), images[:SHOWN]


def with_probe(measured: Measured, metrics: Mapping[str, Any]) -> Measured:
    """The figures, and the probe's accuracy from the content of results/probe/metrics.json.

    A probe with all labels has an accuracy; one with few labels has the mean error of its draws,
    and its accuracy is 1 minus that. With neither, the figure is missing.
    """
    if "skipped" in metrics:
        return Measured(measured.values, {**measured.absent, "probe": NO_LABELS})
    discriminator = metrics.get("discriminator", {})
    if "test_accuracy" in discriminator:
        accuracy = discriminator["test_accuracy"]
    elif "test_error" in discriminator:
        accuracy = 1 - discriminator["test_error"]
    else:
        return measured
    return Measured({**measured.values, "probe": [accuracy]}, measured.absent)


def described(generator: Path) -> dict[str, Any]:
    """The description beside an exported generator.

    Raises:
        NoCheckpoint: the description does not exist.
        DataError: it does not say which weights of which epoch it describes.
    """
    path = generator.with_suffix(".json")
    if not path.is_file():
        raise NoCheckpoint(f"{path}: missing: run dvc repro, or dvc checkout")
    description = files.read_json(path)
    for key, kind in (("sha256", str), ("epoch", int), ("weights", str)):
        if not isinstance(description, dict) or not isinstance(description.get(key), kind):
            raise DataError(f"{path}: has no {key}: run evaluate again")
    return dict(description)


def without_measuring(dataset: str, champion: Version | None, sha256: str) -> Decision | None:
    """The decision on a generator that was decided on before; None: it must be measured.

    It is the champion itself, or one that a person has rolled back.

    Args:
        dataset: names the registered model.
        champion: its present champion, or None.
        sha256: of the challenger's generator.
    """
    key = "generator_sha256"
    if champion and champion.tags.get(key) == sha256:
        sentence = (
            f"The challenger is the champion, version {champion.number}:"
            " the same generator, nothing to compare."
        )
        return Decision("cannot tell", [sentence], {})
    numbers = {
        version.number
        for version in registry.all_versions(dataset)
        if version.tags.get(key) == sha256
    }
    for move in registry.history(dataset):
        if move.kind == "rolled back" and move.before in numbers:
            sentence = (
                f"This generator was version {move.before}, which was {move.reason};"
                " rollback --to brings it back."
            )
            return Decision("refused", [sentence], {})
    return None


def of_other_data(champion: Version | None, sketch: Sequence[str]) -> Decision | None:
    """A refusal, if the champion has learnt other images than those of `sketch`; else None.

    A champion of an earlier version of this repository has no sketch, and is compared.
    """
    if champion is None:
        return None
    known = champion.tags.get(SKETCH, "").split()
    if (why := kinship.of_other_data(sketch, known)) is None:
        return None
    sentence = (
        f"The champion, {champion.name} version {champion.number}, learnt other images ({why}):"
        " give this project a name of its own with dataset.title, or replace the champion with"
        " --other-data."
    )
    return Decision("refused", [sentence], {})


def record(
    dataset: str,
    limits: Gate,
    training: Mapping[str, Any],
    challenger: Mapping[str, Any],
    champion: Version | None,
) -> dict[str, Any]:
    """The content of gate.json before anything is decided.

    Args:
        dataset: names the registered model.
        limits: the section `gate` of params.yaml.
        training: results/train/run.json.
        challenger: the description of its generator.
        champion: the present champion, or None.
    """
    return {
        "dataset": dataset,
        "limits": limits.model_dump(),
        "protocol": None,
        "version": None,
        "champion": champion
        and {
            "version": champion.number,
            "generator_sha256": champion.tags.get("generator_sha256"),
        },
        "challenger": {
            "fingerprint": training["fingerprint"],
            **{key: challenger[key] for key in ("sha256", "epoch", "weights")},
        },
    }


def register(
    record: Mapping[str, Any],
    training: Mapping[str, Any],
    models: Path,
    card: str,
    description: str,
    sketch: Sequence[str] = (),
) -> Version:
    """Make a version of a promoted challenger, or find it where it was registered before.

    Args:
        record: the content of gate.json.
        training: results/train/run.json.
        models: has the challenger's generator and discriminator.
        card: the model card, Markdown.
        description: of the version, Markdown.
        sketch: of the images that it has learnt.

    Raises:
        NoCheckpoint, DataError, EnvironmentProblem: as `serving.write_model`, `registry.register`.
    """
    challenger = record["challenger"]
    tags = {
        "epoch": str(challenger["epoch"]),
        "weights": challenger["weights"],
        "gate": record["reasons"][0],
        "data_sha256": training["data_sha256"],
        "extractor_sha256": record["protocol"]["extractor_sha256"],
        SKETCH: " ".join(sketch),
    }
    with tempfile.TemporaryDirectory() as folder:
        model = serving.write_model(Path(folder, "model"), models, card)
        return registry.register(
            model,
            dataset=record["dataset"],
            fingerprint=training["fingerprint"],
            tags=tags,
            description=description,
        )


def _say_draw(say: Callable[[str], None], role: str, draw: int) -> None:
    say(f"measuring the {role}, draw {draw} of {DRAWS}")


def _shape(path: Path) -> tuple[int, int]:
    """Size and channels of a generator's images, by its description."""
    architecture = exports.generator_architecture(path)
    return architecture.image_size, architecture.image_channels
