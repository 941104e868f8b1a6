import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from dcgan import data
from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.probing import probe, svm
from dcgan.probing.features import extract, squared_length
from tests.support.blobs import blobs, changed
from tests.support.probed import discriminator


def splits():
    """Features and labels by split."""
    pairs = {name: blobs(300, seed=seed) for seed, name in enumerate(data.SPLITS)}
    return {name: x for name, (x, _) in pairs.items()}, {name: y for name, (_, y) in pairs.items()}


def test_c_is_chosen_on_validation_and_test_labels_change_nothing_but_the_test_figure():
    features, labels = splits()
    report = probe.all_labels(features, labels, [1e-5, 1e-2, 10], 4)
    shuffled = {**labels, "test": np.random.default_rng(0).permutation(labels["test"])}
    other = probe.all_labels(features, shuffled, [1e-5, 1e-2, 10], 4)
    assert other.figures.pop("test_accuracy") != report.figures["test_accuracy"]
    assert other.figures.items() <= report.figures.items()
    tried = {row["c"]: row["validation_accuracy"] for row in report.figures["tried"]}
    assert (
        tried[report.figures["c"]] == max(tried.values()) == report.figures["validation_accuracy"]
    )
    assert report.confusion.trace() / 300 == report.figures["test_accuracy"]


def test_validation_labels_decide_the_choice():
    features, labels = splits()
    path = {
        fit.c: fit
        for fit in svm.fit_path(
            features["train"], labels["train"], [1e-6, 10], 4, gap=probe.ROUGH_GAP
        )
    }
    for c, fit in path.items():
        liked = {**labels, "validation": svm.predict(fit, features["validation"])}
        assert probe.all_labels(features, liked, [1e-6, 10], 4).figures["c"] == c


def test_few_labels_are_drawn_balanced_and_anew_and_choose_c_on_validation():
    features, labels = splits()
    which = [
        (1, probe.CHOOSE, 0),
        (1, probe.CHOOSE, 0),
        (1, probe.CHOOSE, 1),
        (1, probe.REPORT, 0),
        (2, probe.CHOOSE, 0),
    ]
    rows = [probe.draw_rows(labels["train"], 4, 20, *draw) for draw in which]
    assert all(
        np.bincount(labels["train"][drawn]).tolist() == [20] * 4 and len(set(drawn)) == 80
        for drawn in rows
    )
    assert (rows[0] == rows[1]).all() and not any((rows[0] == other).all() for other in rows[2:])
    figures = probe.few_labels(
        features, labels, [1, 1e-3, 1e-7], 4, seed=1, labels_per_class=20, draws=5
    ).figures
    tried = {row["c"]: row["validation_error"] for row in figures["tried"]}
    assert list(tried) == [1e-7, 1e-3, 1]
    assert tried[figures["c"]] == min(tried.values()) == figures["validation_error"]


def test_few_labels_report_mean_and_spread_of_fits_that_linear_svc_confirms():
    features, labels = splits()
    report = probe.few_labels(features, labels, [1e-2], 4, seed=3, labels_per_class=25, draws=6)
    errors = []
    for draw in range(6):
        rows = probe.draw_rows(labels["train"], 4, 25, 3, probe.REPORT, draw)
        theirs = LinearSVC(C=1e-2, loss="squared_hinge", dual=False, tol=1e-8).fit(
            features["train"][rows], labels["train"][rows]
        )
        errors.append(1 - theirs.score(features["test"], labels["test"]))
    assert report.figures["test_error"] == pytest.approx(np.mean(errors), abs=0.005)
    assert report.figures["test_error_1.96_sigma"] == pytest.approx(
        1.96 * np.std(errors, ddof=1), abs=0.01
    )
    assert report.confusion.sum() == 6 * 300
    assert f"{100 * report.figures['test_error']:.2f} +-" in report.title


def test_with_few_labels_test_labels_change_nothing_but_the_test_figures():
    features, labels = splits()
    shuffled = {**labels, "test": np.random.default_rng(0).permutation(labels["test"])}
    figures, other = (
        probe.few_labels(
            features, given, [1e-5, 1e-2], 4, seed=1, labels_per_class=20, draws=3
        ).figures
        for given in (labels, shuffled)
    )
    for key in ("test_error", "test_error_1.96_sigma"):
        assert figures.pop(key) != other.pop(key)
    assert figures == other


@pytest.mark.holds("R-47")
def test_a_class_with_too_few_images_for_a_draw_is_refused():
    features, labels = splits()
    with pytest.raises(
        DataError, match=r"images of class \d: must be 150 or more; lower probe.labels_per_class"
    ):
        probe.few_labels(features, labels, [1e-2], 4, seed=1, labels_per_class=150, draws=2)


def test_the_layers_compute_in_the_precision_asked_for_and_the_svm_does_not(monkeypatch):
    network, seen = discriminator(), []
    for block in network.blocks:
        block.register_forward_hook(lambda block, inputs, maps: seen.append(maps.dtype))
    monkeypatch.setattr(
        probe, "all_labels", lambda features, *rest: (features, torch.is_autocast_enabled("cpu"))
    )
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 28, 28), np.uint8)
    some = {name: data.Split(images, np.arange(8) % 4) for name in data.SPLITS}
    params = sections.Probe(
        protocol="cifar10", c=[2.0], c_unit="one", num_train=8, labels_per_class=1, num_draws=2
    )
    (exact, _), (rounded, autocast) = (
        probe.measure(network, some, params, 4, 0, precision)
        for precision in ("float32", "bfloat16")
    )
    assert set(seen[:6]) == {torch.float32} and set(seen[6:]) == {torch.bfloat16} and not autocast
    assert (
        rounded["train"].dtype == np.float32
        and 0 < np.abs(rounded["train"] - exact["train"]).max() < 0.02
    )


def test_the_precision_is_that_of_the_training_where_the_processor_has_it(monkeypatch):
    for has_it in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has_it=has_it: has_it)
        cpu = torch.device("cpu")
        assert probe.choose_precision("float32", cpu) == "float32"
        assert probe.choose_precision("bfloat16", cpu) == ("bfloat16" if has_it else "float32")


def test_c_in_units_of_the_features_length_does_not_depend_on_their_scale():
    features, _ = splits()
    length = squared_length(features["train"])
    assert length == pytest.approx(
        np.mean([row @ row for row in features["train"].astype(np.float64)])
    )
    assert squared_length(3 * features["train"]) == pytest.approx(9 * length, rel=1e-5)
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4), np.uint8)
    some = {name: data.Split(images, np.arange(40) % 4) for name in data.SPLITS}
    params = sections.Probe(
        protocol="cifar10",
        c=[2.0],
        c_unit="features",
        num_train=40,
        labels_per_class=1,
        num_draws=2,
    )
    in_units = probe.measure(None, some, params, 4, seed=0).figures["c"]
    assert in_units == pytest.approx(2 / squared_length(extract(None, images)))
    assert (
        probe.measure(None, some, params.model_copy(update={"c_unit": "one"}), 4, seed=0).figures[
            "c"
        ]
        == 2
    )


@pytest.mark.parametrize("split", ["validation", "test"])
def test_bad_images_of_another_split_are_refused_before_the_fit(split):
    features, labels = splits()
    with pytest.raises(DataError, match=f"{split}: features are not finite"):
        probe.all_labels({**features, split: changed(features[split], np.nan)}, labels, [0.01], 4)
    with pytest.raises(DataError, match=f"{split}: 29 features"):
        probe.all_labels({**features, split: features[split][:, :-1]}, labels, [0.01], 4)


def test_few_train_images_of_a_sorted_set_are_of_all_classes():
    """The first ones would be of one class."""
    shades = np.repeat([20, 120, 220], 40)
    noise = np.random.default_rng(0).integers(0, 20, (120, 1, 8, 8), np.uint8)
    images = (shades[:, None, None, None] + noise).astype(np.uint8)
    some = {name: data.Split(images, np.repeat([0, 1, 2], 40)) for name in data.SPLITS}
    params = sections.Probe(
        protocol="cifar10", c=[1.0], c_unit="features", num_train=30, labels_per_class=1,
        num_draws=2,
    )  # fmt: skip
    assert probe.measure(None, some, params, 3, seed=0).figures["test_accuracy"] == 1
