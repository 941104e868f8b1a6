"""Trained models side by side: parameters that differ, figures with a verdict each, samples. As Markdown and as a picture."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcgan import data
from dcgan.errors import DataError
from dcgan.pictures import grids
from dcgan.pictures.grids import Picture

# Whether more is better; the names of FID and KID in a metrics file end in the number of images.
FIGURES = {
    "fid": False, "kid": False, "precision": True, "recall": True, "density": True, "coverage": True, "vendi": True,
    "js_divergence": False, "smallest_class_share": True,
}  # fmt: skip
# What must be the same for two figures to be compared.
PROTOCOL = (
    "extractor",
    "extractor_sha256",
    "resize",
    "generated_images",
    "real_images",
    "reported_on",
)
COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Candidate:
    """One trained model.

    Attributes:
        name: as the user calls it.
        params: flat parameters, as many as are known.
        metrics: results/evaluate/metrics.json.
        data_sha256: of the prepared data.
        images: samples, uint8 N x C x H x W.
    """

    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, Any]
    data_sha256: str
    images: data.Images


def differences(candidates: Sequence[Candidate]) -> list[list[str]]:
    """Rows of a parameter's name and its values; one that a model is not known to have counts for the others."""
    rows = []
    for key in sorted({key for candidate in candidates for key in candidate.params}):
        texts = [candidate.params.get(key) for candidate in candidates]
        known = [_value(text) for text in texts if text is not None]
        if any(value != known[0] for value in known):
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
    """How the second model's figure stands to the first's: better, worse, or cannot tell.

    A difference counts when it exceeds `z` standard errors, those of the means over the draws of
    latent vectors. NaN, or a missing figure or noise, is "cannot tell".
    """
    gap = _number(second.metrics, key) - _number(first.metrics, key)
    squares = [
        _number(one.metrics["noise"], key) ** 2 / one.metrics["protocol"]["draws"]
        for one in (first, second)
    ]
    if not abs(gap) > z * math.sqrt(sum(squares)):
        return "cannot tell"
    return "better" if (gap > 0) == FIGURES[_plain(key)] else "worse"


def judged(first: Candidate, second: Candidate, key: str, z: float) -> str:
    """A cell of the table of figures: the second model's figure and its verdict."""
    if first is second:
        return shown(second, key)
    return f"{shown(second, key)}, {'not comparable' if obstacle(first, second) else verdict(first, second, key, z)}"


def shown(candidate: Candidate, key: str) -> str:
    """A figure with the standard deviation of its draws, to that one's second digit."""
    mean, deviation = _number(candidate.metrics, key), _number(candidate.metrics["noise"], key)
    if not math.isfinite(mean):
        return "missing"
    if not (math.isfinite(deviation) and deviation > 0):
        return f"{mean:.4g} ± {deviation:.2g}"
    digits = max(1 - math.floor(math.log10(deviation)), 0)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def keys(candidates: Sequence[Candidate]) -> list[str]:
    """The figures' names in the metrics files, in the order of FIGURES."""
    found = {key for candidate in candidates for key in candidate.metrics if _plain(key) in FIGURES}
    return sorted(found, key=lambda key: (list(FIGURES).index(_plain(key)), key))


def markdown(candidates: Sequence[Candidate], z: float, picture: str) -> str:
    """The comparison as a document that shows the file `picture` of the same folder."""
    first, names = candidates[0], [candidate.name for candidate in candidates]
    draws = first.metrics["protocol"]["draws"]
    about = [
        [key, *(str(one.metrics.get(key)) for one in candidates)]
        for key in ("epoch", "weights", "collapsed", "mlflow_run")
    ]
    apart = [
        f"Not comparable: {one.name}, because of {why}.\n\n"
        for one in candidates
        if (why := obstacle(first, one))
    ]
    figures = [
        [key, *(judged(first, one, key, z) for one in candidates)] for key in keys(candidates)
    ]
    return f"""# {" and ".join(names)}

A verdict compares with {first.name}: better or worse where the difference exceeds {z:g} standard errors. The noise is that
of {draws} draws of latent vectors. It says nothing about what another training seed would give, which varies more.

{_table(["figure", *names], figures)}

{"".join(apart)}{_table(["chosen checkpoint", *names], about)}

{_table(["parameter that differs", *names], differences(candidates))}

![The first samples of seed 0]({picture})
"""


def picture(candidates: Sequence[Candidate], z: float) -> Picture:
    """Samples next to each other, each model's under its name and FID."""
    tables = []
    for candidate in candidates:
        cells = [grids.cell(image) for image in candidate.images]
        rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
        fid = next((key for key in keys([candidate]) if _plain(key) == "fid"), "fid")
        tables.append(
            grids.table(
                rows, title=f"{candidate.name}: {fid} {judged(candidates[0], candidate, fid, z)}"
            )
        )
    return grids.stack(tables, across=True)


def check(candidate: Candidate) -> None:
    """Refuse what is no metrics file of the evaluate stage.

    Raises:
        DataError: a part is missing.
    """
    protocol, noise = candidate.metrics.get("protocol"), candidate.metrics.get("noise")
    if (
        not isinstance(protocol, Mapping)
        or not isinstance(noise, Mapping)
        or not protocol.get("draws")
    ):
        raise DataError(
            f"{candidate.name}: its metrics name no protocol, draws and noise: evaluate it again with dvc repro"
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *(rows or [["none", *[""] * (len(head) - 1)]])]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _plain(key: str) -> str:
    """`fid_10k` is fid, and `kid_std_10k` no figure."""
    name, _, count = key.rpartition("_")
    return name if count[:1].isdigit() else key


def _number(figures: Mapping[str, Any], key: str) -> float:
    """A figure; NaN, which passes no comparison, where there is none."""
    value = figures.get(key)
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    )


def _value(text: str) -> Any:
    """Equal for equal numbers, whether written as 1 or as 1.0."""
    try:
        return json.loads(text)
    except ValueError:
        return text
