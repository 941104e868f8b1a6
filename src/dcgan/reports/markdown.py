"""Tables and numbers in Markdown: every document of the project writes them this way."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dcgan.judging import figures


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a line a row; `none` where there is no row."""
    lines = [head, ["---"] * len(head), *(rows or [["none", *[""] * (len(head) - 1)]])]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def spaced_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As `table`, for pages of MLflow, which draws columns without a space between them."""
    spaced = [[first, *(f"&emsp;{cell}" for cell in rest)] for first, *rest in (head, *rows)]
    return table(spaced[0], spaced[1:])


def number(value: float | None, deviation: float | None = None) -> str:
    """A value with four digits, or up to the second digit of its standard deviation.

    Args:
        value: None or NaN stands for one that is not finite.
        deviation: None or NaN: it is not shown.
    """
    if value is None or not math.isfinite(value):
        return "not finite"
    if deviation is None or not math.isfinite(deviation):
        return f"{value:.4g}"
    if deviation == 0:
        return f"{value:.4g} ± 0"
    digits = max(1 - math.floor(math.log10(deviation)), 0)
    return f"{value:.{digits}f} ± {deviation:.{digits}f}"


def figure(metrics: Mapping[str, Any], key: str) -> str:
    """A figure of a metrics.json with its deviation; `missing` if the file does not have it."""
    mean = figures.number(metrics, key, "mean")
    if not math.isfinite(mean):
        return "missing"
    return number(mean, figures.number(metrics, key, "deviation"))


def figure_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """A row for each figure of a metrics.json: name, value, floor, ceiling, what it means."""
    rows = []
    for each in figures.measured(metrics):
        plain = (metrics[section].get(each.key) for section in ("floor", "ceiling"))
        limits = ("" if value is None else number(value) for value in plain)
        rows.append([each.key, figure(metrics, each.key), *limits, each.described()])
    return rows
