import warnings

import numpy as np
import pytest
import scipy.linalg

from dcgan import fidelity
from dcgan.errors import DataError


def normal(count=400, dims=8, seed=0, mean=0.0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=(count, dims)) * scale + mean).astype(np.float32)


def correlated(count, dims, seed):
    mixing = np.random.default_rng(seed + 100).normal(size=(dims, dims))
    return (normal(count, dims, seed) @ mixing).astype(np.float32)


def fid(a, b):
    return fidelity.fid(fidelity.statistics(a), fidelity.statistics(b))


def test_fid_of_equal_covariances_is_the_squared_distance_of_the_means():
    shift = np.arange(8)
    assert fid(normal(), normal() + shift) == pytest.approx((shift**2).sum(), rel=1e-5)


def test_fid_of_diagonal_covariances_has_a_closed_form():
    deviations = np.array([0.1, 1.0, 3.0, 0.0]), np.array([0.2, 1.0, 1.0, 2.0])
    a, b = (fidelity.Statistics(np.zeros(4), np.diag(deviation**2), 100) for deviation in deviations)
    assert fidelity.fid(a, b) == pytest.approx(((deviations[0] - deviations[1]) ** 2).sum(), rel=1e-6)


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
    by_hand = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * middle
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = calculate_frechet_distance(means[0], covariances[0], means[1], covariances[1])
    assert fid(a, b) == pytest.approx(theirs, rel=1e-6)
    assert fid(a, b) == pytest.approx(by_hand, rel=1e-6)


def test_identical_images_have_a_finite_distance():
    same = np.ones((50, 8), np.float32)
    assert fid(same, same) == 0
    assert fid(same, same + 2) == pytest.approx(32)
    assert np.isfinite([*fidelity.kid(same, same + 2, seed=0), *fidelity.precision_recall(same, same + 2)]).all()


def test_too_few_images_for_the_dimensions_get_a_note_and_a_finite_distance():
    few, enough = fidelity.statistics(normal(8)), fidelity.statistics(normal(9))
    assert few.caution == "n too small: 8 images for 8 features"
    assert enough.caution is None
    assert np.isfinite(fidelity.fid(few, enough))


def test_kid_is_the_unbiased_estimate_of_its_formula():
    a, b = correlated(60, 8, seed=1).astype(np.float64), correlated(60, 8, seed=2).astype(np.float64)
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


def test_precision_and_recall_equal_a_count_by_hand():
    real, fake = normal(200, seed=1), normal(150, seed=2, mean=0.7, scale=0.8)

    def inside(points, manifold):
        distances = np.linalg.norm(manifold[:, None] - manifold[None], axis=2)
        radius = np.sort(distances, axis=1)[:, 3]  # column 0 is the image itself
        return (np.linalg.norm(points[:, None] - manifold[None], axis=2) <= radius).any(axis=1).mean()

    found = fidelity.precision_recall(real, fake)
    assert found == pytest.approx((inside(fake, real), inside(real, fake)))


def test_precision_and_recall_know_same_far_and_collapsed():
    real = normal(300)
    assert fidelity.precision_recall(real, real) == (1, 1)
    assert fidelity.precision_recall(real, real + 100) == (0, 0)
    precision, recall = fidelity.precision_recall(real, normal(300, seed=3, scale=0.1))
    assert precision > 0.9 and recall < 0.1


def test_figures_do_not_suffer_from_a_far_origin():
    real, fake = normal(300, seed=1), normal(300, seed=2, mean=0.5)
    far = fidelity.precision_recall(real + 1000, fake + 1000)
    assert far == pytest.approx(fidelity.precision_recall(real, fake), abs=0.03)


def test_distance_grows_with_blur_and_is_largest_for_noise():
    rng = np.random.default_rng(0)
    edges = np.where(np.arange(64)[None] < rng.uniform(16, 48, size=(1000, 1)), 1.0, -1.0)
    real, other = edges[:500], edges[500:]

    def blurred(images, width):
        return np.apply_along_axis(lambda row: np.convolve(row, np.ones(width) / width, mode="same"), 1, images)

    noise = rng.uniform(-1, 1, size=(500, 64))
    distances = [fidelity.compare(real, fake, seed=0) for fake in (other, blurred(other, 5), blurred(other, 21), noise)]
    assert [d["fid"] for d in distances] == sorted(d["fid"] for d in distances)
    assert [d["kid"] for d in distances] == sorted(d["kid"] for d in distances)
    assert distances[0]["fid"] < distances[3]["fid"] / 20


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
@pytest.mark.parametrize("figure", [fid, lambda a, b: fidelity.kid(a, b, seed=0), fidelity.precision_recall])
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


def test_statistics_survive_a_round_trip_to_the_bit(tmp_path):
    statistics = fidelity.statistics(correlated(50, 16, seed=1))
    digest = statistics.save(tmp_path / "real.safetensors", {"split": "test"})
    again = fidelity.Statistics.load(tmp_path / "real.safetensors")
    assert (again.mu == statistics.mu).all() and (again.sigma == statistics.sigma).all() and again.count == 50
    assert statistics.save(tmp_path / "again.safetensors", {"split": "test"}) == digest


def test_damaged_statistics_are_refused(tmp_path):
    path = tmp_path / "real.safetensors"
    fidelity.statistics(normal()).save(path, {})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        fidelity.Statistics.load(path)


def test_tensors_that_are_no_statistics_are_refused(tmp_path):
    import torch

    from dcgan import files

    files.write_tensors(tmp_path / "a.safetensors", {"mu": torch.zeros(3), "sigma": torch.zeros(2, 2)}, {})
    with pytest.raises(DataError, match="must be mu D, sigma D x D, count"):
        fidelity.Statistics.load(tmp_path / "a.safetensors")
