"""Generated images, or those of floor and ceiling, against the real images of one split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dcgan.judging import coverage, fidelity, manifold
from dcgan.judging.coverage import Diversity
from dcgan.judging.manifold import Manifold
from dcgan.judging.sample import Sample


@dataclass(frozen=True, eq=False)
class Real:
    """The real images of one split, measured once.

    Attributes:
        sample: their features.
        class_shares: of the classifier's verdicts on them, 0 to 1; None where there are no classes.
        manifold: their neighbourhoods.
        diversity: what Vendi scores are measured with.
        seed: of KID's subsets and the Vendi score's draws.
    """

    sample: Sample
    class_shares: Sequence[float] | None
    manifold: Manifold
    diversity: Diversity
    seed: int

    @classmethod
    def of(cls, sample: Sample, class_shares: Sequence[float] | None, seed: int) -> "Real":
        """Measure the real images.

        Raises:
            DataError: fewer than 20 images, or most of them identical.
        """
        return cls(sample, class_shares, Manifold.of(sample), Diversity.of(sample, seed), seed)

    def basic_figures(self, sample: Sample) -> dict[str, Any]:
        """What every checkpoint is judged by; a second or two for 10,000 images.

        Returns:
            `fid`, `kid`, `kid_std`, `vendi`, `collapsed`, and with classes what
            `coverage.class_coverage` gives.

        Raises:
            DataError: too few images, or numbers of features that differ.
        """
        mean, deviation = fidelity.kid(self.sample, sample, self.seed)
        collapsed, vendi = self.diversity.collapsed(sample)
        distances = {
            "fid": fidelity.fid(self.sample.statistics, sample.statistics),
            "kid": mean,
            "kid_std": deviation,
        }
        classes = {}
        if sample.verdicts is not None and self.class_shares:
            classes = coverage.class_coverage(sample.verdicts, self.class_shares)
        return {**distances, "vendi": vendi, "collapsed": collapsed, **classes}

    def all_figures(self, sample: Sample) -> dict[str, Any]:
        """`basic_figures`, and precision, recall, density and coverage; errors as theirs."""
        return {**self.basic_figures(sample), **manifold.compare(self.manifold, sample)}
