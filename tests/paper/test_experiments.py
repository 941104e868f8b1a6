import json

import numpy as np
import pytest

from dcgan.errors import ConfigError
from dcgan.paper import experiments
from tests.support.by_hand import (
    Blob,
    classify,
    discriminator,
    noise_images,
    planted,
    same,
    state,
)
from tests.support.params import parsed

CLASSES = ["left", "middle", "right"]


def on_blobs(seed: int = 1, verdicts: bool = True) -> tuple[experiments.Experiments, dict]:
    """The experiments on a generator of blobs, and the results of three of them."""
    made = experiments.Experiments(
        Blob(), classify if verdicts else None, CLASSES, seed=seed, num_candidates=90
    )
    return made, {"walk": made.walk(), "arithmetic": made.arithmetic([]), "turn": made.turn()}


def test_the_experiments_are_the_same_again_and_others_for_another_seed():
    first, second, other = on_blobs(1)[1], on_blobs(1)[1], on_blobs(2)[1]
    for name, (picture, report) in first.items():
        assert np.array_equal(picture, second[name][0]) and report == second[name][1]
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        assert picture.shape != other[name][0].shape or not np.array_equal(picture, other[name][0])
    json.dumps({name: report for name, (_, report) in first.items()}, allow_nan=False)


def test_arithmetic_goes_where_the_concepts_say():
    """Left less middle plus right is the middle, because the place is nearly odd in z."""
    _, report = on_blobs()[1]["arithmetic"]
    assert report["concepts"] == CLASSES
    assert report["means_verdicts"] == CLASSES
    assert report["result_verdicts"][4] == "middle"


def test_turn_reports_what_moved_and_the_control_moves_less():
    _, report = on_blobs()[1]["turn"]
    assert (np.diff(report["mean_centre"]) > 0).all()
    assert report["shift"] == pytest.approx(report["mean_centre"][-1] - report["mean_centre"][0])
    assert len(set(report["shift_random"])) == experiments.TURN_CONTROLS
    assert np.abs(report["shift_random"]).mean() < report["shift"]
    assert max(report["left_centres"]) < min(report["right_centres"])
    assert report["share_still_of_the_class"][4] == 1
    assert report["samples"] in CLASSES


def test_without_verdicts_walk_and_turn_are_still_made():
    made, results = on_blobs(verdicts=False)
    assert results["arithmetic"] == (None, {"left_out": experiments.NO_VERDICTS})
    assert made.forgetting(None) == (None, {"left_out": experiments.NO_VERDICTS})
    assert results["turn"][1]["samples"] == "all samples"
    assert "share_still_of_the_class" not in results["turn"][1]
    assert results["walk"][0] is not None and results["turn"][0] is not None


def test_a_class_that_is_hardly_drawn_is_left_out_and_named():
    net = planted()
    made = experiments.Experiments(
        net, lambda images: np.eye(3)[[0] * len(images)], CLASSES, seed=1, num_candidates=60
    )
    assert made.arithmetic([])[1] == {
        "left_out": "0 of 60 samples are taken for middle: three are needed"
    }
    assert made.forgetting("right")[1]["left_out"].startswith(
        "0 of 60 samples are taken for right: at least 20"
    )
    with pytest.raises(ConfigError, match=r"paper\.forget names 'up'"):
        made.forgetting("up")


def test_the_forgetting_report_counts_the_class_and_the_others(monkeypatch):
    monkeypatch.setattr(experiments, "FORGETTING_SAMPLES", 100)
    net = planted()
    before = state(net)

    def bright(images: np.ndarray) -> np.ndarray:
        return np.eye(2)[(images > 128).any(axis=(1, 2, 3)).astype(int)]

    made = experiments.Experiments(net, bright, ["dark", "bright"], seed=1, num_candidates=100)
    picture, report = made.forgetting("bright")
    assert picture.shape[2] == 3
    assert report["class"] == "bright" and report["units"] == 4
    assert report["shares_without_class"] == {"dark": 1, "bright": 0}
    assert 0.3 < report["shares_without_none"]["bright"] < 0.7
    assert (report["class_unchanged_without_class"], report["others_unchanged_without_class"]) == (
        0,
        1,
    )
    assert same(before, state(net))
    counts = np.bincount(made.probabilities.argmax(axis=1))
    assert made.forgetting(None)[1]["class"] == ["dark", "bright"][counts.argmax()]


def test_the_guided_picture_has_both_networks_and_leaves_them():
    net = discriminator(16, channels=[3, 5], strides=[2, 2], kernel=4)
    before = state(net)
    images = noise_images(12)
    picture, report = experiments.guided(net, images, seed=1, init="glorot")
    again, _ = experiments.guided(net, images, seed=1, init="glorot")
    assert np.array_equal(picture, again) and same(before, state(net))
    assert (report["images"], report["maps"], report["top"]) == (12, 5, 3)
    for key in ("trained", "untrained"):
        assert all(
            row == sorted(row, reverse=True) and len(row) == 3 for row in report[f"responses_{key}"]
        )
    assert report["responses_trained"] != report["responses_untrained"]


@pytest.mark.parametrize(("values", "said"), [
    ({"arithmetic": ["a", "b"]},
     "paper: arithmetic has 2 values: must have three, A, B and C of A - B + C, or none"),
    ({"arithmetic": list("abcd")},
     "paper.arithmetic = ['a', 'b', 'c', 'd']: must be a list of at most 3 values"),
    ({"arithmetic": None}, "paper.arithmetic = None: must be a list of at most 3 values"),
    ({"num_candidates": 49}, "paper.num_candidates = 49: must be at least 50 and at most 1000000"),
    ({"forget": 3}, "paper.forget = 3: must be text or null"),
])  # fmt: skip
def test_wrong_values_are_refused_in_one_line(values, said):
    with pytest.raises(ConfigError) as caught:
        parsed(**{f"paper.{key}": value for key, value in values.items()})
    assert str(caught.value) == f"params.yaml: {said}"
