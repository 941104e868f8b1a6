"""A set of images as the figures see it: features, checked once, with their classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.errors import DataError

Features = npt.NDArray[np.floating[Any]]  # N x D
Verdicts = npt.NDArray[np.int64]  # N, the classifier's most likely class of each image

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

    @classmethod
    def of(cls, features: Features) -> "Statistics":
        """Measure features N x D, N at least 2, in float64."""
        values = np.asarray(features, np.float64)
        dims = values.shape[1]
        sigma = np.cov(values, rowvar=False).reshape(dims, dims)
        return cls(values.mean(axis=0), sigma, len(values))

    @property
    def caution(self) -> str | None:
        """A note for the report where few images make the FID far too high; else None.

        If there are no more images than features, the covariance does not have full rank.
        """
        dims = len(self.mu)
        if self.count > dims:
            return None
        return f"n too small: {self.count} images for {dims} features"


@dataclass(frozen=True, eq=False)
class Sample:
    """Features and verdicts of one set of images.

    Attributes:
        features: N x D, all of them finite.
        verdicts: N; None where there are no classes, or where they are not needed.

    Raises:
        DataError: features that are not N x D, or not finite, or above 100,000.
    """

    features: Features
    verdicts: Verdicts | None = None

    def __post_init__(self) -> None:
        features = self.features
        if features.ndim != 2 or features.shape[1] == 0:
            raise DataError(
                f"features: shape is {features.shape}: must be N x D;"
                " run the stage that made the images again"
            )
        # Written so that NaN is bad too.
        if bad := int((~(np.abs(features) < LARGEST)).any(axis=1).sum()):
            raise DataError(
                f"features: those of {bad} of {len(features)} images are not finite"
                f" or above {LARGEST:g}: must be below; run the stage that made the images again"
            )

    @classmethod
    def pooled(cls, samples: "Sequence[Sample]") -> "Sample":
        """The images of several samples as one; all of them have verdicts, or none has."""
        verdicts = [sample.verdicts for sample in samples if sample.verdicts is not None]
        features = np.concatenate([sample.features for sample in samples])
        return cls(features, np.concatenate(verdicts) if verdicts else None)

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and covariance, computed at the first use.

        Raises:
            DataError: fewer than two images.
        """
        self.require("statistics", 2)
        return Statistics.of(self.features)

    def require(self, figure: str, count: int) -> None:
        """Refuse a sample that is too small for a figure.

        Raises:
            DataError: fewer than `count` images.
        """
        if len(self) < count:
            raise DataError(
                f"{figure}: {len(self)} images: must be at least {count};"
                " raise evaluate.num_samples"
            )

    def taken(self, positions: npt.NDArray[np.integer[Any]]) -> "Sample":
        """The images at these positions, in this order."""
        verdicts = None if self.verdicts is None else self.verdicts[positions]
        return Sample(self.features[positions], verdicts)


def require_same(figure: str, dims: int, other_dims: int) -> None:
    """Refuse to compare features of different extractors.

    Raises:
        DataError: the numbers of features differ.
    """
    if dims != other_dims:
        raise DataError(
            f"{figure}: {dims} features against {other_dims}: must be the same extractor;"
            " run reference, then evaluate"
        )


def require_pair(figure: str, a: Sample, b: Sample, count: int) -> None:
    """Refuse two samples that a figure cannot compare.

    Raises:
        DataError: one has fewer than `count` images, or their numbers of features differ.
    """
    a.require(figure, count)
    b.require(figure, count)
    require_same(figure, a.features.shape[1], b.features.shape[1])


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
