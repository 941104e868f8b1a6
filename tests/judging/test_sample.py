import numpy as np
import pytest

from dcgan.errors import DataError
from dcgan.judging.sample import Sample, Statistics, class_histogram, require_pair

FEATURES = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (FEATURES[0], "must be N x D"),
        (FEATURES[:, :0], "must be N x D"),
        (np.where(np.arange(50)[:, None] == 3, np.nan, FEATURES), "1 of 50 images are not finite"),
        (np.where(np.arange(50)[:, None] == 3, -np.inf, FEATURES), "1 of 50 images"),
        (FEATURES * 1e6, "50 of 50 images are not finite or above 100000"),
    ],
)
def test_features_are_checked_when_the_sample_is_made(features, message):
    with pytest.raises(DataError, match=message) as caught:
        Sample(features)
    assert "\n" not in str(caught.value)


def test_the_statistics_are_those_of_numpy_and_computed_once():
    sample = Sample(FEATURES)
    statistics = sample.statistics
    np.testing.assert_allclose(statistics.mu, FEATURES.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(statistics.sigma, np.cov(FEATURES.astype(np.float64), rowvar=False))
    assert sample.statistics is statistics and statistics.count == 50
    assert Statistics.of(FEATURES[:, :1]).sigma.shape == (1, 1)
    with pytest.raises(DataError, match="statistics: 1 images: must be at least 2"):
        _ = Sample(FEATURES[:1]).statistics


def test_samples_are_pooled_and_taken_with_their_verdicts():
    first, second = Sample(FEATURES[:30], np.arange(30)), Sample(FEATURES[30:], np.arange(30, 50))
    pooled = Sample.pooled([first, second])
    assert (pooled.features == FEATURES).all() and (pooled.verdicts == np.arange(50)).all()
    taken = pooled.taken(np.array([7, 3]))
    assert (taken.features == FEATURES[[7, 3]]).all() and taken.verdicts.tolist() == [7, 3]
    plain = Sample.pooled([Sample(FEATURES), Sample(FEATURES)])
    assert len(plain) == 100 and plain.verdicts is None
    assert plain.taken(np.array([0])).verdicts is None


def test_two_samples_need_enough_images_and_the_same_features():
    require_pair("KID", Sample(FEATURES), Sample(FEATURES), 50)
    with pytest.raises(DataError, match="KID: 50 images: must be at least 51"):
        require_pair("KID", Sample(FEATURES), Sample(FEATURES), 51)
    with pytest.raises(DataError, match="KID: 8 features against 7: must be the same extractor"):
        require_pair("KID", Sample(FEATURES), Sample(FEATURES[:, :7]), 2)


def test_the_class_histogram_counts_every_class():
    assert class_histogram(np.array([0, 2, 2]), 4) == [1, 0, 2, 0]


@pytest.mark.parametrize("verdicts", [[], [-1], [0, 10]])
def test_verdicts_out_of_range_are_refused(verdicts):
    with pytest.raises(DataError, match="must be 0 to 9"):
        class_histogram(np.array(verdicts, np.int64), 10)
