"""Champion and challenger measured together, for the gate, and what is told of it.

Figures of two days are never compared: the data, the extractor or the seed may have changed between
them. Both generators are measured anew against the same real images, by the same extractor, on the
same latent vectors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.config.sections import Gate
from dcgan.errors import DataError
from dcgan.judging import evaluation, manifold
from dcgan.judging.comparison import Real
from dcgan.judging.evaluation import Judge
from dcgan.judging.extractor import Extractor
from dcgan.judging.fidelity import Features
from dcgan.networks import exports
from dcgan.pictures import grids
from dcgan.pictures.grids import Picture
from dcgan.promotion import gate
from dcgan.promotion.gate import Decision, Figures

SHOWN = 64  # images in the picture
NO_LABELS = "the data set has no labels"

Images = npt.NDArray[np.uint8]  # N x C x H x W


@dataclass(frozen=True, eq=False)
class Trial:
    """What both are measured with.

    Attributes:
        extractor: frozen; gives features and, where there are labels, classes.
        num_samples: generated images a draw of latent vectors.
        real: the test images.
        train: features of the train images, for what was memorised.
    """

    extractor: Extractor
    num_samples: int
    real: Real
    train: Features

    def decide(
        self, champion: Path | None, challenger: Path, probe: Mapping[str, Any], limits: Gate
    ) -> tuple[Decision, dict[str, Images]]:
        """Measure both exports, and let the gate decide.

        A challenger that cannot be measured is refused. Against a champion that cannot be measured
        one cannot tell.

        Args:
            champion: its generator's file; None: there is none to compare with.
            challenger: its generator's file.
            probe: the content of results/probe/metrics.json, of the challenger's training.
            limits: the section `gate` of params.yaml.

        Returns:
            The decision, and the first 64 images of each that could be measured, by its role.
        """
        figures: dict[str, Figures] = {}
        images: dict[str, Images] = {}
        notes = []
        for role, path in (("champion", champion), ("challenger", challenger)):
            if path is None:
                continue
            try:
                figures[role], images[role] = self._measure(path, self._shape(challenger))
            except DataError as error:
                figures[role] = Figures({})
                notes.append(f"The {role} cannot be measured: {error}.")
        decision = gate.decide(
            figures.get("champion"), with_probe(figures["challenger"], probe), limits
        )
        return Decision(decision.outcome, [*notes, *decision.reasons], decision.numbers), images

    def _measure(self, path: Path, shape: tuple[int, int]) -> tuple[Figures, Images]:
        """An export's figures, one value a draw, and its first 64 images.

        The latent vectors have streams of their own: the challenger was chosen among its epochs on
        others.
        """
        if self._shape(path) != shape:
            found, expected = (
                f"{size} x {size} x {channels}" for size, channels in (self._shape(path), shape)
            )
            raise DataError(f"its images are {found}, the challenger's {expected}")
        generator, _ = exports.load_generator(path)
        judge, draws = Judge(self.extractor, self.num_samples, self.real.seed), []
        for index in reversed(
            range(evaluation.DRAWS)
        ):  # so that the first draw's images and features are at hand at the end
            images, features, verdicts = judge.draw(generator, f"gate {index}")
            draws.append(self.real.all(features, verdicts))
        ratio, _ = manifold.memorisation(features, self.train, self.real.features)
        values = {
            name: [draw[name] for draw in draws]
            for name, value in draws[0].items()
            if isinstance(value, float)
        }
        absent = {} if "smallest_class_share" in values else {"smallest_class_share": NO_LABELS}
        if "ratio" in ratio:
            values["memorisation"] = [ratio["ratio"]]
        else:
            absent["memorisation"] = "half of the test images have a copy in train"
        return Figures(values, absent), images[:SHOWN]

    @staticmethod
    def _shape(path: Path) -> tuple[int, int]:
        architecture = exports.generator_architecture(path)
        return architecture.image_size, architecture.image_channels


def with_probe(figures: Figures, metrics: Mapping[str, Any]) -> Figures:
    """The figures, and the probe's accuracy from what results/probe/metrics.json holds."""
    if "skipped" in metrics:
        return Figures(figures.values, {**figures.absent, "probe": NO_LABELS})
    found = metrics.get("discriminator", {})
    # Of all labels an accuracy, of few the mean error of the draws; with neither the figure is
    # missing.
    accuracies = (
        [found["test_accuracy"]]
        if "test_accuracy" in found
        else [1 - found["test_error"]]
        if "test_error" in found
        else []
    )
    return Figures(
        {**figures.values, **({"probe": accuracies} if accuracies else {})}, figures.absent
    )


def picture(images: Mapping[str, Images]) -> Picture | None:
    """The images of both side by side under their roles, or of the one there is; None where there is none."""
    tiled = {role: grids.enlarged(grids.tile(some, columns=8), 2) for role, some in images.items()}
    if len(tiled) == 2:
        (left, right) = tiled.items()
        return grids.beside(left[1], left[0], right[1], right[0])
    return next((grids.labelled(grid, role) for role, grid in tiled.items()), None)


def markdown(record: Mapping[str, Any], picture: str | None) -> str:
    """What gate.json says, for people.

    Args:
        record: the content of gate.json.
        picture: address of the picture with both generators' images; None: there is none.
    """
    champion, challenger, numbers = record["champion"], record["challenger"], record["numbers"]
    old = f"champion, version {champion['version']}" if champion else "no champion"
    lines = [
        f"# {record['dataset']}: {record['outcome']}", "",
        *(f"* {reason}" for reason in record["reasons"]), "",
        f"Challenger: epoch {challenger['epoch']}, {challenger['weights']} weights, of the training `{challenger['fingerprint']}`.",
    ]  # fmt: skip
    if not numbers:
        return "\n".join([*lines, ""])
    floors = {floor["figure"]: floor for floor in numbers["floors"]}
    lines += ["", f"| | {old} | challenger | floor | |", "|---|---|---|---|---|"]
    for name in sorted(
        {*numbers["challenger"], *(numbers["champion"] or {}), *floors},
        key=lambda name: (name != "fid", name),
    ):
        shown = [_value((numbers[which] or {}).get(name)) for which in ("champion", "challenger")]
        floor = floors.get(name)
        limit = ""
        if floor and floor["limit"] is not None:
            limit = (
                f"{'at most' if floor['key'].startswith('max') else 'at least'} {floor['limit']}"
            )
        lines.append(
            f"| {name} | {shown[0]} | {shown[1]} | {limit} | {floor['verdict'] if floor else ''} |"
        )
    if "margins" in numbers:
        margins = ", ".join(
            f"{name} {_number(value)}" for name, value in numbers["margins"].items()
        )
        lines += [
            "",
            f"Gain in FID {_number(numbers['gain'])}; margin {_number(numbers['margin'])}, the largest of {margins}.",
        ]
    p = record["protocol"]
    lines += [
        "",
        f"{p['generated_images']} generated against {p['real_images']} real test images; mean and standard deviation over"
        f" {p['draws']} draws, of the same latent vectors for both; seed {p['seed']}; extractor `{p['extractor']}`"
        f" `{p['extractor_sha256'][:16]}`.",
    ]
    if picture:
        lines += ["", f"![champion and challenger]({picture})"]
    return "\n".join([*lines, ""])


def _value(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return ""
    return _number(found["mean"]) + (
        f" ± {found['deviation']:.2g}" if found["deviation"] is not None else ""
    )


def _number(value: float | None) -> str:
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.4g}"
