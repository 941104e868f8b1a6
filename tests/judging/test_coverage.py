import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from dcgan.errors import DataError
from dcgan.judging import coverage
from dcgan.judging.coverage import Diversity
from dcgan.judging.sample import Sample

EVEN = [0.1] * 10


def clusters(count, seed, spread=1.0, dims=32, modes=10):
    """Images of ten kinds: centres far apart, each kind with a spread of its own."""
    centres = np.random.default_rng(99).normal(size=(modes, dims)) * 3
    generator = np.random.default_rng(seed)
    return (
        centres[generator.integers(modes, size=count)]
        + generator.normal(size=(count, dims)) * spread
    ).astype(np.float32)


@pytest.fixture(scope="module")
def diversity():
    return Diversity.of(Sample(clusters(1500, seed=0)), seed=1)


def test_even_classes_diverge_by_nothing():
    classes = coverage.class_coverage(np.arange(1000) % 10, EVEN)
    assert classes["class_shares"] == EVEN and classes["smallest_class_share"] == 0.1
    assert classes["js_divergence"] == pytest.approx(0, abs=1e-12) and classes["js_divergence"] >= 0
    assert classes["dropped_classes"] == []


def test_the_divergence_is_the_square_of_scipys_distance_in_bits():
    verdicts = np.random.default_rng(0).choice(3, 500, p=[0.2, 0.7, 0.1])
    real = [0.5, 0.2, 0.3]
    classes = coverage.class_coverage(verdicts, real)
    assert classes["js_divergence"] == pytest.approx(
        jensenshannon(classes["class_shares"], real, base=2) ** 2
    )


def test_no_class_in_common_is_one_bit():
    classes = coverage.class_coverage(np.zeros(50, np.int64), [0, 0.5, 0.5])
    assert classes["js_divergence"] == pytest.approx(1) and classes["js_divergence"] <= 1
    assert classes["smallest_class_share"] == 0


def test_the_divergence_of_equal_shares_is_never_nan():
    # scipy's distance is NaN for some of these.
    generator = np.random.default_rng(0)
    for _ in range(200):
        counts = generator.multinomial(1000, EVEN)
        shares = counts / counts.sum() * (1 + generator.normal(size=10) * 1e-15)
        assert (
            0
            <= coverage.class_coverage(np.repeat(np.arange(10), counts), shares.tolist())[
                "js_divergence"
            ]
            < 1e-12
        )


def test_a_class_is_dropped_below_a_tenth_of_its_real_share():
    counts = [400, 9, 11, 0, 580]
    classes = coverage.class_coverage(np.repeat(np.arange(5), counts), [0.4, 0.1, 0.1, 0, 0.4])
    assert classes["dropped_classes"] == [1]  # class 3 has no real images to speak of
    assert classes["class_shares"] == pytest.approx([0.4, 0.009, 0.011, 0, 0.58])


@pytest.mark.parametrize("shares", [[], [0.5, 0.4], [0.5, np.nan], [1.5, -0.5], [[0.5, 0.5]]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(DataError, match="must be at least 0 and sum to 1"):
        coverage.class_coverage(np.zeros(5, np.int64), shares)


@pytest.mark.parametrize("verdicts", [[], [-1], [10]])
def test_verdicts_out_of_range_are_refused(verdicts):
    with pytest.raises(DataError, match="must be 0 to 9"):
        coverage.class_coverage(np.array(verdicts, np.int64), EVEN)


def test_the_vendi_score_counts_images_that_have_nothing_in_common():
    corners = np.eye(7, dtype=np.float32) * 1000
    assert coverage.vendi(Sample(corners), width=1, seed=0) == pytest.approx(7)
    assert coverage.vendi(Sample(np.repeat(corners, 5, axis=0)), width=1, seed=0) == pytest.approx(
        7
    )
    assert coverage.vendi(Sample(corners[:1]), width=1, seed=0) == pytest.approx(1)


def test_the_vendi_score_of_two_images_has_a_closed_form():
    images = np.array([[0, 0], [3, 4]], np.float32)
    likeness = np.exp(-(5**2) / (2 * 4**2))
    shares = np.array([1 + likeness, 1 - likeness]) / 2
    assert coverage.vendi(Sample(images), width=4, seed=0) == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum())
    )


def test_the_vendi_score_is_of_a_thousand_images_drawn_by_the_seed():
    many = Sample(clusters(1500, seed=3))
    first = coverage.vendi(many, width=3, seed=0)
    assert coverage.vendi(many, width=3, seed=0) == first != coverage.vendi(many, width=3, seed=1)
    assert coverage.vendi(Sample(np.arange(1200.0)[:, None]), width=0.01, seed=0) == pytest.approx(
        1000
    )


def test_the_width_is_half_the_median_distance_of_real_images():
    real = np.repeat(np.array([[0, 0], [6, 8]], np.float32), 20, axis=0)[:30]
    with pytest.raises(DataError, match="most of the real images are identical"):
        Diversity.of(Sample(real), seed=0)  # 190 + 45 pairs of 435
    assert Diversity.of(Sample(real[6:]), seed=0).width == pytest.approx(5)  # 91 + 45 pairs of 276


@pytest.mark.holds("R-43")
def test_a_constant_generator_is_flagged(diversity):
    flagged, score = diversity.collapsed(Sample(np.repeat(clusters(1, seed=2), 500, axis=0)))
    assert flagged is True and score == pytest.approx(1)


@pytest.mark.holds("R-43")
@pytest.mark.parametrize("noise", [0, 0.1, 0.3])
@pytest.mark.parametrize("count", [20, 500, 2000])
def test_a_generator_of_two_modes_is_flagged(diversity, noise, count):
    modes = np.repeat(clusters(2, seed=2), count // 2, axis=0)
    around = np.random.default_rng(3).normal(size=modes.shape) * noise  # the real kinds have 1
    flagged, score = diversity.collapsed(Sample((modes + around).astype(np.float32)))
    assert flagged is True and score < 3


@pytest.mark.holds("R-43")
@pytest.mark.parametrize("seed", range(20))
def test_real_images_are_not_flagged(seed):
    measured = Diversity.of(Sample(clusters(1200, seed=50 + seed)), seed)
    count = (20, 100, 1000, 1300)[seed % 4]
    flagged, score = measured.collapsed(Sample(clusters(count, seed=seed)))
    assert flagged is False and score > 5


def test_few_images_are_compared_with_as_few_real_ones():
    def scattered(count, seed):
        return Sample(np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32))

    measured = Diversity.of(scattered(1000, seed=0), seed=1)
    flagged, score = measured.collapsed(scattered(25, seed=7))
    assert score < measured.real_score / 4 and not flagged


BAD = {
    "no images": (clusters(0, 0), "0 images: must be at least 20"),
    "nineteen images": (clusters(19, 0), "19 images: must be at least 20"),
    "a NaN": (clusters(30, 0) * np.nan, "30 of 30"),
    "one row": (clusters(30, 0)[0], "N x D"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_features_are_refused(diversity, name):
    features, message = BAD[name]
    for figure in (lambda sample: Diversity.of(sample, seed=0), diversity.collapsed):
        with pytest.raises(DataError, match=message) as caught:
            figure(Sample(features))
        assert "\n" not in str(caught.value) and caught.value.exit_code == 3


def test_features_of_another_extractor_are_refused(diversity):
    with pytest.raises(DataError, match="32 features against 8"):
        diversity.collapsed(Sample(clusters(30, 0, dims=8)))
