import warnings

import numpy as np
import pytest
import scipy.linalg
import torch

from dcgan import rng
from dcgan.errors import DataError
from dcgan.judging import fidelity
from dcgan.judging.sample import Sample, Statistics


def normal(count=400, dims=8, seed=0, mean=0.0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=(count, dims)) * scale + mean).astype(
        np.float32
    )


def correlated(count, dims, seed):
    mixing = np.random.default_rng(seed + 100).normal(size=(dims, dims))
    return (normal(count, dims, seed) @ mixing).astype(np.float32)


def fid(a, b):
    return fidelity.fid(Sample(a).statistics, Sample(b).statistics)


def kid(a, b, seed=0):
    return fidelity.kid(Sample(a), Sample(b), seed)


def infinity(real, fake, **changes):
    real = real if isinstance(real, Statistics) else Sample(real).statistics
    return fidelity.fid_infinity(real, Sample(fake), **{"seed": 0} | changes)


def exact(dims):
    """The statistics of N(0, 1) itself."""
    return Statistics(np.zeros(dims), np.eye(dims), 10**9)


def activations(count, seed):
    """As after a ReLU: never negative, often 0, one of them always, two of them equal."""
    features = np.maximum(correlated(count, 32, seed), 0)
    features[:, 3], features[:, 5] = 0, features[:, 4]
    return features


def test_fid_of_equal_covariances_is_the_squared_distance_of_the_means():
    shift = np.arange(8)
    assert fid(normal(), normal() + shift) == pytest.approx((shift**2).sum(), rel=1e-5)


def test_fid_of_diagonal_covariances_has_a_closed_form():
    deviations = np.array([0.1, 1.0, 3.0, 0.0]), np.array([0.2, 1.0, 1.0, 2.0])
    a, b = (Statistics(np.zeros(4), np.diag(deviation**2), 100) for deviation in deviations)
    assert fidelity.fid(a, b) == pytest.approx(
        ((deviations[0] - deviations[1]) ** 2).sum(), rel=1e-6
    )


@pytest.mark.parametrize("count", [2, 127, 128, 129, 2000])
def test_fid_of_a_set_with_itself_is_nothing_and_never_negative(count):
    features = correlated(count, 128, seed=1)
    assert 0 <= fid(features, features) <= 1e-6 * np.trace(Sample(features).statistics.sigma)


@pytest.mark.holds("R-44")
def test_fid_is_symmetric():
    a, b = correlated(500, 32, seed=1), correlated(700, 32, seed=2)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-9)


@pytest.mark.holds("R-44")
def test_fid_equals_pytorch_fid_and_scipy():
    from pytorch_fid.fid_score import calculate_frechet_distance

    a, b = correlated(2000, 128, seed=1), correlated(1500, 128, seed=2) + 1
    means = [features.mean(axis=0, dtype=np.float64) for features in (a, b)]
    covariances = [np.cov(features.astype(np.float64), rowvar=False) for features in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0])
    middle = np.sqrt(scipy.linalg.eigvalsh(root @ covariances[1] @ root)).sum()
    by_hand = (
        ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * middle
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = calculate_frechet_distance(means[0], covariances[0], means[1], covariances[1])
    assert fid(a, b) == pytest.approx(theirs, rel=1e-6)
    assert fid(a, b) == pytest.approx(by_hand, rel=1e-6)


def test_fid_of_normal_distributions_is_nearly_that_of_their_parameters():
    a, b = normal(50_000, 4, seed=1), normal(50_000, 4, seed=2, mean=0.5, scale=2)
    assert fid(a, b) == pytest.approx(4 * 0.5**2 + 4 * (2 - 1) ** 2, rel=0.02)


@pytest.mark.holds("R-44")
def test_fid_of_identical_sets_is_at_most_a_millionth():
    for features in (normal(500, 32), activations(500, seed=1)):
        assert fid(features, features.copy()) <= 1e-6


def test_the_same_features_have_the_same_fid_in_torch_fidelity_and_pytorch_fid():
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_featuresdict_to_statistics, fid_statistics_to_metric

    a, b = activations(900, seed=1), activations(700, seed=2)
    ours, *theirs = (
        fid(a, b),
        *(fid_featuresdict_to_statistics({"x": torch.from_numpy(f).double()}, "x") for f in (a, b)),
    )
    assert ours == pytest.approx(
        fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"], rel=1e-6
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers = [array for each in theirs for array in (each["mu"], each["sigma"])]
        assert ours == pytest.approx(calculate_frechet_distance(*numbers), rel=1e-6)


def test_the_same_features_have_the_same_kid_in_torch_fidelity():
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = activations(300, seed=1), activations(250, seed=2)
    theirs = kid_features_to_metric(
        *(torch.from_numpy(features).double() for features in (a, b)),
        kid_subsets=100,
        kid_subset_size=250,
        rng_seed=rng.derive(3, "kid"),
        verbose=False,
    )
    expected = theirs["kernel_inception_distance_mean"], theirs["kernel_inception_distance_std"]
    assert kid(a, b, seed=3) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("count", "subsets", "sizes"),
    [(1000, 4, [100, 143, 250, 1000]), (60, 2, [9, 60]), (400, 2, [40, 400])],
)
def test_fid_infinity_is_the_end_of_a_line_through_fids_of_subsets_evenly_in_one_over_n(
    count, subsets, sizes
):
    # From a tenth of the images, or more than there are features, to all of them.
    real, fake = normal(seed=1), normal(count, seed=2)
    fids = [
        fid(real, fake[rng.choose(count, size, 0, "fid_infinity", index).numpy()])
        for index, size in enumerate(sizes)
    ]
    assert fids[-1] == pytest.approx(fid(real, fake), rel=1e-9)
    expected = np.polyfit(1 / np.array(sizes), fids, 1)[1]
    assert infinity(real, fake, subsets=subsets) == pytest.approx(expected, rel=1e-9)


def test_fid_infinity_takes_the_bias_away():
    dims, shift = 8, 0.1
    fakes = [normal(1000, dims, seed) + shift for seed in range(10)]
    extrapolated = np.mean([infinity(exact(dims), fake) for fake in fakes])
    biased = np.mean([fidelity.fid(exact(dims), Sample(fake).statistics) for fake in fakes])
    true = dims * shift**2
    assert abs(extrapolated - true) < abs(biased - true) / 3


def test_fid_infinity_of_the_same_distribution_has_both_signs():
    values = [infinity(exact(4), normal(400, 4, seed)) for seed in range(10)]
    assert min(values) < 0 < max(values)


def test_fid_infinity_depends_on_its_seed_alone():
    real, fake = normal(200, seed=1), normal(150, seed=2)
    np.random.seed(1)
    torch.manual_seed(1)
    first = infinity(real, fake, seed=5)
    np.random.seed(2)
    torch.manual_seed(2)
    assert infinity(real, fake, seed=5) == first
    assert infinity(real, fake, seed=6) != first


@pytest.mark.parametrize("count", [0, 1, 2, 7, 17])
def test_too_few_images_to_extrapolate_are_refused(count):
    with pytest.raises(
        DataError,
        match=rf"FID infinity: {count} images: must be at least 18; raise evaluate\.num_samples",
    ):
        infinity(normal(), normal(count))
    assert np.isfinite(infinity(normal(), normal(18)))


@pytest.mark.holds("R-44")
def test_identical_images_have_a_finite_distance():
    same = np.ones((50, 8), np.float32)
    assert fid(same, same) == 0
    assert fid(same, same + 2) == pytest.approx(32)
    assert np.isfinite(kid(same, same + 2)).all()
    assert infinity(same, same + 2) == pytest.approx(32)


@pytest.mark.holds("R-44")
def test_too_few_images_for_the_dimensions_get_a_note_and_a_finite_distance():
    few, enough = Sample(normal(8)).statistics, Sample(normal(9)).statistics
    assert few.caution == "n too small: 8 images for 8 features"
    assert enough.caution is None
    assert np.isfinite(fidelity.fid(few, enough))


def test_kid_is_the_unbiased_estimate_of_its_formula():
    a, b = (
        correlated(60, 8, seed=1).astype(np.float64),
        correlated(60, 8, seed=2).astype(np.float64),
    )
    kernels = [(x @ y.T / 8 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    within = sum((kernel.sum() - np.trace(kernel)) / (60 * 59) for kernel in kernels[:2])
    mean, deviation = kid(a, b, seed=0)
    assert mean == pytest.approx(within - 2 * kernels[2].mean(), rel=1e-4)
    assert deviation == pytest.approx(0, abs=1e-4 * mean)  # every subset is the whole set


def test_kid_depends_on_its_seed_alone():
    a, b = normal(1100, seed=1), normal(1050, seed=2)
    np.random.seed(1)
    first = kid(a, b, seed=5)
    np.random.seed(2)
    assert kid(a, b, seed=5) == first
    assert kid(a, b, seed=6) != first


def test_distance_grows_with_blur_and_is_largest_for_noise():
    rng = np.random.default_rng(0)
    edges = np.where(np.arange(64)[None] < rng.uniform(16, 48, size=(1000, 1)), 1.0, -1.0)
    real, other = edges[:500], edges[500:]

    def blurred(images, width):
        return np.apply_along_axis(
            lambda row: np.convolve(row, np.ones(width) / width, mode="same"), 1, images
        )

    noise = rng.uniform(-1, 1, size=(500, 64))
    fakes = (other, blurred(other, 5), blurred(other, 21), noise)
    for figure in (fid, lambda a, b: kid(a, b)[0], infinity):
        distances = [figure(real, fake) for fake in fakes]
        assert distances == sorted(distances)
    assert fid(real, other) < fid(real, noise) / 20


BAD = {
    "no images": (normal(0), "0 images"),
    "one image": (normal(1), "1 images"),
    "a NaN": (np.where(np.arange(400)[:, None] == 3, np.nan, normal()), "1 of 400"),
    "an infinity": (np.where(np.arange(400)[:, None] == 3, np.inf, normal()), "1 of 400"),
    "other features": (normal(dims=9), "9|8"),
    "one row": (normal()[0], "N x D"),
    "no features": (normal()[:, :0], "N x D"),
    "too large": (normal() * 1e6, "above 100000"),
}


@pytest.mark.holds("R-44")
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("figure", [fid, kid, infinity])
def test_bad_features_are_refused_in_one_line(name, figure):
    features, message = BAD[name]
    for pair in ((normal(), features), (features, normal())):
        with pytest.raises(DataError, match=message) as caught:
            figure(*pair)
        assert "\n" not in str(caught.value) and caught.value.exit_code == 3


def test_statistics_that_are_not_finite_are_refused():
    broken = Statistics(np.full(8, np.nan), np.eye(8), 100)
    with pytest.raises(DataError, match="not finite"):
        fidelity.fid(broken, Sample(normal()).statistics)
    with pytest.raises(DataError, match="not finite"):
        infinity(broken, normal())
