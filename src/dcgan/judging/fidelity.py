"""How far generated images are from real ones: FID, KID and FID without its bias, on feature arrays.

Features, statistics, distance: three pieces with an array between them. torch-fidelity computes
FID, through its low-level functions only: its file cache knows an extractor by name, not by
weights, and is read with pickle.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import rng
from dcgan.errors import DataError

Features = npt.NDArray[np.floating[Any]]  # N x D
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # smaller when there are fewer images
LARGEST = 1e5  # its sixth power, which KID's cubic kernel takes, is finite in float32


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and covariance of the features of `count` images.

    Attributes:
        mu: float64 D.
        sigma: float64 D x D, unbiased.
        count: number of images.
    """

    mu: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    count: int

    @property
    def caution(self) -> str | None:
        """A note for the report when the covariance cannot have full rank: FID is then finite, but far too high."""
        dims = len(self.mu)
        return (
            None if self.count > dims else f"n too small: {self.count} images for {dims} features"
        )


def statistics(features: Features) -> Statistics:
    """Mean and covariance of features N x D, in float64.

    Raises:
        DataError: fewer than two images, not N x D, or values that are not finite.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics

    check("features", features, at_least=2)
    found = fid_features_to_statistics(torch.from_numpy(np.asarray(features, np.float64)))
    dims = features.shape[1]
    return Statistics(found["mu"], found["sigma"].reshape(dims, dims), len(features))


def fid(a: Statistics, b: Statistics) -> float:
    """Fréchet distance of two Gaussians, |mu_a - mu_b|^2 + tr(sigma_a + sigma_b - 2 (sigma_a sigma_b)^(1/2)); at least 0.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, equation 6.

    Raises:
        DataError: the numbers of features differ, or a value is not finite.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    _check_same("FID", len(a.mu), len(b.mu))
    _check_finite(a, b)
    found = fid_statistics_to_metric(_as_dict(a), _as_dict(b), verbose=False)[KEY_METRIC_FID]
    # Round-off in the eigenvalues gives -3e-15 or so for equal statistics; a distance has no sign.
    return max(0.0, float(found))


def fid_infinity(real: Statistics, fake: Features, seed: int, points: int = 15) -> dict[str, float]:
    """FID as it would be of infinitely many generated images: the value at 1/n = 0 of a line through FIDs of random subsets.

    FID is too high by about c / n, where c depends on the generator, so that FIDs of few images may
    rank generators wrongly. Only the number of generated images is extrapolated: the real
    statistics stay those of their own n images, bias and all. The value has no lower bound: it may
    be a little below 0, as any estimate of nearly nothing, and is not cut off.

    Subset sizes lie evenly in 1/n, from a tenth of the images, but more than D, to all of them; the
    authors' program has them evenly in n. Where D is near a tenth of n or above, the smallest
    subsets bend the line.

    Source: Chong & Forsyth, "Effectively Unbiased FID and Inception Score and Where to Find Them",
    2020, section 3.

    Args:
        real: statistics of the real images.
        fake: features of the generated images, N x D.
        seed: of the subsets.
        points: number of subsets, at least 2.

    Returns:
        `fid_infinity`, the `slope` in 1/n, and the `residual`, the root mean square distance of the
        FIDs from the line.

    Raises:
        DataError: fewer than 2 (D + 1) images, numbers of features that differ, or values that are
            not finite.
    """
    dims = len(real.mu)
    check("FID infinity", fake, at_least=2 * (dims + 1))
    _check_same("FID infinity", dims, fake.shape[1])
    _check_finite(real)
    sizes = np.rint(
        1 / np.linspace(1 / max(len(fake) // 10, dims + 1), 1 / len(fake), points)
    ).astype(int)
    # `fid` takes 8 s for 2,048 features, 15 times. With a factor of the real covariance the
    # eigenvalues are those of a symmetric matrix: 1 s.
    values, vectors = np.linalg.eigh(real.sigma)
    factor = vectors * np.sqrt(values.clip(0))
    distances = []
    for index, size in enumerate(sizes):
        chosen = torch.randperm(len(fake), generator=rng.generator(seed, "fid_infinity", index))[
            :size
        ]
        some = statistics(fake[chosen.numpy()])
        root_trace = np.sqrt(np.linalg.eigvalsh(factor.T @ some.sigma @ factor).clip(0)).sum()
        distances.append(
            ((real.mu - some.mu) ** 2).sum()
            + np.trace(real.sigma)
            + np.trace(some.sigma)
            - 2 * root_trace
        )
    slope, intercept = np.polyfit(1 / sizes, distances, 1)
    residual = np.sqrt(np.mean((np.array(distances) - intercept - slope / sizes) ** 2))
    return {"fid_infinity": float(intercept), "slope": float(slope), "residual": float(residual)}


def kid(features_a: Features, features_b: Features, seed: int) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the kernel (x'y / D + 1)^3, unbiased: mean and deviation over 100 subsets of 1,000.

    Can be a little below 0 for equal distributions: an unbiased estimate of 0 has both signs.

    Source: Binkowski et al., "Demystifying MMD GANs", 2018, section 4.

    Raises:
        DataError: fewer than two images, numbers of features that differ, or values that are not
            finite.
    """
    check_pair("KID", features_a, features_b, at_least=2)
    # float32 is wrong by 1e-6 where the deviation over subsets is 1e-2.
    a, b = (
        torch.from_numpy(np.asarray(features, np.float32)) for features in (features_a, features_b)
    )
    size = min(KID_SUBSET_SIZE, len(a), len(b))
    # torch-fidelity's subsets, which is the tests' oracle: its own loop takes five times as long, a
    # quarter of the evaluation.
    draws = np.random.RandomState(rng.derive(seed, "kid"))
    found = [
        _mmd(*(features[draws.choice(len(features), size, replace=False)] for features in (a, b)))
        for _ in range(KID_SUBSETS)
    ]
    return float(np.mean(found)), float(np.std(found))


def _mmd(a: torch.Tensor, b: torch.Tensor) -> float:
    """The unbiased estimate from equally many images, N x D each: no image is compared with itself."""
    count, dims = a.shape
    one = a.new_ones(())

    def total(x: torch.Tensor, y: torch.Tensor, *, same: bool) -> float:
        kernel = torch.addmm(one, x, y.T, alpha=1 / dims).pow_(3)
        return (kernel.sum() - kernel.trace() if same else kernel.sum()).item()

    within = (total(a, a, same=True) + total(b, b, same=True)) / (count * (count - 1))
    return within - 2 * total(a, b, same=False) / count**2


def compare(real: Features, fake: Features, seed: int) -> dict[str, float]:
    """`fid`, `kid` and `kid_std` of generated images against real ones; errors as theirs."""
    mean, deviation = kid(real, fake, seed)
    return {"fid": fid(statistics(real), statistics(fake)), "kid": mean, "kid_std": deviation}


def class_histogram(verdicts: npt.NDArray[np.integer[Any]], num_classes: int) -> list[int]:
    """How many images the classifier puts in each class; a collapsed generator leaves some near 0.

    Raises:
        DataError: no verdicts, or one out of range.
    """
    if len(verdicts) == 0 or verdicts.min() < 0 or verdicts.max() >= num_classes:
        spread = f"{verdicts.min()} to {verdicts.max()}" if len(verdicts) else "none"
        raise DataError(
            f"verdicts: {spread}: must be 0 to {num_classes - 1}; run reference, then evaluate"
        )
    return [int(count) for count in np.bincount(verdicts, minlength=num_classes)]


def _check_finite(*statistics: Statistics) -> None:
    for statistic in statistics:
        if not (np.isfinite(statistic.mu).all() and np.isfinite(statistic.sigma).all()):
            raise DataError(
                "FID: mean or covariance is not finite: must be; run the stage that made the images again"
            )


def _check_same(name: str, a: int, b: int) -> None:
    if a != b:
        raise DataError(
            f"{name}: {a} features against {b}: must be the same extractor; run reference, then evaluate"
        )


def _as_dict(statistic: Statistics) -> dict[str, npt.NDArray[np.float64]]:
    return {"mu": statistic.mu, "sigma": statistic.sigma}


def check(name: str, features: Features, at_least: int) -> None:
    """Refuse features that `name` cannot be computed of.

    Raises:
        DataError: fewer than `at_least` images, not N x D, or values that are not finite.
    """
    if features.ndim != 2 or features.shape[1] == 0:
        raise DataError(
            f"{name}: shape is {features.shape}: must be N x D; run the stage that made the images again"
        )
    if len(features) < at_least:
        raise DataError(
            f"{name}: {len(features)} images: must be at least {at_least}; raise evaluate.num_samples"
        )
    # Written so that NaN is bad too.
    if bad := int((~(np.abs(features) < LARGEST)).any(axis=1).sum()):
        raise DataError(
            f"{name}: features of {bad} of {len(features)} images are not finite or above {LARGEST:g}: must be below;"
            " run the stage that made the images again"
        )


def check_pair(name: str, a: Features, b: Features, at_least: int) -> None:
    """Refuse features that `name` cannot compare; as `check`, and where the numbers of features differ.

    Raises:
        DataError: as `check`, or the two differ in D.
    """
    check(name, a, at_least)
    check(name, b, at_least)
    _check_same(name, a.shape[1], b.shape[1])
