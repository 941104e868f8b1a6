"""The figures of generated images: what each is called and means, and how it is written down.

A figure that several draws of latent vectors were measured for is `{"mean": ..., "deviation": ...}`
everywhere: in results/evaluate/metrics.json, in gate.json and, joined with a dot, in MLflow. The
deviation is null where one draw was measured, or all draws as one. How many images, draws, and by
which extractor says the `protocol` beside it, never the name.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dcgan.errors import DataError

Value = dict[str, float | None]  # `mean` and `deviation`


@dataclass(frozen=True)
class Figure:
    """What people are told of a figure.

    Attributes:
        key: its name in files.
        title: its name in sentences.
        meaning: what is measured.
        better: which direction is.
        unit: of its values; empty where it has none.
    """

    key: str
    title: str
    meaning: str
    better: Literal["lower", "higher"]
    unit: str = ""

    def described(self) -> str:
        """Meaning, unit and direction in one line."""
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.meaning}{unit}; {self.better} is better"


FIGURES = {
    figure.key: figure
    for figure in (
        Figure("fid", "FID", "Fréchet distance", "lower"),
        Figure("kid", "KID", "kernel distance", "lower"),
        Figure("precision", "precision", "generated images among real ones", "higher", "share"),
        Figure("recall", "recall", "real images among generated ones", "higher", "share"),
        Figure("density", "density", "real neighbourhoods around a generated image", "higher"),
        Figure("coverage", "coverage", "real images with a generated neighbour", "higher", "share"),
        Figure("vendi", "Vendi score", "effective number of different images", "higher", "images"),
        Figure("js_divergence", "class divergence", "between class shares", "lower", "bits"),
        Figure("smallest_class_share", "share of the rarest class", "images of it", "higher"),
        # These two the gate alone asks for.
        Figure("probe", "probe accuracy", "test images that D's features tell", "higher", "share"),
        Figure(
            "memorisation", "memorisation ratio",
            "distance to the nearest train image, generated images by test images", "higher",
        ),
    )
}  # fmt: skip


def of_draws(draws: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """Mean and standard deviation (n - 1) over the draws of each figure that is a float."""
    values = {
        key: np.array([draw[key] for draw in draws])
        for key, value in draws[0].items()
        if isinstance(value, float)
    }
    return {
        key: {"mean": float(each.mean()), "deviation": float(each.std(ddof=1))}
        for key, each in values.items()
    }


def measured(metrics: Mapping[str, Any]) -> list[Figure]:
    """The figures that a metrics.json has, in the order of FIGURES."""
    return [figure for key, figure in FIGURES.items() if "mean" in _section(metrics.get(key))]


def number(metrics: Mapping[str, Any], key: str, part: Literal["mean", "deviation"]) -> float:
    """Mean or deviation of a figure; NaN, which no comparison is true of, where there is none."""
    value = _section(metrics.get(key)).get(part)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return math.nan


def read(metrics: Any, name: str) -> dict[str, Any]:
    """A metrics.json as it is written today, also of one that was written before.

    The one place that knows the old shape: means under the figure's name, deviations under `noise`,
    and for FID and KID the number of images at the end of both names.

    Args:
        metrics: the file's content.
        name: of the file or the run, for the message.

    Raises:
        DataError: no metrics of the evaluate stage.
    """
    protocol = _section(_section(metrics).get("protocol"))
    if not protocol.get("draws"):
        raise DataError(
            f"{name}: its metrics name no protocol and draws: evaluate it again with dvc repro"
        )
    if "noise" not in metrics:
        return dict(metrics)
    count = protocol.get("generated_images", 0)
    ending = f"_{count // 1000}k" if count % 1000 == 0 else f"_{count}"
    upgraded = copy.deepcopy(dict(metrics))
    deviations = _section(upgraded.pop("noise"))
    for old in {*deviations, "fid_infinity"} & set(upgraded):
        value = {"mean": upgraded.pop(old), "deviation": deviations.get(old)}
        upgraded[old.removesuffix(ending)] = value
    # The chosen epoch, and the last one's raw and EMA weights.
    last = _section(upgraded.get("last_epoch_validation"))
    for epoch in (_section(upgraded.get("validation")), *map(_section, last.values())):
        if f"fid{ending}" in epoch:
            epoch["fid"] = epoch.pop(f"fid{ending}")
    return upgraded


def _section(value: Any) -> dict[str, Any]:
    """The value where it is a mapping; else an empty one."""
    return value if isinstance(value, dict) else {}
