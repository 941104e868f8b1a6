"""Plots as PNG files; the same numbers give the same bytes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcgan import data, files

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
        for weights, title in (("raw", "raw weights"), ("ema", "EMA weights")):
            axis.plot(epochs, [row[f"{name}_{weights}"] for row in rows], marker="o", label=title)
        axis.axhline(
            floor[name], color="0.4", linestyle="--", label=f"real images: {floor[name]:.3g}"
        )
        chosen = rows[best][f"{name}_{best_weights}"]
        axis.plot(epochs[best], chosen, "k*", markersize=16, label=f"chosen: {chosen:.3g}")
        collapsed = [
            (row["epoch"], row[f"{name}_{which}"])
            for row in rows
            for which in ("raw", "ema")
            if row[f"collapsed_{which}"]
        ]
        if collapsed:
            axis.plot(*zip(*collapsed, strict=True), "rx", markersize=12, label="collapsed")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    top.set_yscale("log")
    bottom.set_xlabel("epoch")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    _save(figure, path)


def pairs(top: data.Images, bottom: data.Images, names: tuple[str, str], path: Path) -> None:
    """Show pairs of images: two rows, one above the other.

    Args:
        top: uint8, N x C x H x W.
        bottom: uint8, N x C x H x W; image i stands below image i of `top`.
        names: of the upper and of the lower row.
        path: of the PNG.
    """
    figure = Figure(figsize=(1.1 * len(top) + 1.5, 2.8), layout="constrained")
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
    figure = Figure(figsize=(7, 6.5), layout="constrained")
    axis: Axes = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if share >= 0.005:
                axis.text(
                    j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=8,
                    color="white" if share > 0.5 else "black",
                )  # fmt: skip
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true, % of a row")
    axis.set_title(title)
    _save(figure, path)


def note(text: str, path: Path) -> None:
    """Write a line of text in place of a plot, where there is nothing to plot."""
    figure = Figure(figsize=(7, 1.5), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center")
    _save(figure, path)
