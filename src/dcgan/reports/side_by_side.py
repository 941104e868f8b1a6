"""Trained models side by side: parameters that differ, figures with a verdict each, samples."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcgan import data
from dcgan.judging import figures
from dcgan.pictures import grids
from dcgan.pictures.grids import Picture
from dcgan.reports.markdown import figure, table

# What must be the same for two figures to be compared.
PROTOCOL = (
    "extractor", "extractor_sha256", "resize", "generated_images", "real_images", "reported_on",
)  # fmt: skip
COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Candidate:
    """One trained model.

    Attributes:
        name: as the user calls it.
        params: parameters by their dotted names; some may be missing.
        metrics: results/evaluate/metrics.json, from `figures.read`.
        data_sha256: of the prepared data.
        images: samples, uint8 N x C x H x W.
    """

    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, Any]
    data_sha256: str
    images: data.Images


def differences(candidates: Sequence[Candidate]) -> list[list[str]]:
    """A row for each parameter in which two models differ: its name, and each model's value.

    A missing value does not count as a difference.
    """
    rows = []
    for key in sorted({key for candidate in candidates for key in candidate.params}):
        texts = [candidate.params.get(key) for candidate in candidates]
        values = [_value(text) for text in texts if text is not None]
        if any(value != values[0] for value in values):
            rows.append([key, *("not known" if text is None else text for text in texts)])
    return rows


def obstacle(first: Candidate, second: Candidate) -> str | None:
    """Why the figures of two models must not be compared; None where they may be."""
    pairs = {"data": (first.data_sha256, second.data_sha256)}
    pairs |= {
        key: (first.metrics["protocol"].get(key), second.metrics["protocol"].get(key))
        for key in PROTOCOL
    }
    for key, (one, other) in pairs.items():
        if one != other:
            name = key.removesuffix("_sha256").replace("_", " ")
            return f"{name} {str(one)[:12]} and {str(other)[:12]}"
    return None


def verdict(first: Candidate, second: Candidate, key: str, z: float) -> str:
    """How the second model's figure compares with the first's: better, worse, or cannot tell.

    A difference counts when it exceeds `z` standard errors, those of the means over the draws of
    latent vectors. NaN, or a missing figure or deviation, is "cannot tell".
    """
    means = [figures.number(each.metrics, key, "mean") for each in (first, second)]
    squares = [
        figures.number(each.metrics, key, "deviation") ** 2 / each.metrics["protocol"]["draws"]
        for each in (first, second)
    ]
    gain = means[1] - means[0]
    if not abs(gain) > z * math.sqrt(sum(squares)):
        return "cannot tell"
    return "better" if (gain > 0) == (figures.FIGURES[key].better == "higher") else "worse"


def cell(first: Candidate, second: Candidate, key: str, z: float) -> str:
    """A cell of the table of figures: the second model's figure, and how it compares."""
    shown = figure(second.metrics, key)
    if first is second:
        return shown
    if obstacle(first, second):
        return f"{shown}, not comparable"
    return f"{shown}, {verdict(first, second, key, z)}"


def keys(candidates: Sequence[Candidate]) -> list[str]:
    """The figures that at least one model has, in the order of `figures.FIGURES`."""
    present = {each.key for one in candidates for each in figures.measured(one.metrics)}
    return [key for key in figures.FIGURES if key in present]


def markdown(candidates: Sequence[Candidate], z: float, picture: str) -> str:
    """The comparison as a document that shows the file `picture` of the same folder."""
    first, names = candidates[0], [candidate.name for candidate in candidates]
    draws = first.metrics["protocol"]["draws"]
    checkpoints = [
        [key, *(str(one.metrics.get(key)) for one in candidates)]
        for key in ("epoch", "weights", "collapsed", "mlflow_run")
    ]
    apart = [
        f"Not comparable: {one.name}, because of {why}.\n\n"
        for one in candidates
        if (why := obstacle(first, one))
    ]
    rows = [[key, *(cell(first, one, key, z) for one in candidates)] for key in keys(candidates)]
    return f"""# {" and ".join(names)}

A verdict compares with {first.name}: better or worse where the difference exceeds {z:g} standard \
errors. The noise is that
of {draws} draws of latent vectors. It says nothing about what another training seed would give, \
which varies more.

{table(["figure", *names], rows)}

{"".join(apart)}{table(["chosen checkpoint", *names], checkpoints)}

{table(["parameter that differs", *names], differences(candidates))}

![The first samples of seed 0]({picture})
"""


def picture(candidates: Sequence[Candidate], z: float) -> Picture:
    """Samples next to each other, each model's under its name and FID."""
    tables = []
    for candidate in candidates:
        cells = [grids.cell(image) for image in candidate.images]
        rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
        title = f"{candidate.name}: FID {cell(candidates[0], candidate, 'fid', z)}"
        tables.append(grids.table(rows, title=title))
    return grids.stack(tables, across=True)


def _value(text: str) -> Any:
    """A parameter's text as a value, so that 1 and 1.0 are equal."""
    try:
        return json.loads(text)
    except ValueError:
        return text
