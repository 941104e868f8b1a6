"""Plots as PNG files; the same numbers give the same bytes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dcgan import data, files
from dcgan.pictures import letters

BOTH = ("raw", "ema")  # weights
FAR = 5.0  # factor from the points to the figure of real images that still gets a line
MOST_NUMBERS, MOST_NAMES = 30, 60  # classes of a confusion matrix with numbers, and names shown

Rows = Sequence[dict[str, float]]  # of a CSV: figures by the names of its columns


def _save(figure: Figure, path: Path) -> None:
    with files.replacing(path) as temporary:
        # No software name and version in the file.
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def training_curves(history: Rows, path: Path) -> None:
    """Plot losses, D's mean probabilities and gradient norms against the step.

    Args:
        history: rows of history.csv, one for each logged step: `step`, and the names of FIGURES in
            `training.step`.
        path: of the PNG.
    """
    figure = Figure(figsize=(8, 9), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    steps = [row["step"] for row in history]
    panels = [
        ("loss", {"loss_d": "D", "loss_g": "G"}),
        (
            "mean probability of being real",
            {"d_real": "D(x)", "d_fake_before": "D(G(z)) before", "d_fake_after": "D(G(z)) after"},
        ),
        ("gradient norm", {"grad_norm_d": "D", "grad_norm_g": "G"}),
    ]
    for axis, (title, series) in zip(axes, panels, strict=True):
        for name, label in series.items():
            axis.plot(steps, [row[name] for row in history], label=label, linewidth=1)
        axis.set_ylabel(title)
        axis.legend(loc="upper right")
        axis.grid(alpha=0.3)
    axes[0].axhline(0, color="0.7", linewidth=0.5)
    axes[2].set_yscale("log")
    axes[2].set_xlabel("step")
    _save(figure, path)


def by_epoch(rows: Rows, floor: dict[str, float], best: int, best_weights: str, path: Path) -> None:
    """Plot the validation FID and the Vendi score of every checkpoint against the epoch.

    Args:
        rows: of by_epoch.csv, one for each checkpoint: `epoch`, and `fid`, `vendi` and `collapsed`
            of its raw and of its EMA weights, as `fid_raw` and so on.
        floor: `fid` and `vendi` of real images.
        best: position in `rows` of the chosen checkpoint.
        best_weights: raw or ema, which of its weights were chosen.
        path: of the PNG.
    """
    figure = Figure(figsize=(8, 7), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    epochs = [row["epoch"] for row in rows]
    for axis, name, label in (
        (top, "fid", "FID against the validation images"),
        (bottom, "vendi", "Vendi score (variety)"),
    ):
        for weights, title in _weights(rows):
            axis.plot(epochs, [row[f"{name}_{weights}"] for row in rows], marker="o", label=title)
        _real_images(axis, floor[name], [row[f"{name}_{which}"] for row in rows for which in BOTH])
        chosen = rows[best][f"{name}_{best_weights}"]
        axis.plot(epochs[best], chosen, "k*", markersize=16, label=f"chosen: {chosen:.3g}")
        collapsed = [
            (row["epoch"], row[f"{name}_{which}"])
            for row in rows
            for which in BOTH
            if row[f"collapsed_{which}"]
        ]
        if collapsed:
            axis.plot(*zip(*collapsed, strict=True), "rx", markersize=12, label="collapsed")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    top.set_yscale("log")
    for which in (top.yaxis.set_major_formatter, top.yaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))  # 6, not 6 x 10^0
    bottom.set_xlabel("epoch")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    _save(figure, path)


def _weights(rows: Rows) -> list[tuple[str, str]]:
    """The weights that have lines of their own: without an average both are the same."""
    if all(row["fid_raw"] == row["fid_ema"] for row in rows):
        return [("raw", "generated images")]
    return [("raw", "raw weights"), ("ema", "EMA weights")]


def _real_images(axis: Axes, value: float, values: Sequence[float]) -> None:
    """A line for the real images; where it is far from all points, only a text at that edge.

    The line would leave half of a logarithmic axis empty.
    """
    low, high = min(values), max(values)
    label = f"real images: {value:.3g}"
    if low / FAR <= value <= high * FAR:
        axis.axhline(value, color="0.4", linestyle="--", label=label)
        return
    below = value < low
    axis.annotate(
        f"{label}, {'below' if below else 'above'} this range",
        (0.02, 0.03 if below else 0.97), xycoords="axes fraction",
        va="bottom" if below else "top", color="0.3",
    )  # fmt: skip


def pairs(
    top: data.Images,
    bottom: data.Images,
    names: tuple[str, str],
    captions: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """Show pairs of images: two rows, one above the other.

    Args:
        top: uint8, N x C x H x W.
        bottom: uint8, N x C x H x W; image i stands below image i of `top`.
        names: of the upper and of the lower row.
        captions: a line below each pair.
        title: above all.
        path: of the PNG.
    """
    figure = Figure(figsize=(1.1 * len(top) + 1.5, 3.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for row, (axes, images) in enumerate(
        zip(figure.subplots(2, len(top), squeeze=False), (top, bottom), strict=True)
    ):
        for axis, image in zip(axes, images, strict=True):
            picture = image.transpose(1, 2, 0)
            axis.imshow(
                picture if picture.shape[2] == 3 else picture[..., 0], cmap="gray", vmin=0, vmax=255
            )
            axis.set_xticks([])
            axis.set_yticks([])
        axes[0].set_ylabel(names[row])
        if row == 1:
            for axis, caption in zip(axes, captions, strict=True):
                axis.set_xlabel(caption)
    _save(figure, path)


def confusion(matrix: np.ndarray, names: Sequence[str], title: str, path: Path) -> None:
    """Show a confusion matrix as percentages of its rows.

    Args:
        matrix: counts, num_classes x num_classes; a row for each true class.
        names: of the classes.
        title: above the plot.
        path: of the PNG.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    count = len(names)
    side = min(20.0, max(6.5, 0.5 * count))
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axis: Axes = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    percents = np.rint(100 * shares).astype(int)
    for i, j in np.argwhere(percents > 0) if count <= MOST_NUMBERS else ():
        axis.text(
            j, i, f"{percents[i, j]}", ha="center", va="center", fontsize=9,
            color="white" if shares[i, j] > 0.5 else "black",
        )  # fmt: skip
    # As many names as there is room for.
    step = -(-count // MOST_NAMES)
    ticks, texts = range(0, count, step), letters.shown(names, letters.in_matplotlib)[::step]
    axis.set_xticks(ticks, texts, rotation=45, ha="right", parse_math=False)
    axis.set_yticks(ticks, texts, parse_math=False)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true; numbers: % of a row, blank below 1 %")
    axis.set_title(title)
    _save(figure, path)


def note(text: str, path: Path) -> None:
    """Write a line of text in place of a plot, where there is nothing to plot."""
    figure = Figure(figsize=(7, 1.5), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center", parse_math=False)
    _save(figure, path)
