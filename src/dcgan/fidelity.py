"""How far generated images are from real ones: FID, KID, precision and recall on feature arrays.

Features, statistics, distance: three pieces with an array between them. torch-fidelity computes, through its low-level functions
only: its file cache knows an extractor by name, not by weights, and is read with pickle.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import files, rng
from dcgan.errors import DataError

Features = npt.NDArray[np.floating[Any]]  # N x D
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # smaller when there are fewer images
NEIGHBOURS = 3
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
        return None if self.count > dims else f"n too small: {self.count} images for {dims} features"

    def save(self, path: Path, description: dict[str, Any]) -> str:
        """Write as safetensors with `description` as JSON beside it; returns the sha256."""
        arrays = {"mu": self.mu, "sigma": self.sigma, "count": np.array(self.count, np.int64)}
        return files.write_tensors(path, {name: torch.from_numpy(array) for name, array in arrays.items()}, description)

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read what `save` wrote.

        Raises:
            DataError: a file is missing, damaged, or holds something else.
        """
        tensors, _ = files.read_tensors(path)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        dims = shapes.get("mu", (0,))
        if shapes != {"mu": dims, "sigma": dims * 2, "count": ()} or len(dims) != 1:
            raise DataError(f"{path}: holds {shapes}: must be mu D, sigma D x D, count; run the stage that makes it")
        return cls(tensors["mu"].double().numpy(), tensors["sigma"].double().numpy(), int(tensors["count"]))


def statistics(features: Features) -> Statistics:
    """Mean and covariance of features N x D, in float64.

    Raises:
        DataError: fewer than two images, not N x D, or values that are not finite.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics

    _check("features", features, at_least=2)
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

    if a.mu.shape != b.mu.shape:
        raise DataError(f"FID: {len(a.mu)} features against {len(b.mu)}: must be the same extractor; run reference, then evaluate")
    for statistic in (a, b):
        if not (np.isfinite(statistic.mu).all() and np.isfinite(statistic.sigma).all()):
            raise DataError("FID: mean or covariance is not finite: must be; run the stage that made the images again")
    found = fid_statistics_to_metric(_as_dict(a), _as_dict(b), verbose=False)[KEY_METRIC_FID]
    # Round-off in the eigenvalues gives -3e-15 or so for equal statistics; a distance has no sign.
    return max(0.0, float(found))


def kid(features_a: Features, features_b: Features, seed: int) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the kernel (x'y / D + 1)^3, unbiased: mean and deviation over 100 subsets of 1,000.

    Can be a little below 0 for equal distributions: an unbiased estimate of 0 has both signs.

    Source: Binkowski et al., "Demystifying MMD GANs", 2018, section 4.

    Raises:
        DataError: fewer than two images, numbers of features that differ, or values that are not finite.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    _check_pair("KID", features_a, features_b, at_least=2)
    found = kid_features_to_metric(
        # float32 is wrong by 1e-6 where the deviation over subsets is 1e-2, and takes 40 % of float64's time.
        torch.from_numpy(np.asarray(features_a, np.float32)),
        torch.from_numpy(np.asarray(features_b, np.float32)),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(features_a), len(features_b)),
        rng_seed=rng.derive(seed, "kid"),
        verbose=False,
    )
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


def compare(real: Features, fake: Features, seed: int) -> dict[str, float]:
    """`fid`, `kid` and `kid_std` of generated images against real ones; errors as theirs."""
    mean, deviation = kid(real, fake, seed)
    return {"fid": fid(statistics(real), statistics(fake)), "kid": mean, "kid_std": deviation}


def precision_recall(real: Features, fake: Features) -> tuple[float, float]:
    """Share of fakes inside the real manifold, and of real images inside the fake one, 0 to 1.

    A manifold is the union of balls round its images, each as wide as the distance to its third nearest neighbour.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019, section 3.

    Raises:
        DataError: fewer than four images, numbers of features that differ, or values that are not finite.
    """
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    _check_pair("precision and recall", real, fake, at_least=NEIGHBOURS + 1)
    # Distances do not change with the origin, but their round-off grows with the length of the vectors.
    origin = real.mean(axis=0, dtype=np.float64)
    found = prc_features_to_metric(
        torch.from_numpy((fake - origin).astype(np.float32)),
        torch.from_numpy((real - origin).astype(np.float32)),
        prc_neighborhood=NEIGHBOURS,
        # Rows at a time: the whole matrix of distances of 10,000 images takes 400 MB, three times.
        save_cpu_ram=True,
        prc_batch_size=2000,
        verbose=False,
    )
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def class_histogram(verdicts: npt.NDArray[np.integer[Any]], num_classes: int) -> list[int]:
    """How many images the classifier puts in each class; a collapsed generator leaves some near 0.

    Raises:
        DataError: no verdicts, or one out of range.
    """
    if len(verdicts) == 0 or verdicts.min() < 0 or verdicts.max() >= num_classes:
        spread = f"{verdicts.min()} to {verdicts.max()}" if len(verdicts) else "none"
        raise DataError(f"verdicts: {spread}: must be 0 to {num_classes - 1}; run reference, then evaluate")
    return [int(count) for count in np.bincount(verdicts, minlength=num_classes)]


def _as_dict(statistic: Statistics) -> dict[str, npt.NDArray[np.float64]]:
    return {"mu": statistic.mu, "sigma": statistic.sigma}


def _check(name: str, features: Features, at_least: int) -> None:
    if features.ndim != 2 or features.shape[1] == 0:
        raise DataError(f"{name}: shape is {features.shape}: must be N x D; run the stage that made the images again")
    if len(features) < at_least:
        raise DataError(f"{name}: {len(features)} images: must be at least {at_least}; raise evaluate.num_samples")
    # Written so that NaN is bad too.
    if bad := int((~(np.abs(features) < LARGEST)).any(axis=1).sum()):
        raise DataError(
            f"{name}: features of {bad} of {len(features)} images are not finite or above {LARGEST:g}: must be below;"
            " run the stage that made the images again"
        )


def _check_pair(name: str, a: Features, b: Features, at_least: int) -> None:
    _check(name, a, at_least)
    _check(name, b, at_least)
    if a.shape[1] != b.shape[1]:
        raise DataError(
            f"{name}: {a.shape[1]} features against {b.shape[1]}: must be the same extractor; run reference, then evaluate"
        )
