"""Tables and numbers."""

import math

import pytest

from dcgan.reports import markdown


@pytest.mark.parametrize(
    ("value", "deviation", "text"),
    [
        (5.6296, 0.1075, "5.63 ± 0.11"),
        (0.0780288, 0.0023, "0.0780 ± 0.0023"),
        (42.8215, 0.687, "42.82 ± 0.69"),
        (1234.5, 123.4, "1234 ± 123"),
        (0.5, 0, "0.5 ± 0"),
        (0.5, None, "0.5"),
        (0.5, math.nan, "0.5"),
        (131.77424, None, "131.8"),
        (None, None, "not finite"),
        (math.nan, 0.1, "not finite"),
        (math.inf, None, "not finite"),
    ],
)
def test_a_number_has_the_digits_that_its_deviation_allows(value, deviation, text):
    assert markdown.number(value, deviation) == text


def test_a_table_escapes_what_would_end_a_cell_and_says_when_it_is_empty():
    lines = ["| a\\|b | c |", "| --- | --- |"]
    assert markdown.table(["a|b", "c"], [["1", "2"]]).splitlines() == [*lines, "| 1 | 2 |"]
    assert markdown.table(["a|b", "c"], []).splitlines() == [*lines, "| none |  |"]


def test_a_figure_that_is_none_is_missing():
    metrics = {"fid": {"mean": 5.0, "deviation": 0.5}, "kid": {"mean": None}}
    texts = [markdown.figure(metrics, key) for key in ("fid", "kid", "recall")]
    assert texts == ["5.00 ± 0.50", "missing", "missing"]
