"""params.yaml is edited as a person would, and only where the values are right."""

import shutil
from pathlib import Path

import pytest

from dcgan.config import edits, reading, sections
from dcgan.errors import ConfigError
from tests.support.imports import ROOT


@pytest.fixture
def params(tmp_path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


def test_what_s_sets_is_yaml_and_nested():
    pairs = [
        "lr=2e-4",
        "generator.channels=[8, 4]",
        "generator.start_size=7",
        "gate.max_kid=null",
        "dataset.source=a=b",
    ]
    assert edits.overlay(pairs) == {
        "lr": 2e-4,
        "generator": {"channels": [8, 4], "start_size": 7},
        "gate": {"max_kid": None},
        "dataset": {"source": "a=b"},
    }


@pytest.mark.parametrize("pair", ["lr", "=3", "lr=[1", "lr: 3"])
def test_what_is_no_key_and_value_is_refused(pair):
    with pytest.raises(ConfigError, match=r"^-S ") as caught:
        edits.overlay([pair])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pair",
    [
        "lrr=1",
        "lr=7",
        "lr.x=1",
        "dataset=3",
        "epochs=1.5",
        "generator.start_size=8",
        "lr=.nan",
        "lr=!!python/name:os",
    ],
)
def test_a_wrong_value_is_refused_before_the_file_is_touched(pair, params):
    before = params.read_bytes()
    with pytest.raises(ConfigError) as caught:
        edits.apply(params, edits.overlay([pair]))
    assert "\n" not in str(caught.value) and params.read_bytes() == before


def test_values_are_written_where_they_were_and_comments_stay(params):
    before = params.read_text()
    edits.apply(params, edits.overlay(["lr=2e-4", "seed=7"]))
    after = params.read_text()
    assert (
        reading.load(sections.AllParams, path=params).lr,
        reading.load(sections.AllParams, path=params).seed,
    ) == (2e-4, 7)
    assert [
        i
        for i, lines in enumerate(zip(before.splitlines(), after.splitlines(), strict=True))
        if lines[0] != lines[1]
    ] == [
        2,
        3,
    ]
    edits.apply(params, edits.overlay([]))
    assert params.read_text() == after
