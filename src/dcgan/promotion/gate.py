"""Promote a challenger, refuse it, or say that one cannot tell: a pure function of figures and limits.

A retraining that nobody watches must never make things worse. So every comparison is written such
that NaN, infinity and a missing figure fail it, and a gain counts only where it stands out of three
kinds of chance: what nobody would see (`absolute`), what other seeds of the same training give
(`relative`), and the latent vectors (`z` standard errors).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dcgan.config.sections import Gate

Outcome = Literal["promoted", "refused", "cannot tell"]

# The figure, what people call it, and the key of its limit, whose name says on which side of it the
# figure must lie.
FLOORS = (
    ("kid", "KID", "max_kid"),
    ("recall", "recall", "min_recall"),
    ("smallest_class_share", "share of the rarest class", "min_class_share"),
    ("probe", "probe accuracy", "min_probe"),
    ("memorisation", "memorisation ratio", "min_memorisation"),
)


@dataclass(frozen=True)
class Figures:
    """One generator's figures.

    Attributes:
        values: by name the values, one a draw of latent vectors, or a single one; `fid`, and those
            of `FLOORS`.
        absent: by name why this data set has no such figure, as a class share without labels. What
            is in neither is missing.
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
    """What the gate says.

    Attributes:
        outcome: promoted, refused, or cannot tell.
        reasons: sentences, what decided first.
        numbers: every number that was used; a value that is not finite is None.
    """

    outcome: Outcome
    reasons: list[str]
    numbers: dict[str, Any]


def decide(champion: Figures | None, challenger: Figures, limits: Gate) -> Decision:
    """Compare the challenger with the floors, and with the champion where there is one.

    The two must have been measured on the same latent vectors, draw by draw. So the standard error
    is that of the mean of the differences. Where both networks make similar images of the same
    vector, as two epochs of one training do, what the draws have in common cancels; taken apart, it
    would count twice. Where they have nothing in common, as two seeds, both ways give the same on
    average, this one from half as many degrees of freedom: with five draws it is known to about a
    third, and two standard errors are exceeded by chance once in nine times, not in twenty.
    `absolute` and `relative` stand beside it for that, and because no number of draws knows of the
    noise between trainings.

    Args:
        champion: None: there is none, the floors alone decide.
        challenger: its figures.
        limits: the section `gate` of params.yaml.

    Returns:
        * refused: a floor fails, the FID is not finite, or it is above the champion's by more than the margin;
        * promoted: no champion, or the FID is below the champion's by more than the margin;
        * cannot tell: anything else, a champion without a finite FID among it.
    """
    floors = [_floor(challenger, *floor, getattr(limits, floor[2])) for floor in FLOORS]
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
    champion: Figures | None, challenger: Figures, limits: Gate
) -> tuple[Outcome, str, dict[str, Any]]:
    if champion is None:
        return "promoted", "There is no champion to compare with: the floors alone decide.", {}
    pairs = [figures.values.get("fid", ()) for figures in (champion, challenger)]
    differences = (
        [old - new for old, new in zip(*pairs, strict=True)]
        if len(pairs[0]) == len(pairs[1])
        else []
    )
    gain = champion.mean("fid") - challenger.mean("fid")
    margins = {
        "absolute": limits.absolute,
        "relative": limits.relative * champion.mean("fid"),
        "noise": limits.z * _deviation(differences) / math.sqrt(len(differences))
        if differences
        else math.nan,
    }
    # max() would pass over a NaN that does not come first.
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


def _floor(
    figures: Figures, name: str, title: str, key: str, limit: float | None
) -> dict[str, Any]:
    """One line of the table of floors: met, failed or not asked, with a sentence."""
    value, at_most = figures.mean(name), key.startswith("max")
    bound = f"at {'most' if at_most else 'least'} {limit}"
    if limit is None:
        verdict, sentence = "not asked", f"The {title} is not asked for: gate.{key} is null."
    elif name in figures.absent:
        verdict, sentence = "not asked", f"The {title} is not asked for: {figures.absent[name]}."
    elif math.isfinite(value) and (value <= limit if at_most else value >= limit):
        verdict, sentence = (
            "met",
            f"The {title} is {value:.4g}, {bound} as it must be (gate.{key}).",
        )
    else:
        found = f"{value:.4g}" if figures.values.get(name) else "missing"
        verdict, sentence = "failed", f"The {title} is {found}: it must be {bound} (gate.{key})."
    return {
        "figure": name,
        "title": title,
        "value": value,
        "key": key,
        "limit": limit,
        "verdict": verdict,
        "sentence": sentence,
    }


def _table(figures: Figures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    return {
        name: {"mean": figures.mean(name), "deviation": figures.deviation(name)}
        for name in figures.values
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
