"""All figures of a set of images against the real ones of one split: of generated images, of the floor and of the ceiling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.judging import coverage, fidelity, manifold
from dcgan.judging.coverage import Diversity
from dcgan.judging.fidelity import Features, Statistics
from dcgan.judging.manifold import Manifold

Verdicts = npt.NDArray[np.int64]  # N, the classifier's most likely class


@dataclass(frozen=True, eq=False)
class Real:
    """The real images of one split, measured once.

    Attributes:
        features: N x D.
        class_shares: of the classifier's verdicts on them, 0 to 1; None where there are no classes.
        seed: of KID's subsets and the Vendi score's draws.
    """

    features: Features
    class_shares: Sequence[float] | None
    statistics: Statistics
    manifold: Manifold
    diversity: Diversity
    seed: int

    @classmethod
    def of(cls, features: Features, class_shares: Sequence[float] | None, seed: int) -> "Real":
        """Measure the real images.

        Raises:
            DataError: fewer than 20 images, features that are not finite, or most of them
                identical.
        """
        statistics, diversity = fidelity.statistics(features), Diversity.of(features, seed)
        return cls(features, class_shares, statistics, Manifold.of(features), diversity, seed)

    def cheap(self, features: Features, verdicts: Verdicts | None) -> dict[str, Any]:
        """What every checkpoint is judged by; a second or two for 10,000 images.

        Returns:
            `fid`, `kid`, `kid_std`, `vendi`, `collapsed`, and with classes what
            `coverage.class_coverage` gives.

        Raises:
            DataError: too few images, numbers of features that differ, or values that are not
                finite.
        """
        mean, deviation = fidelity.kid(self.features, features, self.seed)
        collapsed, vendi = self.diversity.collapsed(features)
        found = {
            "fid": fidelity.fid(self.statistics, fidelity.statistics(features)),
            "kid": mean,
            "kid_std": deviation,
        }
        classes = (
            coverage.class_coverage(verdicts, self.class_shares)
            if verdicts is not None and self.class_shares
            else {}
        )
        return {**found, "vendi": vendi, "collapsed": collapsed, **classes}

    def all(self, features: Features, verdicts: Verdicts | None) -> dict[str, Any]:
        """`cheap`'s figures, and precision, recall, density and coverage; errors as theirs."""
        return {**self.cheap(features, verdicts), **manifold.compare(self.manifold, features)}


def mean_and_deviation(
    draws: Sequence[dict[str, Any]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation (n - 1) of the figures of several draws; what is no single number is left out."""
    names = [name for name, value in draws[0].items() if isinstance(value, float)]
    values = {name: np.array([draw[name] for draw in draws]) for name in names}
    means = {name: float(found.mean()) for name, found in values.items()}
    return means, {name: float(found.std(ddof=1)) for name, found in values.items()}
