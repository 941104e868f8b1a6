"""The picture of a search: FID by trial, and by each value that was searched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcgan import files

PANEL = 3.6  # inches
WHOLE = "complete"  # state of a trial that was trained for all epochs


def draw(trials: Sequence[Mapping[str, Any]], keys: Sequence[str], path: Path) -> None:
    """Draw the trials as dots: full ones were trained to the end, hollow ones were given up.

    Args:
        trials: each with `trial`, its number; `state`; `fid`, the last one on validation; and a
            value for each key.
        keys: the values that were searched.
        path: the PNG.
    """
    count = 1 + len(keys)
    figure = Figure(figsize=(PANEL * count, PANEL), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    _dots(panels[0], trials, "trial", [trial["trial"] for trial in trials])
    whole = [trial for trial in trials if trial["state"] == WHOLE]
    best = [min(trial["fid"] for trial in whole[: i + 1]) for i in range(len(whole))]
    if best:
        numbers = [trial["trial"] for trial in whole]
        panels[0].step(numbers, best, where="post", label="best so far")
        panels[0].legend()
    panels[0].set_ylabel("FID on validation")
    for panel, key in zip(panels[1:], keys, strict=True):
        values = [trial[key] for trial in trials]
        if all(isinstance(value, int | float) for value in values):
            _dots(panel, trials, key, values)
            if min(values) > 0 and max(values) > 20 * min(values):
                panel.set_xscale("log")
        else:
            names = sorted(set(map(str, values)))
            _dots(panel, trials, key, [names.index(str(value)) for value in values])
            panel.set_xticks(range(len(names)), names)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def _dots(
    panel: Axes, trials: Sequence[Mapping[str, Any]], title: str, places: Sequence[float]
) -> None:
    faces = ["C0" if trial["state"] == WHOLE else "none" for trial in trials]
    panel.scatter(places, [trial["fid"] for trial in trials], facecolors=faces, edgecolors="C0")
    panel.set_xlabel(title)
    panel.set_yscale("log")
    panel.grid(alpha=0.3)
