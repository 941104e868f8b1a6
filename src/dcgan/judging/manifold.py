"""How generated images lie among real ones, and whether training images were copied.

All of it is nearest neighbours in feature space, from squared distances that are computed a few
rows at a time. The package prdc is not used: it keeps four float64 matrices of all pairs (800 MB
each for 10,000 against 10,000 images) and measures the real images anew for every set of generated
ones. Its definitions are the tests' oracle.

Of the four figures only recall keeps the order "real, lightly blurred, strongly blurred, noise", as
FID and KID do. Precision and density count balls, and the few real images far from all others have
balls so wide that very different images lie inside: on the classifier's features of Fashion-MNIST
uniform noise has precision 0.76 and density 0.74, strong blur 0.004 and 0.002. Coverage gives noise
0.01, strong blur 0.003. Blur can also draw images towards the dense middle, where density is above
the real images' own. So read these three together with FID only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dcgan.judging.sample import Features, Sample, require_pair, require_same

PRC_NEIGHBOURS = 3  # of precision and recall, as in their paper
DENSITY_NEIGHBOURS = 5  # of density and coverage, as in theirs
NAME = "precision, recall, density and coverage"
NUM_PAIRS = 10
CHANCE = 0.01  # share of the test images that are "close": their distance is the limit for others
CHUNK = 2_500_000  # distances at a time, 10 MB
COLUMNS = 50_000  # images that queries are compared with at a time
# Squared distances below this share of the squared length are round-off of float32: images that are
# equal get a distance of 0.
SAME = 1e-6


@dataclass(frozen=True, eq=False)
class Manifold:
    """Images as points, each with the distances to its nearest neighbours.

    Attributes:
        features: float32 N x D.
        origin: float64 D, their mean.
        squared: float32 N x 5, squared distances to the first to fifth nearest other image,
            ascending.
    """

    features: npt.NDArray[np.float32]
    origin: npt.NDArray[np.float64]
    squared: npt.NDArray[np.float32]

    @classmethod
    def of(cls, sample: Sample) -> "Manifold":
        """Measure the images of a sample.

        Raises:
            DataError: fewer than six images.
        """
        sample.require(NAME, DENSITY_NEIGHBOURS + 1)
        origin = sample.features.mean(axis=0, dtype=np.float64)
        points = _centred(sample.features, origin)
        squared = torch.empty(len(points), DENSITY_NEIGHBOURS)
        for rows, distances in _distances(points, points):
            # The nearest of all is the image itself.
            squared[rows] = distances.topk(DENSITY_NEIGHBOURS + 1, largest=False).values[:, 1:]
        return cls(np.asarray(sample.features, np.float32), origin, squared.numpy())


def compare(real: Manifold, sample: Sample) -> dict[str, float]:
    """Precision, recall, density and coverage of generated images against real ones.

    The ball of an image reaches to its k-th nearest neighbour in its own set.

    * `precision`: share of fakes in at least one real ball; `recall`: share of real images in at
      least one fake ball; 0 to 1, k = 3.
      Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
      Models", 2019, section 3.
    * `density`: mean number of real balls that a fake lies in, divided by k: about 1 for the real
      distribution, may be above; `coverage`: share of real balls with at least one fake in them,
      0 to 1; k = 5.
      Source: Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020,
      equations 4 to 6.

    A point on the rim of a ball counts as inside for the first two and as outside for the others,
    as in torch-fidelity and in prdc: if all real images are equal, the balls have no size, and
    density and coverage are 0.

    Raises:
        DataError: fewer than six images, or numbers of features that differ.
    """
    fake = Manifold.of(sample)
    require_same(NAME, real.features.shape[1], fake.features.shape[1])
    real_points, fake_points = (
        _centred(real.features, real.origin),
        _centred(fake.features, real.origin),
    )
    real_radii, fake_radii = torch.from_numpy(real.squared), torch.from_numpy(fake.squared)
    inner, outer = PRC_NEIGHBOURS - 1, DENSITY_NEIGHBOURS - 1
    inner_radii, outer_radii = (real_radii[:, k].contiguous() for k in (inner, outer))

    realistic, balls = 0, 0
    recalled = torch.zeros(len(real_points), dtype=torch.bool)
    nearest = torch.full((len(real_points),), torch.inf)
    for rows, distances in _distances(fake_points, real_points):
        realistic += int((distances <= inner_radii).any(1).sum())
        recalled |= (distances <= fake_radii[rows, inner, None]).any(0)
        balls += int((distances < outer_radii).count_nonzero())
        nearest = torch.minimum(nearest, distances.amin(0))
    return {
        "precision": realistic / len(fake_points),
        "recall": recalled.double().mean().item(),
        "density": balls / (DENSITY_NEIGHBOURS * len(fake_points)),
        "coverage": (nearest < outer_radii).double().mean().item(),
    }


def nearest(
    queries: Sample, among: Sample
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The nearest of M images `among` for each of N images `queries`.

    Returns:
        Distances, float32 N, and indices, int64 N; a copy has distance 0.

    Raises:
        DataError: no images, or numbers of features that differ.
    """
    require_pair("nearest neighbours", queries, among, 1)
    origin = among.features.mean(axis=0, dtype=np.float64)
    points, others = _centred(queries.features, origin), _centred(among.features, origin)
    closest = torch.full((len(points),), torch.inf)
    indices = torch.zeros(len(points), dtype=torch.int64)
    for first in range(0, len(others), COLUMNS):
        for rows, squared in _distances(points, others[first : first + COLUMNS]):
            least, place = squared.min(1)
            closer = least < closest[rows]
            closest[rows] = torch.where(closer, least, closest[rows])
            indices[rows] = torch.where(closer, place + first, indices[rows])
    found = indices.numpy()
    # From the difference, which has none of the matrix's round-off.
    apart = np.asarray(queries.features, np.float64) - among.features[found]
    return np.linalg.norm(apart, axis=1).astype(np.float32), found


def memorisation(
    fake: Sample, train: Sample, test: Sample
) -> tuple[dict[str, float], list[tuple[int, int, float]]]:
    """Whether generated images lie closer to training images than unseen real images do.

    `generated_to_train` and `test_to_train` are medians of the distance to the nearest training
    image. `ratio` is the first divided by the second: far below 1 if most images are copies; left
    out if half of the test images have a copy in train. `closer_than_test` is the share of
    generated images that are at most as far from a training image as the nearest 1 % of the test
    images: about 0.01 for any number of images of the real distribution that copy nothing.

    The idea is that of Meehan et al., "A Non-Parametric Test to Detect Data-Copying in Generative
    Models", 2020; these are plain quantities, not their test.

    Returns:
        The figures, and (index in fake, index in train, distance) of the ten nearest pairs, nearest
        first.

    Raises:
        DataError: no images, or numbers of features that differ.
    """
    distances, indices = nearest(fake, train)
    test_distances, _ = nearest(test, train)
    medians = float(np.median(distances)), float(np.median(test_distances))
    figures = {
        "generated_to_train": medians[0],
        "test_to_train": medians[1],
        "closer_than_test": float((distances <= np.quantile(test_distances, CHANCE)).mean()),
    }
    if medians[1] > 0:
        figures["ratio"] = medians[0] / medians[1]
    closest = np.argsort(distances, kind="stable")[:NUM_PAIRS]
    return figures, [
        (int(index), int(indices[index]), float(distances[index])) for index in closest
    ]


def _centred(features: Features, origin: npt.NDArray[np.float64]) -> torch.Tensor:
    # Distances do not change with the origin, but their round-off grows with the length of the
    # vectors.
    centred = np.empty(features.shape, np.float32)
    return torch.from_numpy(np.subtract(features, origin, out=centred, casting="same_kind"))


def _distances(points: torch.Tensor, others: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Squared distances of a few rows of `points` to all `others`.

    Yields:
        Which rows, and their distances, in a buffer that the next turn overwrites.
    """
    size = max(1, min(len(points), CHUNK // len(others)))
    buffer = torch.empty(size, len(others))
    lengths = others.square().sum(1)
    for start in range(0, len(points), size):
        rows = slice(start, min(start + size, len(points)))
        part = points[rows]
        own = part.square().sum(1, keepdim=True)
        distances = buffer[: len(part)]
        # A buffer of our own: memory fresh from the system costs as much as the product.
        torch.addmm(lengths, part, others.T, alpha=-2, out=distances).add_(own)
        yield rows, distances.masked_fill_(distances <= own * SAME, 0)
