from collections import Counter

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from dcgan.errors import DataError
from dcgan.probing import svm
from tests.support.blobs import blobs, changed, objective


def oracle(c, features, labels):
    theirs = LinearSVC(C=c, loss="squared_hinge", dual=False, tol=1e-8, max_iter=10000).fit(
        features.astype(np.float64), labels
    )
    return theirs.coef_, theirs.intercept_


# The preconditioner is the Hessian's inverse with 30 features; with 1,100 it comes from all or some
# of the rows inside the margin.
@pytest.mark.parametrize(("count", "dims", "c"), [
    (600, 30, 1e-4), (600, 30, 1e-2), (600, 30, 1.0), (400, 1100, 1e-4), (400, 1100, 1e-2),
    (800, 1100, 1e-6), (800, 1100, 1e-4), (800, 1100, 1e-2),
])  # fmt: skip
def test_the_objective_is_that_of_linear_svc_and_as_small(count, dims, c):
    features, labels = blobs(count, dims)
    fit = svm.fit_path(features, labels, [c], 4)[0]
    best = objective(*oracle(c, features, labels), c, features, labels)
    assert fit.objective == pytest.approx(
        objective(fit.weights.astype(np.float64), fit.intercept, c, features, labels), rel=1e-5
    )
    assert best * (1 - 1e-6) <= fit.objective <= best * (1 + 1e-4)
    assert fit.gap <= 1e-4


def test_more_features_than_images_and_maps_after_relu_agree_with_linear_svc():
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = np.maximum(
        0, generator.normal(size=(120, 400)) + 0.5 * (labels[:, None] == np.arange(400) % 7)
    ).astype(np.float32)
    fit = svm.fit_path(features, labels, [0.05], 3)[0]
    best = objective(*oracle(0.05, features, labels), 0.05, features, labels, 3)
    assert best * (1 - 1e-6) <= fit.objective <= best * (1 + 1e-4)
    assert (svm.predict(fit, features) == labels).mean() > 0.9


def test_two_classes_and_a_class_without_images_work():
    features, labels = blobs(num_classes=2)
    fit = svm.fit_path(features, labels, [0.01], 3)[0]
    assert svm.accuracy(fit, features, labels) > 0.8
    assert not (svm.predict(fit, features) == 2).any()


def test_a_warm_start_ends_where_a_cold_one_does():
    features, labels = blobs()
    path = svm.fit_path(features, labels, [1e-3, 1e-2, 1e-1], 4)
    assert [fit.c for fit in path] == [1e-3, 1e-2, 1e-1]
    for fit in path:
        cold = svm.fit_path(features, labels, [fit.c], 4)[0]
        assert fit.objective == pytest.approx(cold.objective, rel=1e-4)
        assert np.abs(fit.weights - cold.weights).max() < 0.02 * np.abs(cold.weights).max()


def test_the_path_rises_whatever_the_order_given_and_repeats_to_the_bit():
    features, labels = blobs()
    first, again = (
        svm.fit_path(features, labels, [0.1, 0.01], 4),
        svm.fit_path(features, labels, [0.01, 0.1], 4),
    )
    assert [fit.c for fit in first] == [0.01, 0.1]
    assert all((a.weights == b.weights).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_features_of_any_size_reach_the_gap_at_the_c_that_suits_them(scale):
    features, labels = blobs()
    assert svm.fit_path(features * np.float32(scale), labels, [0.01 / scale**2], 4)[0].gap <= 1e-4


def test_the_confusion_matrix_has_true_classes_in_rows():
    fit = svm.Svm(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 1.0, 0.0, 0.0)
    features = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    labels = np.array([0, 1, 0, 2])
    assert svm.confusion(fit, features, labels, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert svm.accuracy(fit, features, labels) == 0.75


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


@pytest.mark.holds("R-47")
@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_images_that_cannot_be_told_apart_are_refused_in_one_line(name):
    features, labels, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        svm.fit_path(features, labels, [0.01], 4)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 3


def test_a_confusion_matrix_is_a_row_for_each_image_or_its_share_of_many():
    rows = svm.confusion_rows(np.array([[2, 1], [0, 3]]), ["a", "b"])
    pairs = Counter((row["actual"], row["predicted"]) for row in rows)
    assert pairs == {("a", "a"): 2, ("a", "b"): 1, ("b", "b"): 3}
    many = svm.confusion_rows(np.array([[3_000_000, 0], [1_000_000, 0]]), ["a", "b"])
    pairs = Counter((row["actual"], row["predicted"]) for row in many)
    assert pairs == {("a", "a"): 15_000, ("b", "a"): 5_000}
