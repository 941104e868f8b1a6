import numpy as np
import prdc
import pytest
import torch
import torch.nn.functional as F
from torch_fidelity.metric_prc import prc_features_to_metric

from dcgan import rng
from dcgan.errors import DataError
from dcgan.judging import fidelity, manifold
from dcgan.judging.manifold import Manifold
from dcgan.judging.sample import Sample
from tests.support import shapes


def normal(count=300, dims=8, seed=0, mean=0.0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=(count, dims)) * scale + mean).astype(
        np.float32
    )


def compare(real, fake):
    return manifold.compare(Manifold.of(Sample(real)), Sample(fake))


def pairwise(a, b):
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)


def published(real, fake, k):
    """The four definitions of Naeem et al., 2020, section 3, word by word.

    The inequalities are those of the authors' program.
    """
    real_radii, fake_radii = (
        np.sort(pairwise(x, x), axis=1)[:, k] for x in (real, fake)
    )  # column 0 is the image itself
    distances = pairwise(real, fake)
    return {
        "precision": (distances < real_radii[:, None]).any(axis=0).mean(),
        "recall": (distances < fake_radii[None]).any(axis=1).mean(),
        "density": (distances < real_radii[:, None]).sum(axis=0).mean() / k,
        "coverage": (distances.min(axis=1) < real_radii).mean(),
    }


PAIRS = {
    "same": (normal(seed=1), normal(seed=2)),
    "other sizes": (normal(200, seed=1), normal(311, seed=2, mean=0.7, scale=0.8)),
    "narrow": (normal(seed=1), normal(seed=2, scale=0.2)),
    "wide": (normal(150, 32, seed=1), normal(200, 32, seed=2, scale=1.3)),
}


@pytest.mark.parametrize("chunk", [manifold.CHUNK, 3000])
@pytest.mark.parametrize("name", PAIRS)
def test_the_figures_equal_the_published_definitions(monkeypatch, name, chunk):
    monkeypatch.setattr(manifold, "CHUNK", chunk)  # ten rows at a time, the last turn fewer
    real, fake = PAIRS[name]
    ours, three, five = compare(real, fake), published(real, fake, 3), published(real, fake, 5)
    assert (ours["precision"], ours["recall"]) == pytest.approx(
        (three["precision"], three["recall"])
    )
    assert (ours["density"], ours["coverage"]) == pytest.approx((five["density"], five["coverage"]))
    assert three != five  # or else a wrong k would not show


@pytest.mark.parametrize("name", PAIRS)
def test_precision_and_recall_equal_those_of_torch_fidelity(name):
    real, fake = PAIRS[name]
    theirs = prc_features_to_metric(
        *(torch.from_numpy(features) for features in (fake, real)),
        prc_neighborhood=3,
        prc_batch_size=100,
        save_cpu_ram=False,
        verbose=False,
    )
    ours = compare(real, fake)
    assert (ours["precision"], ours["recall"]) == pytest.approx(
        (theirs["precision"], theirs["recall"])
    )


@pytest.mark.parametrize("name", PAIRS)
def test_the_figures_equal_those_of_prdc(name):
    real, fake = PAIRS[name]
    three, five = (prdc.compute_prdc(real, fake, nearest_k=k) for k in (3, 5))
    expected = {**five, "precision": three["precision"], "recall": three["recall"]}
    assert compare(real, fake) == pytest.approx(expected)


def test_a_manifold_that_is_used_again_gives_the_same_figures():
    real, fake = PAIRS["other sizes"]
    measured = Manifold.of(Sample(real))
    first, second = (manifold.compare(measured, Sample(fake)) for _ in range(2))
    assert first == second == compare(real, fake)


def test_the_figures_know_same_far_and_collapsed():
    real = normal()
    same = compare(real, real.copy())
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    assert same["density"] == pytest.approx(1, abs=0.02)
    assert set(compare(real, real + 100).values()) == {0}
    narrow = compare(real, normal(seed=3, scale=0.1))
    assert narrow["precision"] > 0.9 and narrow["density"] > 1
    assert narrow["recall"] < 0.1 and narrow["coverage"] < 0.5


def test_a_far_origin_leaves_the_figures():
    real, fake = normal(seed=1), normal(seed=2, mean=0.5)
    real, fake = (
        np.round(features * 256) / 256 for features in (real, fake)
    )  # which float32 holds exactly beside 1000
    assert compare(real + 1000, fake + 1000) == pytest.approx(compare(real, fake), abs=0.004)


def test_identical_images_have_defined_figures():
    one = np.full((50, 8), 0.3, np.float32)
    # On the rim of balls without size: inside for precision and recall, outside for density and
    # coverage.
    assert compare(one, one) == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}
    assert set(compare(one, one + 2).values()) == {0}
    real = normal(300, 32, seed=1)
    copies = compare(real, np.repeat(real[:20], 40, axis=0))
    assert copies["precision"] == 1
    assert copies["recall"] == pytest.approx(20 / 300)  # the real images that they are


def test_one_image_far_off_makes_noise_precise_but_covers_nothing():
    real = np.concatenate([normal(300, scale=0.1), np.full((1, 8), 50, np.float32)])
    noise = normal(300, seed=1, mean=20)
    figures = compare(real, noise)
    assert figures["precision"] == 1 and figures["density"] > 0
    assert figures["recall"] == 0 and figures["coverage"] < 0.01


def features_of(images):
    """128 features: two layers of random filters, their answers in each quarter of the image."""
    generator = rng.generator(0, "filters")
    values = torch.from_numpy(images).float() / 127.5 - 1
    for inputs, outputs in ((1, 16), (16, 32)):
        weight = torch.randn(outputs, inputs, 5, 5, generator=generator) / (25 * inputs) ** 0.5
        values = F.conv2d(values, weight, stride=2).relu()
    return F.adaptive_avg_pool2d(values, 2).flatten(1).numpy()


def test_which_figures_keep_the_order_from_real_to_noise():
    def blurred(images, width):
        tensor = F.avg_pool2d(
            torch.from_numpy(images).float(), width, 1, width // 2, count_include_pad=False
        )
        return tensor.round().to(torch.uint8).numpy()

    images, other = (shapes.draw(400, 28, 1, seed)[0] for seed in (0, 5))
    noise = np.random.default_rng(0).integers(0, 256, other.shape, np.uint8)
    real = Sample(features_of(images))
    fakes = [
        Sample(features_of(fake)) for fake in (other, blurred(other, 3), blurred(other, 7), noise)
    ]
    for figure in (
        lambda fake: fidelity.fid(real.statistics, fake.statistics),
        lambda fake: fidelity.kid(real, fake, seed=0)[0],
        lambda fake: fidelity.fid_infinity(real.statistics, fake, seed=0),
    ):
        distances = [figure(fake) for fake in fakes]
        assert distances == sorted(distances)
    measured = Manifold.of(real)
    figures = [manifold.compare(measured, fake) for fake in fakes]
    recalls = [each["recall"] for each in figures]
    assert recalls == sorted(recalls, reverse=True) and recalls[0] > 0.8 and recalls[1] < 0.5
    # Density does not promise it: blurred images lie denser than real ones.
    assert figures[1]["density"] > figures[0]["density"] > figures[3]["density"]


BAD = {
    "no images": (normal(0), "0 images: must be at least 6"),
    "two images": (normal(2), "2 images: must be at least 6"),
    "five images": (normal(5), "5 images: must be at least 6"),
    "a NaN": (np.where(np.arange(300)[:, None] == 3, np.nan, normal()), "1 of 300"),
    "an infinity": (np.where(np.arange(300)[:, None] == 3, np.inf, normal()), "1 of 300"),
    "other features": (normal(dims=9), "8 features against 9|9 features against 8"),
    "one row": (normal()[0], "N x D"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_features_are_refused_in_one_line(name):
    features, message = BAD[name]
    for pair in ((normal(), features), (features, normal())):
        with pytest.raises(DataError, match=message) as caught:
            compare(*pair)
        assert "\n" not in str(caught.value) and caught.value.exit_code == 3


def test_the_fewest_images_have_figures():
    assert np.isfinite(list(compare(normal(6), normal(6, seed=1)).values())).all()


def nearest(queries, among):
    return manifold.nearest(Sample(queries), Sample(among))


def memorisation(fake, train, test):
    return manifold.memorisation(Sample(fake), Sample(train), Sample(test))


@pytest.mark.parametrize("chunk", [manifold.CHUNK, 1000])
def test_the_nearest_neighbours_are_those_of_all_pairs(monkeypatch, chunk):
    monkeypatch.setattr(manifold, "CHUNK", chunk)
    queries, among = normal(101, seed=1, mean=5), normal(200, seed=2, mean=5)
    distances, indices = nearest(queries, among)
    every = pairwise(queries, among)
    assert (indices == every.argmin(axis=1)).all() and indices.dtype == np.int64
    assert distances == pytest.approx(every.min(axis=1), rel=1e-6)
    assert distances.dtype == np.float32


def test_a_copy_is_at_distance_nothing():
    among = normal(50, mean=1000)
    distances, indices = nearest(among[[7, 3]], among)
    assert distances.tolist() == [0, 0] and indices.tolist() == [7, 3]


def test_small_distances_are_exact():
    among = np.round(normal(50, scale=100))
    distances, indices = nearest(among[7:8] + 2**-10, among)
    assert indices.tolist() == [7] and distances[0] == pytest.approx(8**0.5 * 2**-10, rel=1e-6)


def test_copies_of_training_images_are_found():
    train, test, fake = normal(1000, seed=1), normal(500, seed=2), normal(600, seed=3)
    honest, _ = memorisation(fake, train, test)
    assert honest["ratio"] == pytest.approx(1, abs=0.05) and honest[
        "closer_than_test"
    ] == pytest.approx(0.01, abs=0.01)
    fake[100:160] = train[300:360] + normal(60, seed=4, scale=1e-3)
    fake[5] = train[8]
    memorised, pairs = memorisation(fake, train, test)
    assert memorised["closer_than_test"] == pytest.approx(
        honest["closer_than_test"] + 61 / 600, abs=0.004
    )
    assert memorised["ratio"] < honest["ratio"]
    assert memorised["test_to_train"] == honest["test_to_train"]
    assert pairs[0] == (5, 8, 0) and len(pairs) == 10
    assert all(train_index == index + 200 for index, train_index, _ in pairs[1:])


def test_the_medians_are_those_of_the_nearest_distances():
    train, test, fake = normal(100, seed=1), normal(80, seed=2), normal(60, seed=3, mean=1)
    memorised, _ = memorisation(fake, train, test)
    medians = [np.median(pairwise(a, train).min(axis=1)) for a in (fake, test)]
    assert [memorised["generated_to_train"], memorised["test_to_train"]] == pytest.approx(medians)
    assert memorised["ratio"] == pytest.approx(medians[0] / medians[1]) and memorised["ratio"] > 1


def test_without_a_test_distance_there_is_no_ratio():
    train = normal(50)
    memorised, pairs = memorisation(normal(5, seed=1), train, train)
    assert set(memorised) == {"generated_to_train", "test_to_train", "closer_than_test"}
    assert (
        memorised["test_to_train"] == 0 and memorised["closer_than_test"] == 0 and len(pairs) == 5
    )
    copied, _ = memorisation(np.concatenate([normal(4, seed=1), train[:1]]), train, train)
    assert copied["closer_than_test"] == pytest.approx(1 / 5)


@pytest.mark.parametrize("place", range(3))
def test_memorisation_of_bad_features_is_refused(place):
    for bad in (normal(0), normal() * np.nan, normal(dims=9)):
        arrays = [normal(seed=seed) for seed in range(3)]
        arrays[place] = bad
        with pytest.raises(DataError, match=r"nearest neighbours: |features: "):
            memorisation(*arrays)
