"""How far generated images are from real ones: FID, KID, and FID without its bias."""

import numpy as np
import numpy.typing as npt
import torch

from dcgan import rng
from dcgan.errors import DataError
from dcgan.judging.sample import Sample, Statistics, require_pair, require_same

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # smaller when there are fewer images
INFINITY_SUBSETS = 15


def fid(a: Statistics, b: Statistics) -> float:
    """Fréchet distance of the two Gaussians that have these statistics; at least 0.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, equation 6.

    Raises:
        DataError: the numbers of features differ, or a value is not finite.
    """
    require_same("FID", len(a.mu), len(b.mu))
    _require_finite(a)
    _require_finite(b)
    # Round-off gives -3e-15 or so for equal statistics; a distance has no sign.
    return max(0.0, _distance(a, _root(a), b))


def fid_infinity(
    real: Statistics, fake: Sample, seed: int, subsets: int = INFINITY_SUBSETS
) -> float:
    """FID as it would be of infinitely many generated images.

    FID is too high by about c / n, where c depends on the generator, so that FIDs of few images may
    rank generators wrongly. A straight line in 1/n is fitted to the FIDs of random subsets; its
    value at 1/n = 0 is the figure. Only the number of generated images is extrapolated: the real
    statistics stay those of their own n images, with their bias. The value may be a little below 0,
    as an estimate of a number near 0 can be, and is not clipped.

    Subset sizes are evenly spaced in 1/n, from a tenth of the images (but more than D) to all of
    them; the authors' program spaces them evenly in n. Where D is near a tenth of n or above, the
    smallest subsets bend the line.

    Source: Chong & Forsyth, "Effectively Unbiased FID and Inception Score and Where to Find Them",
    2020, section 3.

    Args:
        real: statistics of the real images.
        fake: the generated images.
        seed: of the subsets.
        subsets: how many, at least 2.

    Raises:
        DataError: fewer than 2 (D + 1) images, numbers of features that differ, or statistics that
            are not finite.
    """
    dims = len(real.mu)
    fake.require("FID infinity", 2 * (dims + 1))
    require_same("FID infinity", dims, fake.features.shape[1])
    _require_finite(real)
    sizes = np.rint(
        1 / np.linspace(1 / max(len(fake) // 10, dims + 1), 1 / len(fake), subsets)
    ).astype(int)
    root = _root(real)  # once for all subsets
    distances = []
    for index, size in enumerate(sizes):
        chosen = rng.choose(len(fake), size, seed, "fid_infinity", index).numpy()
        distances.append(_distance(real, root, Statistics.of(fake.features[chosen])))
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept)


def kid(a: Sample, b: Sample, seed: int) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the kernel (x'y / D + 1)^3, unbiased.

    Can be a little below 0 for equal distributions: an unbiased estimate of 0 can have either sign.

    Source: Binkowski et al., "Demystifying MMD GANs", 2018, section 4.

    Returns:
        Mean and standard deviation over 100 subsets of 1,000 images.

    Raises:
        DataError: fewer than two images, or numbers of features that differ.
    """
    require_pair("KID", a, b, 2)
    # float32 is wrong by 1e-6 where the deviation over subsets is 1e-2.
    tensors = [torch.from_numpy(np.asarray(sample.features, np.float32)) for sample in (a, b)]
    size = min(KID_SUBSET_SIZE, len(a), len(b))
    # The subsets of torch-fidelity, the tests' oracle. Its own loop takes five times as long, a
    # quarter of the evaluation.
    draws = np.random.RandomState(rng.derive(seed, "kid"))
    values = [
        _mmd(*(rows[draws.choice(len(rows), size, replace=False)] for rows in tensors))
        for _ in range(KID_SUBSETS)
    ]
    return float(np.mean(values)), float(np.std(values))


def _root(statistics: Statistics) -> npt.NDArray[np.float64]:
    """A matrix F, D x D, with F F' = sigma."""
    values, vectors = np.linalg.eigh(statistics.sigma)
    return vectors * np.sqrt(values.clip(0))


def _distance(a: Statistics, root_a: npt.NDArray[np.float64], b: Statistics) -> float:
    """|mu_a - mu_b|^2 + tr(sigma_a + sigma_b - 2 (sigma_a sigma_b)^(1/2)).

    The eigenvalues of sigma_a sigma_b are those of F' sigma_b F, where sigma_a = F F'. That matrix
    is symmetric, and its eigenvalues take a third of the time of the product's.
    """
    root_trace = np.sqrt(np.linalg.eigvalsh(root_a.T @ b.sigma @ root_a).clip(0)).sum()
    return float(
        ((a.mu - b.mu) ** 2).sum() + np.trace(a.sigma) + np.trace(b.sigma) - 2 * root_trace
    )


def _mmd(a: torch.Tensor, b: torch.Tensor) -> float:
    """The unbiased estimate from equally many images, N x D each: none is compared with itself."""
    count, dims = a.shape
    one = a.new_ones(())

    def total(x: torch.Tensor, y: torch.Tensor, *, same: bool) -> float:
        kernel = torch.addmm(one, x, y.T, alpha=1 / dims).pow_(3)
        return (kernel.sum() - kernel.trace() if same else kernel.sum()).item()

    within = (total(a, a, same=True) + total(b, b, same=True)) / (count * (count - 1))
    return within - 2 * total(a, b, same=False) / count**2


def _require_finite(statistics: Statistics) -> None:
    if not (np.isfinite(statistics.mu).all() and np.isfinite(statistics.sigma).all()):
        raise DataError(
            "FID: mean or covariance is not finite: must be;"
            " run the stage that made the images again"
        )
