"""The probe's solver against sklearn's LinearSVC: same images, same C, same objective, one run.

    python bench/probe.py                                     # pixels of 2,000 generated images, about half a minute
    python bench/probe.py --images 10000 --features 3072 --c 0.01

Prints seconds, their ratio and both objectives; LinearSVC uses one core by its nature, ours as many as torch is given.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from sklearn.svm import LinearSVC

from dcgan import probe


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="number of images")
    parser.add_argument("--features", type=int, default=784, help="features an image")
    parser.add_argument("--classes", type=int, default=10, help="number of classes")
    parser.add_argument("--c", type=float, nargs="+", default=[0.001, 0.01, 0.1], help="values of C")
    parser.add_argument("--data", type=Path, nargs=2, metavar=("FEATURES", "LABELS"), help="two .npy files instead of made-up data")
    args = parser.parse_args()
    if args.data:
        features, labels = (np.load(path, mmap_mode="r", allow_pickle=False)[: args.images] for path in args.data)
        features, labels = np.array(features, np.float32).reshape(len(features), -1), np.array(labels)
    else:
        features, labels = made_up(args.images, args.features, args.classes)

    print(f"{len(features)} images, {features.shape[1]} features, {args.classes} classes")
    print(f"{'C':>8} {'ours, s':>9} {'LinearSVC, s':>13} {'ratio':>6} {'objective':>14} {'LinearSVC':>14} {'difference':>11}")
    for c in args.c:
        start = time.perf_counter()
        svm = probe.svm_path(features, labels, [c], args.classes)[0]
        ours = time.perf_counter() - start
        start = time.perf_counter()
        theirs = LinearSVC(C=c, loss="squared_hinge", dual=False).fit(features, labels)
        other = time.perf_counter() - start
        best = objective(theirs.coef_.T, theirs.intercept_, c, features, labels)
        found = objective(svm.weights, svm.intercept, c, features, labels)
        print(
            f"{c:8g} {ours:9.2f} {other:13.2f} {other / ours:6.1f} {found:14.4f} {best:14.4f} {found / best - 1:+11.1e}", flush=True
        )


def made_up(images: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated, non-negative features with a common mean, as pooled maps are; classes that overlap."""
    generator = np.random.default_rng(0)
    labels = np.arange(images) % classes
    hidden = generator.normal(scale=0.8, size=(classes, 64))[labels] + generator.normal(scale=3, size=(images, 64))
    mixing = generator.normal(size=(64, features)) / 8
    return np.maximum(0, hidden @ mixing + generator.normal(size=(images, features))).astype(np.float32), labels


def objective(weights: np.ndarray, intercept: np.ndarray, c: float, features: np.ndarray, labels: np.ndarray) -> float:
    """What both minimise, in float64."""
    signs = np.where(labels[:, None] == np.arange(weights.shape[1]), 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (features @ weights.astype(np.float64) + intercept))
    return float(((weights**2).sum() + (intercept**2).sum()) / 2 + c * (slack**2).sum())


if __name__ == "__main__":
    main()
