import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from dcgan import models, probe
from dcgan.config import DiscriminatorParams
from dcgan.errors import DataError


def blobs(count=600, dims=30, num_classes=4, seed=0, offset=0.5):
    """Overlapping clouds away from the origin, so that the intercept and the mean direction matter."""
    centres = np.random.default_rng(99).normal(size=(num_classes, dims))
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, count)
    return (centres[labels] + generator.normal(scale=2, size=(count, dims)) + offset).astype(np.float32), labels


def objective(weights, intercept, c, features, labels, num_classes=4):
    """The formula once more, in float64 and with nothing shared."""
    signs = np.where(labels[:, None] == np.arange(num_classes), 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (features.astype(np.float64) @ weights + intercept))
    return ((weights**2).sum() + (intercept**2).sum()) / 2 + c * (slack**2).sum()


def oracle(c, features, labels):
    svm = LinearSVC(C=c, loss="squared_hinge", dual=False, tol=1e-8, max_iter=10000).fit(features.astype(np.float64), labels)
    return svm.coef_.T, svm.intercept_


@pytest.mark.parametrize("c", [1e-4, 1e-2, 1.0])
def test_the_objective_is_that_of_linear_svc_and_as_small(c):
    features, labels = blobs()
    svm = probe.svm_path(features, labels, [c], 4)[0]
    best = objective(*oracle(c, features, labels), c, features, labels)
    assert svm.objective == pytest.approx(objective(svm.weights.astype(np.float64), svm.intercept, c, features, labels), rel=1e-5)
    assert best * (1 - 1e-6) <= svm.objective <= best * (1 + 1e-4)
    assert svm.gap <= 1e-4


def test_more_features_than_images_and_maps_after_relu_agree_with_linear_svc():
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = np.maximum(0, generator.normal(size=(120, 400)) + 0.5 * (labels[:, None] == np.arange(400) % 7)).astype(np.float32)
    svm = probe.svm_path(features, labels, [0.05], 3)[0]
    best = objective(*oracle(0.05, features, labels), 0.05, features, labels, 3)
    assert best * (1 - 1e-6) <= svm.objective <= best * (1 + 1e-4)
    assert (probe.predict(svm, features) == labels).mean() > 0.9


def test_two_classes_and_a_class_without_images_work():
    features, labels = blobs(num_classes=2)
    svm = probe.svm_path(features, labels, [0.01], 3)[0]
    assert probe.accuracy(svm, features, labels) > 0.8
    assert not (probe.predict(svm, features) == 2).any()


def test_a_warm_start_ends_where_a_cold_one_does():
    features, labels = blobs()
    path = probe.svm_path(features, labels, [1e-3, 1e-2, 1e-1], 4)
    assert [svm.c for svm in path] == [1e-3, 1e-2, 1e-1]
    for svm in path:
        cold = probe.svm_path(features, labels, [svm.c], 4)[0]
        assert svm.objective == pytest.approx(cold.objective, rel=1e-4)
        assert np.abs(svm.weights - cold.weights).max() < 0.02 * np.abs(cold.weights).max()


def test_the_path_rises_whatever_the_order_given_and_repeats_to_the_bit():
    features, labels = blobs()
    first, again = probe.svm_path(features, labels, [0.1, 0.01], 4), probe.svm_path(features, labels, [0.01, 0.1], 4)
    assert [svm.c for svm in first] == [0.01, 0.1]
    assert all((a.weights == b.weights).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_features_of_any_size_reach_the_gap_at_the_c_that_suits_them(scale):
    features, labels = blobs()
    assert probe.svm_path(features * np.float32(scale), labels, [0.01 / scale**2], 4)[0].gap <= 1e-4


def test_the_confusion_matrix_has_true_classes_in_rows():
    svm = probe.Svm(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 1.0, 0.0, 0.0)
    features = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    labels = np.array([0, 1, 0, 2])
    assert probe.confusion(svm, features, labels, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert probe.accuracy(svm, features, labels) == 0.75


def splits():
    found = {name: blobs(300, seed=seed) for seed, name in enumerate(("train", "validation", "test"))}
    return {name: pair[0] for name, pair in found.items()}, {name: pair[1] for name, pair in found.items()}


def test_c_is_chosen_on_validation_and_test_labels_change_nothing_but_the_test_figure():
    features, labels = splits()
    report = probe.choose_and_report(features, labels, [1e-5, 1e-2, 10], 4)
    shuffled = {**labels, "test": np.random.default_rng(0).permutation(labels["test"])}
    other = probe.choose_and_report(features, shuffled, [1e-5, 1e-2, 10], 4)
    assert other.figures.pop("test_accuracy") != report.figures["test_accuracy"]
    assert other.figures.items() <= report.figures.items()
    tried = {row["c"]: row["validation_accuracy"] for row in report.figures["tried"]}
    assert tried[report.figures["c"]] == max(tried.values()) == report.figures["validation_accuracy"]
    assert report.confusion.trace() / 300 == report.figures["test_accuracy"]


def test_validation_labels_decide_the_choice():
    features, labels = splits()
    path = {svm.c: svm for svm in probe.svm_path(features["train"], labels["train"], [1e-6, 10], 4)}
    for c, svm in path.items():
        liked = {**labels, "validation": probe.predict(svm, features["validation"])}
        assert probe.choose_and_report(features, liked, [1e-6, 10], 4).figures["c"] == c


@pytest.mark.parametrize(("channels", "size"), [((64, 128, 256), 16), ((128, 128, 256, 256, 512, 512), 7), ((64, 128), 14)])
def test_features_are_sixteen_times_the_channels(channels, size):
    maps = [torch.rand(2, count, size, size) for count in channels]
    assert probe.pool_features(maps).shape == (2, 16 * sum(channels))


def test_the_papers_networks_have_the_papers_dimensions():
    assert 16 * sum((64, 128, 256)) == 7168
    assert 16 * sum((128, 128, 256, 256, 512, 512)) == 28672


def test_pooling_takes_the_largest_value_of_each_sixteenth():
    layer = torch.arange(64.0).reshape(1, 1, 8, 8)
    expected = [row * 16 + 9 + column * 2 for row in range(4) for column in range(4)]
    assert probe.pool_features([layer, layer[:, :, :4, :4]])[0].tolist() == expected + layer[0, 0, :4, :4].flatten().tolist()


def discriminator():
    params = DiscriminatorParams(
        channels=[4, 8], strides=[2, 2], kernel=5, padding="same", norm="batch", norm_momentum=0.1, norm_eps=1e-5, slope=0.2,
        dropout=[0.3, 0.3], bias=True, head="linear", spectral_norm=False, init="glorot",
    )  # fmt: skip
    return models.Discriminator(params, 1, 28).eval()


def test_extracted_features_are_those_of_the_network_whatever_the_batches():
    network = discriminator()
    images = np.random.default_rng(0).integers(0, 256, (11, 1, 28, 28), np.uint8)
    found = probe.extract(network, images, batch_size=4)
    assert found.shape == (11, 16 * 12) and found.dtype == np.float32
    with torch.no_grad():
        expected = probe.pool_features(network.features(torch.from_numpy(images).float() / 127.5 - 1))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_features_without_a_network_are_the_pixels():
    images = np.array([[[[0, 255], [51, 102]]]], np.uint8)
    np.testing.assert_allclose(probe.extract(None, images), [[-1, 1, -0.6, -0.2]], atol=1e-6)


def changed(features, value):
    return np.where(np.arange(len(features))[:, None] == 3, np.float32(value), features)


X, Y = blobs(100)
BAD = {
    "one class": (X, Y * 0, r"one class only, images a class \[100, 0, 0, 0\]"),
    "constant features": (X * 0 + 1, Y, "the same for all images, by class"),
    "fewer images than classes": (X[:3], np.array([0, 1, 2]), r"3 images, by class \[1, 1, 1, 0\]"),
    "no images": (X[:0], Y[:0], "must be N x D"),
    "a label short": (X, Y[:-1], "must be N x D and N"),
    "a label too large": (X, Y + 1, "must be 0 to 3"),
    "a NaN": (changed(X, np.nan), Y, "not finite"),
    "an infinity": (changed(X, np.inf), Y, "not finite"),
    "an overflow": (changed(X, 1e25), Y, "too large"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_images_that_cannot_be_told_apart_are_refused_in_one_line(name):
    features, labels, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        probe.svm_path(features, labels, [0.01], 4)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 3


@pytest.mark.parametrize("split", ["validation", "test"])
def test_bad_images_of_another_split_are_refused_before_the_fit(split):
    features, labels = splits()
    with pytest.raises(DataError, match=f"{split}: features are not finite"):
        probe.choose_and_report({**features, split: changed(features[split], np.nan)}, labels, [0.01], 4)
    with pytest.raises(DataError, match=f"{split}: 29 features"):
        probe.choose_and_report({**features, split: features[split][:, :-1]}, labels, [0.01], 4)
