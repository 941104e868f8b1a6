"""The gate's decision (promoted, refused, cannot tell), a pure function of figures and limits.

A retraining without a person to watch it must never make things worse. So every comparison is
written such that NaN, infinity and a missing figure fail it, and a gain counts only where it is
larger than three kinds of chance: what a person would not see (`absolute`), what other seeds of the
same training give (`relative`), and the latent vectors (`z` standard errors).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dcgan.config.sections import Gate
from dcgan.judging.figures import FIGURES, Value

Outcome = Literal["promoted", "refused", "cannot tell"]

# By figure the key of its limit.
FLOORS = {
    "kid": "max_kid",
    "recall": "min_recall",
    "smallest_class_share": "min_class_share",
    "probe": "min_probe",
    "memorisation": "min_memorisation",
}


@dataclass(frozen=True)
class Measured:
    """One generator's figures.

    Attributes:
        values: by name the values, one a draw of latent vectors, or a single one; `fid`, and those
            of `FLOORS`.
        absent: by name why this data set has no such figure, such as a class share without labels.
            A figure that is in neither is missing.
    """

    values: Mapping[str, Sequence[float]]
    absent: Mapping[str, str] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        """Mean over the draws; NaN where the figure is missing."""
        values = self.values.get(name, ())
        return sum(values) / len(values) if values else math.nan

    def deviation(self, name: str) -> float:
        """Standard deviation (n - 1) over the draws; NaN with fewer than two."""
        return _deviation(self.values.get(name, ()))


@dataclass(frozen=True)
class Decision:
    """The gate's answer.

    Attributes:
        outcome: promoted, refused, or cannot tell.
        reasons: sentences; the first one is what decided.
        numbers: every number that was used; a value that is not finite is None.
    """

    outcome: Outcome
    reasons: list[str]
    numbers: dict[str, Any]


def decide(champion: Measured | None, challenger: Measured, limits: Gate) -> Decision:
    """Compare the challenger with the limits, and with the champion where there is one.

    The two must have been measured on the same latent vectors, draw by draw. So the standard error
    is that of the mean of the differences. Where both networks make similar images of the same
    vector, as two epochs of one training do, what the draws have in common cancels; taken apart, it
    would count twice. Where they have nothing in common, as two seeds, both ways give the same on
    average, this one from half as many degrees of freedom: with five draws it is known to about a
    third, and two standard errors are exceeded by chance once in nine times, not in twenty.
    `absolute` and `relative` stand beside it for that, and because no number of draws knows of the
    noise between trainings.

    Args:
        champion: its figures; None: there is no champion, the limits alone decide.
        challenger: its figures.
        limits: the section `gate` of params.yaml.

    Returns:
        `refused`: a limit is not met, the FID is not finite, or above the champion's by more than
        the margin. `promoted`: no champion, or the FID is below the champion's by more than the
        margin. `cannot tell`: anything else, also a champion without a finite FID.
    """
    floors = [
        _floor(challenger, figure, key, getattr(limits, key)) for figure, key in FLOORS.items()
    ]
    failed = [floor["sentence"] for floor in floors if floor["verdict"] == "failed"]
    if not math.isfinite(challenger.mean("fid")):
        failed.insert(0, f"The challenger's FID is {challenger.mean('fid')}: it must be finite.")
    outcome, sentence, comparison = _compare(champion, challenger, limits)
    if failed:
        outcome, reasons = "refused", [*failed, sentence]
    else:
        reasons = [
            sentence,
            *(floor["sentence"] for floor in floors if floor["verdict"] == "not asked"),
        ]
    numbers = {
        "champion": _table(champion),
        "challenger": _table(challenger),
        "floors": floors,
        **comparison,
    }
    return Decision(outcome, reasons, _finite_or_none(numbers))


def _compare(
    champion: Measured | None, challenger: Measured, limits: Gate
) -> tuple[Outcome, str, dict[str, Any]]:
    if champion is None:
        return "promoted", "There is no champion to compare with: the limits alone decide.", {}
    old_fids, new_fids = (each.values.get("fid", ()) for each in (champion, challenger))
    differences = []
    if len(old_fids) == len(new_fids):
        differences = [old - new for old, new in zip(old_fids, new_fids, strict=True)]
    gain = champion.mean("fid") - challenger.mean("fid")
    margins = {
        "absolute": limits.absolute,
        "relative": limits.relative * champion.mean("fid"),
        "noise": limits.z * _deviation(differences) / math.sqrt(len(differences))
        if differences
        else math.nan,
    }
    # max() would overlook a NaN that does not come first.
    margin = max(margins.values()) if all(map(math.isfinite, margins.values())) else math.nan
    largest = max(margins, key=lambda name: margins[name])
    numbers = {"gain": gain, "margin": margin, "margins": margins, "draws": len(differences)}
    if not (math.isfinite(gain) and math.isfinite(margin)):
        return "cannot tell", f"The FIDs cannot be compared: gain {gain}, margin {margin}.", numbers
    fids = f"FID {challenger.mean('fid'):.4g} against the champion's {champion.mean('fid'):.4g}"
    if gain > margin:
        return (
            "promoted",
            f"{fids}: lower by {gain:.3g}, more than the margin of {margin:.3g} ({largest}).",
            numbers,
        )
    if -gain > margin:
        return (
            "refused",
            f"{fids}: higher by {-gain:.3g}, more than the margin of {margin:.3g} ({largest}).",
            numbers,
        )
    return (
        "cannot tell",
        f"{fids}: a gap of {abs(gain):.3g}, within the margin of {margin:.3g} ({largest}).",
        numbers,
    )


def _floor(measured: Measured, name: str, key: str, limit: float | None) -> dict[str, Any]:
    """One line of the table of limits: met, failed or not asked, with a sentence."""
    title, at_most = FIGURES[name].title, FIGURES[name].better == "lower"
    value = measured.mean(name)
    bound = f"at {'most' if at_most else 'least'} {limit}"
    if limit is None:
        verdict, sentence = "not asked", f"The {title} is not asked for: gate.{key} is null."
    elif name in measured.absent:
        verdict, sentence = "not asked", f"The {title} is not asked for: {measured.absent[name]}."
    elif math.isfinite(value) and (value <= limit if at_most else value >= limit):
        verdict, sentence = (
            "met",
            f"The {title} is {value:.4g}, {bound} as it must be (gate.{key}).",
        )
    else:
        shown = f"{value:.4g}" if measured.values.get(name) else "missing"
        verdict, sentence = "failed", f"The {title} is {shown}: it must be {bound} (gate.{key})."
    return {
        "figure": name,
        "title": title,
        "value": value,
        "key": key,
        "limit": limit,
        "verdict": verdict,
        "sentence": sentence,
    }


def _table(measured: Measured | None) -> dict[str, Value] | None:
    if measured is None:
        return None
    return {
        name: {"mean": measured.mean(name), "deviation": measured.deviation(name)}
        for name in measured.values
    }


def _deviation(values: Sequence[float]) -> float:
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values)


def _finite_or_none(value: Any) -> Any:
    """Strict JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {key: _finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
