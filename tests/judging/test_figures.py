"""The table of figures, and metrics files of both shapes."""

import copy
import math

import pytest

from dcgan.errors import DataError
from dcgan.judging import figures

PROTOCOL = {"draws": 5, "generated_images": 10_000, "extractor": "classifier"}
NEW = {
    "protocol": PROTOCOL,
    "fid": {"mean": 5.6, "deviation": 0.1},
    "kid": {"mean": 0.08, "deviation": 0.002},
    "kid_std": {"mean": 0.01, "deviation": 0.001},
    "recall": {"mean": 0.5, "deviation": 0.01},
    "fid_infinity": {"mean": 5.5, "deviation": None},
    "collapsed": False,
    "memorisation": {"ratio": 1.3},
    "validation": {"fid": 5.7},
    "last_epoch_validation": {"raw": {"fid": 5.9}, "ema": {"fid": 5.8}},
    "floor": {"fid": 0.1},
}
OLD = {
    "protocol": PROTOCOL,
    "fid_10k": 5.6, "kid_10k": 0.08, "kid_std_10k": 0.01, "recall": 0.5, "fid_infinity": 5.5,
    "noise": {"fid_10k": 0.1, "kid_10k": 0.002, "kid_std_10k": 0.001, "recall": 0.01},
    "collapsed": False,
    "memorisation": {"ratio": 1.3},
    "validation": {"fid_10k": 5.7},
    "last_epoch_validation": {"raw": {"fid_10k": 5.9}, "ema": {"fid_10k": 5.8}},
    "floor": {"fid": 0.1},
}  # fmt: skip


def test_metrics_written_before_are_read_as_those_of_today():
    before = copy.deepcopy(OLD)
    assert figures.read(OLD, "metrics.json") == NEW == figures.read(NEW, "metrics.json")
    assert before == OLD
    odd = {
        "protocol": {**PROTOCOL, "generated_images": 64},
        "fid_64": 1.0,
        "noise": {"fid_64": 0.5},
    }
    assert figures.read(odd, "x")["fid"] == {"mean": 1.0, "deviation": 0.5}


@pytest.mark.parametrize(
    "bad",
    [
        None, [], {}, {"fid": 1.0}, {"protocol": {}}, {"protocol": "x"},
        *({"protocol": {**PROTOCOL, "draws": draws}} for draws in ("five", -5, True, 1.5)),
    ],
)  # fmt: skip
def test_what_is_no_metrics_file_is_refused_in_a_line(bad):
    with pytest.raises(DataError, match="HEAD~1: its metrics name no protocol and draws") as caught:
        figures.read(bad, "HEAD~1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [None, "10k", [1], 0])
def test_old_metrics_without_a_number_of_images_are_refused_in_a_line(count):
    bad = {**OLD, "protocol": {**PROTOCOL, "generated_images": count}}
    with pytest.raises(DataError, match="HEAD~1: its metrics name no number of generated images"):
        figures.read(bad, "HEAD~1")


def test_those_figures_are_told_that_were_measured():
    assert [figure.key for figure in figures.measured(NEW)] == ["fid", "kid", "recall"]
    assert figures.FIGURES["fid"].described() == "Fréchet distance; lower is better"
    assert figures.FIGURES["js_divergence"].described().endswith(", bits; lower is better")
    assert all(key == figure.key for key, figure in figures.FIGURES.items())


@pytest.mark.parametrize("value", [None, 1.0, {}, {"mean": None}, {"mean": "1"}, {"mean": True}])
def test_a_figure_that_is_no_number_is_nan(value):
    assert math.isnan(figures.number({"fid": value}, "fid", "mean"))


def test_a_figure_of_draws_is_their_mean_and_deviation():
    draws = [{"fid": 1.0, "collapsed": False, "class_shares": [1.0]}, {"fid": 3.0}]
    assert figures.of_draws(draws) == {"fid": {"mean": 2.0, "deviation": pytest.approx(2**0.5)}}
