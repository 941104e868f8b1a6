"""What differs between runs, and verdicts that know the noise."""

import copy
import math

import numpy as np
import pytest

from dcgan.reports import side_by_side
from dcgan.reports.side_by_side import Candidate
from tests.support.metrics import METRICS


def candidate(
    name: str = "b", params: dict[str, str] | None = None, data: str = "d", **changes: object
) -> Candidate:
    metrics = copy.deepcopy(METRICS)
    for key, value in changes.items():
        section, _, inner = key.partition("__")
        if inner:
            metrics[section][inner] = value
        elif isinstance(metrics.get(key), dict) and not isinstance(value, dict):
            metrics[key]["mean"] = value
        else:
            metrics[key] = value
    return Candidate(name, params or {}, metrics, data, np.zeros((16, 1, 28, 28), np.uint8))


FIRST = candidate("a")
# z = 2, and two means of five draws with a deviation of .5: 0.632 is the least difference that
# counts.
EDGE = 2 * 0.5 * math.sqrt(2 / 5)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"fid": 10 - EDGE * 1.01}, "fid", "better"),
        ({"fid": 10 + EDGE * 1.01}, "fid", "worse"),
        ({"fid": 10 - EDGE * 0.99}, "fid", "cannot tell"),
        ({}, "fid", "cannot tell"),
        ({"kid": 0.1}, "kid", "better"),
        ({"recall": 0.6}, "recall", "better"),
        ({"coverage": 0.5}, "coverage", "worse"),
        ({"fid": math.nan}, "fid", "cannot tell"),
        ({"fid": None}, "fid", "cannot tell"),
        ({"fid": "1"}, "fid", "cannot tell"),
        ({"fid": 1.0, "fid__deviation": math.nan}, "fid", "cannot tell"),
        ({"fid": {"mean": 1.0}}, "fid", "cannot tell"),
        ({}, "vendi", "cannot tell"),
    ],
)
def test_a_verdict_needs_a_difference_beyond_the_noise(
    changes: dict, key: str, expected: str
) -> None:
    assert side_by_side.verdict(FIRST, candidate(**changes), key, 2.0) == expected


def test_a_figure_is_never_compared_across_extractors_counts_or_data() -> None:
    others = {
        "extractor aaaaaaaaaaaa and bbbbbbbbbbbb": candidate(
            fid=1.0, protocol__extractor_sha256="b" * 64
        ),
        "generated images 100 and 50": candidate(fid=1.0, protocol__generated_images=50),
        "reported on test and validation": candidate(fid=1.0, protocol__reported_on="validation"),
        "data d and e": candidate(fid=1.0, data="e"),
    }
    for why, other in others.items():
        text = side_by_side.markdown([FIRST, other], 2.0, "x.png")
        assert f"Not comparable: b, because of {why}." in text
        assert (
            "1.00 ± 0.50, not comparable" in text and "better" not in text.partition("| figure")[2]
        )
    assert side_by_side.obstacle(FIRST, candidate(fid=1.0)) is None


def test_the_document_has_a_row_for_each_figure_and_parameter_that_differs() -> None:
    first = candidate(
        "a|1",
        {"lr": "0.003", "epochs": "2", "generator.channels": "[8, 16]", "seed": "1"},
        recall__deviation=0,
    )
    second = candidate(
        "b",
        {"lr": "0.0003", "epochs": "2.0", "generator.channels": "[8.0, 16]", "batch_size": "64"},
        fid=8.0,
    )
    lines = side_by_side.markdown([first, second], 2.0, "x.png").splitlines()
    assert "| figure | a\\|1 | b |" in lines
    assert "| fid | 10.00 ± 0.50 | 8.00 ± 0.50, better |" in lines
    assert "| recall | 0.5 ± 0 | 0.500 ± 0.010, cannot tell |" in lines
    assert not any(line.startswith("| kid_std") for line in lines)
    # 2 is 2.0, and one that only one of them has says nothing.
    assert side_by_side.differences([first, second]) == [["lr", "0.003", "0.0003"]]
    third = candidate("c", {"batch_size": "32"})
    assert ["batch_size", "not known", "64", "32"] in side_by_side.differences(
        [first, second, third]
    )


def test_the_picture_shows_every_runs_samples_next_to_each_other() -> None:
    bright = Candidate("b", {}, METRICS, "d", np.full((16, 3, 32, 32), 255, np.uint8))
    picture = side_by_side.picture([FIRST, bright], 2.0)
    left, right = picture[60:120, :400], picture[60:120, -400:]
    assert left.mean() < 30 and right.mean() == 255
