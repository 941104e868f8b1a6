"""The probe's solver against sklearn's LinearSVC: same images, same C, same objective, one run.

    python bench/probe.py                                     # 2,000 x 784, about half a minute
    python bench/probe.py --images 60000 --features 3072      # CIFAR-10's pixels: an hour or so
    python bench/probe.py --images 50000 --features 28672 --alone    # too large for LinearSVC

Prints seconds for each C of the path (the first with the start from some of the rows), their ratio,
both objectives and the largest memory so far. LinearSVC uses one core by its nature and starts each
C from nothing. Ours uses as many cores as torch is given, and starts each C from the one before.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch
from sklearn.svm import LinearSVC

from dcgan.config import reading, sections
from dcgan.probing import svm
from dcgan.probing.features import squared_length

ROWS = 1000  # images made at once, to keep the memory of what they are made from small


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000, help="number of images")
    parser.add_argument("--features", type=int, default=784, help="features an image")
    parser.add_argument("--classes", type=int, default=10, help="number of classes")
    parser.add_argument(
        "--c",
        type=float,
        nargs="+",
        help="values of C, in rising order; default: what the probe tries",
    )
    parser.add_argument(
        "--gap",
        type=float,
        default=svm.GAP,
        help="duality gap, as a share of the objective, at which ours ends",
    )
    parser.add_argument("--alone", action="store_true", help="without LinearSVC")
    parser.add_argument(
        "--data", type=Path, nargs=2, metavar=("FEATURES", "LABELS"),
        help="two .npy files instead of made-up data",
    )  # fmt: skip
    args = parser.parse_args()
    if args.data:
        features, labels = (
            np.load(path, mmap_mode="r", allow_pickle=False)[: args.images] for path in args.data
        )
        features, labels = (
            np.array(features, np.float32).reshape(len(features), -1),
            np.array(labels),
        )
    else:
        features, labels = made_up(args.images, args.features, args.classes)

    c_values = args.c or [
        c / squared_length(features) for c in reading.load(sections.AllParams).probe.c
    ]
    size = features.nbytes / 2**30
    threads = torch.get_num_threads()
    print(
        f"{len(features)} images, {features.shape[1]} features ({size:.2f} GiB),"
        f" {args.classes} classes, {threads} threads"
    )
    print(
        f"{'C':>8} {'ours, s':>9} {'LinearSVC, s':>13} {'ratio':>6}"
        f" {'objective':>14} {'LinearSVC':>14} {'difference':>11} {'GiB':>6}"
    )
    began = time.perf_counter()
    ours: list[tuple[svm.Svm, float]] = []

    def on_fit(fit: svm.Svm) -> None:
        ours.append((fit, time.perf_counter() - began - sum(seconds for _, seconds in ours)))
        row(*ours[-1])

    svm.fit_path(features, labels, c_values, args.classes, gap=args.gap, on_fit=on_fit)
    gaps = ", ".join(f"{fit.gap:.1e}" for fit, _ in ours)
    print(f"the path: {time.perf_counter() - began:.1f} s, gaps {gaps}")
    for fit, seconds in ours if not args.alone else ():
        start = time.perf_counter()
        theirs = LinearSVC(C=fit.c, loss="squared_hinge", dual=False).fit(features, labels)
        row(
            fit,
            seconds,
            time.perf_counter() - start,
            objective(theirs.coef_, theirs.intercept_, fit.c, features, labels),
        )


def row(fit: svm.Svm, ours: float, other: float | None = None, best: float | None = None) -> None:
    """One line of the table."""
    theirs = f"{'':>13} {'':>6} {fit.objective:14.4f} {'':>14} {'':>11}"
    if other is not None and best is not None:
        seconds, objectives = (
            f"{other:13.2f} {other / ours:6.1f}",
            f"{fit.objective:14.4f} {best:14.4f}",
        )
        theirs = f"{seconds} {objectives} {fit.objective / best - 1:+11.1e}"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{fit.c:8.2g} {ours:9.2f} {theirs} {memory:6.1f}", flush=True)


def made_up(images: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated, non-negative features, as pooled maps are, and labels; the classes overlap."""
    generator = np.random.default_rng(0)
    labels = np.arange(images) % classes
    means = generator.normal(scale=0.8, size=(classes, 64))
    mixing = generator.normal(size=(64, features)).astype(np.float32) / 8
    rows = np.empty((images, features), np.float32)
    for start in range(0, images, ROWS):
        part = labels[start : start + ROWS]
        hidden = (means[part] + generator.normal(scale=3, size=(len(part), 64))).astype(np.float32)
        noise = generator.standard_normal((len(part), features), np.float32)
        np.maximum(0, hidden @ mixing + noise, out=rows[start : start + ROWS])
    return rows, labels


def objective(
    weights: np.ndarray, intercept: np.ndarray, c: float, features: np.ndarray, labels: np.ndarray
) -> float:
    """What both minimise; scores in float32, sums in float64."""
    signs = np.where(labels[:, None] == np.arange(len(weights)), 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (features @ weights.T.astype(np.float32) + intercept))
    return float(((weights**2).sum() + (intercept**2).sum()) / 2 + c * (slack**2).sum())


if __name__ == "__main__":
    main()
