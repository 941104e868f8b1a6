"""How varied generated images are: their class shares, and whether the generator has collapsed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import rng
from dcgan.errors import DataError
from dcgan.judging.sample import Sample, class_histogram, require_pair

DROPPED = 0.1  # of a class's share among the real images; below it the class counts as dropped
NUM_IMAGES = 1000  # whose eigenvalues a Vendi score takes; the time grows with the cube
FEWEST = 20  # images: with ten, a collapse to two modes scores a quarter of what varied images do
# Both by measurement, 1,000 images, 128 features of the classifier of Fashion-MNIST. At half the
# median distance real images score 50 to 54, one class alone 4 to 21, uniform noise 4, two modes
# 2.0 (with noise round them as wide as a fifth of the features' own deviation 3.7), one image 1. At
# the whole median real images score only 6.5; at a quarter of it the two noisy modes come to 14.
WIDTH = 0.5
COLLAPSED = 0.25


def class_coverage(
    verdicts: npt.NDArray[np.integer[Any]], real_shares: Sequence[float]
) -> dict[str, Any]:
    """Shares of the classes among generated images against those among real ones.

    Args:
        verdicts: the classifier's class of each generated image, N, 0 .. len(real_shares) - 1.
        real_shares: share of each class among the same classifier's verdicts on real images; their
            sum is 1.

    Returns:
        `class_shares` and `smallest_class_share`, 0 to 1; `js_divergence`, the Jensen-Shannon
        divergence of the two in bits, 0 (equal) to 1 (no class in common); `dropped_classes`, those
        with less than a tenth of their real share.

    Raises:
        DataError: no verdicts, one out of range, or real shares that are negative or do not sum
            to 1.
    """
    real = np.asarray(real_shares, np.float64)
    # Written so that NaN is bad too.
    if real.ndim != 1 or not (len(real) > 0 and (real >= 0).all() and abs(real.sum() - 1) < 1e-6):
        raise DataError(
            f"shares of real images: {list(real_shares)}: must be at least 0 and sum to 1;"
            " run reference"
        )
    shares = np.array(class_histogram(verdicts, len(real))) / len(verdicts)
    return {
        "class_shares": shares.tolist(),
        "smallest_class_share": float(shares.min()),
        "js_divergence": _js_divergence(shares, real),
        "dropped_classes": np.flatnonzero(shares < DROPPED * real).tolist(),
    }


def vendi(sample: Sample, width: float, seed: int) -> float:
    """The Vendi score: the number of completely different images that would be as varied.

    1 if all images are the same, at most the number of images. It is exp of the entropy of the
    eigenvalues of K / n, where K_ij = exp(-|x_i - x_j|^2 / (2 width^2)). Of more than 1,000
    images, 1,000 are drawn.

    Source: Friedman & Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning",
    2023, equation 1.

    Raises:
        DataError: no images.
    """
    sample.require("Vendi score", 1)
    features = torch.from_numpy(_drawn(sample, seed).features.astype(np.float64))
    # Identical images must be at distance 0: the faster way, by a product of matrices, has
    # round-off there.
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    values = torch.linalg.eigvalsh(torch.exp(-((distances / width) ** 2) / 2) / len(features))
    return float(torch.special.entr(values.clamp_min(0)).sum().exp())


@dataclass(frozen=True, eq=False)
class Diversity:
    """The real images' side of a comparison of Vendi scores, computed once.

    Attributes:
        real: at most 1,000 real images.
        width: of the kernel, half the median distance of two real images.
        seed: of the draws of images.
        real_score: the Vendi score of `real`.
    """

    real: Sample
    width: float
    seed: int
    real_score: float

    @classmethod
    def of(cls, real: Sample, seed: int) -> "Diversity":
        """Measure real images.

        Raises:
            DataError: fewer than 20 images, or half of the pairs identical.
        """
        real.require("diversity", FEWEST)
        drawn = _drawn(real, seed)
        median = float(torch.pdist(torch.from_numpy(drawn.features.astype(np.float64))).median())
        if median == 0:
            raise DataError(
                "diversity: most of the real images are identical: must differ;"
                " look at the data, then run reference"
            )
        width = WIDTH * median
        return cls(drawn, width, seed, vendi(drawn, width, seed))

    def collapsed(self, fake: Sample) -> tuple[bool, float]:
        """Whether the Vendi score is below a quarter of that of as many real images, and the score.

        It flags one repeated image, two with little variation around them, and noise, which looks
        all the same to the extractor. A generator of a single class may pass, because some classes
        are that varied: `class_coverage` sees it.

        Raises:
            DataError: fewer than 20 images, or numbers of features that differ.
        """
        require_pair("diversity", self.real, fake, FEWEST)
        score = vendi(fake, self.width, self.seed)
        count = min(len(fake), NUM_IMAGES)
        if count >= len(self.real):
            expected = self.real_score
        else:
            expected = vendi(self.real.taken(np.arange(count)), self.width, self.seed)
        return score < COLLAPSED * expected, score


def _drawn(sample: Sample, seed: int) -> Sample:
    """All images in their order, or of more than 1,000 a random 1,000 in random order."""
    if len(sample) <= NUM_IMAGES:
        return sample
    return sample.taken(rng.choose(len(sample), NUM_IMAGES, seed, "diversity").numpy())


def _js_divergence(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    from scipy.special import rel_entr

    middle = (a + b) / 2
    # scipy's jensenshannon is the root of this. It is NaN where round-off makes this negative, as
    # for 6 % of pairs of equal shares.
    bits = (rel_entr(a, middle).sum() + rel_entr(b, middle).sum()) / (2 * np.log(2))
    return float(np.clip(bits, 0, 1))
