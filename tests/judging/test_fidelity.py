import warnings

import numpy as np
import pytest
import scipy.linalg
import torch

from dcgan.errors import DataError
from dcgan.judging import fidelity


def normal(count=400, dims=8, seed=0, mean=0.0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=(count, dims)) * scale + mean).astype(
        np.float32
    )


def correlated(count, dims, seed):
    mixing = np.random.default_rng(seed + 100).normal(size=(dims, dims))
    return (normal(count, dims, seed) @ mixing).astype(np.float32)


def fid(a, b):
    return fidelity.fid(fidelity.statistics(a), fidelity.statistics(b))


def infinity(real, fake, **changes):
    return fidelity.fid_infinity(fidelity.statistics(real), fake, **{"seed": 0} | changes)


def exact(dims):
    """The statistics of N(0, 1) itself."""
    return fidelity.Statistics(np.zeros(dims), np.eye(dims), 10**9)


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
    a, b = (
        fidelity.Statistics(np.zeros(4), np.diag(deviation**2), 100) for deviation in deviations
    )
    assert fidelity.fid(a, b) == pytest.approx(
        ((deviations[0] - deviations[1]) ** 2).sum(), rel=1e-6
    )


@pytest.mark.parametrize("count", [2, 127, 128, 129, 2000])
def test_fid_of_a_set_with_itself_is_nothing_and_never_negative(count):
    features = correlated(count, 128, seed=1)
    assert 0 <= fid(features, features) <= 1e-6 * np.trace(fidelity.statistics(features).sigma)


def test_fid_is_symmetric():
    a, b = correlated(500, 32, seed=1), correlated(700, 32, seed=2)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-9)


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
        numbers = [array for known in theirs for array in (known["mu"], known["sigma"])]
        assert ours == pytest.approx(calculate_frechet_distance(*numbers), rel=1e-6)


def test_the_same_features_have_the_same_kid_in_torch_fidelity():
    from torch_fidelity.metric_kid import kid_features_to_metric

    from dcgan import rng

    a, b = activations(300, seed=1), activations(250, seed=2)
    theirs = kid_features_to_metric(
        *(torch.from_numpy(features).double() for features in (a, b)),
        kid_subsets=100,
        kid_subset_size=250,
        rng_seed=rng.derive(3, "kid"),
        verbose=False,
    )
    expected = theirs["kernel_inception_distance_mean"], theirs["kernel_inception_distance_std"]
    assert fidelity.kid(a, b, seed=3) == pytest.approx(expected, rel=1e-4)


def test_the_line_of_fid_infinity_ends_at_the_fid_of_all_images():
    real, fake = activations(600, seed=1), activations(500, seed=2)
    found = infinity(real, fake, points=2)
    assert found["fid_infinity"] + found["slope"] / 500 == pytest.approx(fid(real, fake), rel=1e-6)
    assert found["residual"] == pytest.approx(0, abs=1e-6)


def test_fid_infinity_takes_the_bias_away_whose_slope_is_known():
    dims, shift = 8, 0.1
    fakes = [normal(1000, dims, seed) + shift for seed in range(10)]
    found = [fidelity.fid_infinity(exact(dims), fake, seed=0) for fake in fakes]
    biased = np.mean([fidelity.fid(exact(dims), fidelity.statistics(fake)) for fake in fakes])
    true = dims * shift**2
    assert abs(np.mean([f["fid_infinity"] for f in found]) - true) < abs(biased - true) / 3
    # To first order in 1/n: D of the mean; |S - 1|^2 / 4 of the covariance S, whose elements vary
    # by 1/n, its diagonal's by 2/n.
    assert np.mean([f["slope"] for f in found]) == pytest.approx(
        dims + dims * (dims + 1) / 4, rel=0.15
    )
    assert all(0 < f["residual"] < 0.1 for f in found)


def test_the_subsets_lie_evenly_in_one_over_n_from_a_tenth_or_more_than_there_are_features(
    monkeypatch,
):
    real, sizes = fidelity.statistics(normal()), []

    def recorded(features):
        sizes.append(len(features))
        return fidelity.Statistics(
            features.mean(axis=0), np.cov(features, rowvar=False), len(features)
        )

    monkeypatch.setattr(fidelity, "statistics", recorded)
    fidelity.fid_infinity(real, normal(1000), seed=0, points=4)
    assert sizes == [100, 143, 250, 1000]
    sizes.clear()
    fidelity.fid_infinity(real, normal(60), seed=0)
    assert len(sizes) == 15 and sizes[0] == 9 and sizes[-1] == 60


def test_fid_infinity_of_the_same_distribution_has_both_signs():
    found = [
        fidelity.fid_infinity(exact(4), normal(400, 4, seed), seed=0)["fid_infinity"]
        for seed in range(10)
    ]
    assert min(found) < 0 < max(found)


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
    assert np.isfinite(list(infinity(normal(), normal(18)).values())).all()


def test_identical_images_have_a_finite_distance():
    same = np.ones((50, 8), np.float32)
    assert fid(same, same) == 0
    assert fid(same, same + 2) == pytest.approx(32)
    assert np.isfinite(fidelity.kid(same, same + 2, seed=0)).all()
    found = fidelity.fid_infinity(fidelity.statistics(same), same + 2, seed=0)
    assert found == pytest.approx({"fid_infinity": 32, "slope": 0, "residual": 0}, abs=1e-6)


def test_too_few_images_for_the_dimensions_get_a_note_and_a_finite_distance():
    few, enough = fidelity.statistics(normal(8)), fidelity.statistics(normal(9))
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
    mean, deviation = fidelity.kid(a, b, seed=0)
    assert mean == pytest.approx(within - 2 * kernels[2].mean(), rel=1e-4)
    assert deviation == pytest.approx(0, abs=1e-4 * mean)  # every subset is the whole set


def test_kid_depends_on_its_seed_alone():
    a, b = normal(1100, seed=1), normal(1050, seed=2)
    np.random.seed(1)
    first = fidelity.kid(a, b, seed=5)
    np.random.seed(2)
    assert fidelity.kid(a, b, seed=5) == first
    assert fidelity.kid(a, b, seed=6) != first


def test_distance_grows_with_blur_and_is_largest_for_noise():
    rng = np.random.default_rng(0)
    edges = np.where(np.arange(64)[None] < rng.uniform(16, 48, size=(1000, 1)), 1.0, -1.0)
    real, other = edges[:500], edges[500:]

    def blurred(images, width):
        return np.apply_along_axis(
            lambda row: np.convolve(row, np.ones(width) / width, mode="same"), 1, images
        )

    noise = rng.uniform(-1, 1, size=(500, 64))
    distances = [
        fidelity.compare(real, fake, seed=0)
        for fake in (other, blurred(other, 5), blurred(other, 21), noise)
    ]
    assert [d["fid"] for d in distances] == sorted(d["fid"] for d in distances)
    assert [d["kid"] for d in distances] == sorted(d["kid"] for d in distances)
    assert distances[0]["fid"] < distances[3]["fid"] / 20
    extrapolated = [
        infinity(real, fake)["fid_infinity"]
        for fake in (other, blurred(other, 5), blurred(other, 21), noise)
    ]
    assert extrapolated == sorted(extrapolated)


def test_compare_gives_what_its_parts_give():
    a, b = normal(200, seed=1), normal(200, seed=2)
    kid, deviation = fidelity.kid(a, b, seed=3)
    assert fidelity.compare(a, b, seed=3) == {"fid": fid(a, b), "kid": kid, "kid_std": deviation}


def test_the_class_histogram_counts_every_class():
    assert fidelity.class_histogram(np.array([0, 2, 2]), 4) == [1, 0, 2, 0]


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


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("figure", [fid, lambda a, b: fidelity.kid(a, b, seed=0), infinity])
def test_bad_features_are_refused_in_one_line(name, figure):
    features, message = BAD[name]
    for pair in ((normal(), features), (features, normal())):
        with pytest.raises(DataError, match=message) as caught:
            figure(*pair)
        assert "\n" not in str(caught.value) and caught.value.exit_code == 3


@pytest.mark.parametrize("verdicts", [[], [-1], [0, 10]])
def test_verdicts_out_of_range_are_refused(verdicts):
    with pytest.raises(DataError, match="must be 0 to 9"):
        fidelity.class_histogram(np.array(verdicts, np.int64), 10)


def test_statistics_that_are_not_finite_are_refused():
    broken = fidelity.Statistics(np.full(8, np.nan), np.eye(8), 100)
    with pytest.raises(DataError, match="not finite"):
        fidelity.fid(broken, fidelity.statistics(normal()))
    with pytest.raises(DataError, match="not finite"):
        fidelity.fid_infinity(broken, normal(), seed=0)
