"""A folder of pictures, and params.yaml that fits it."""

import shutil
from pathlib import Path

import pytest

from dcgan.config import reading, sections
from pipeline import init
from tests.support import strangers
from tests.support.imports import ROOT


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    strangers.sorted_classes(tmp_path / "pictures")


def test_init_sets_what_people_set_by_hand_and_keeps_the_comments(capsys):
    init.main("pictures")
    params = reading.load(sections.AllParams)
    assert (params.dataset.name, params.dataset.source, params.dataset.crop) == (
        "folder", "pictures", None,
    )  # fmt: skip
    assert params.dataset.test_size == params.dataset.validation_size == 75
    said = capsys.readouterr().out
    assert "init: classes: a, b, c (3)" in said and "init: dataset.test_size: 0 -> 75" in said
    assert "# mnist; fashion_mnist" in Path("params.yaml").read_text()


def test_a_dry_run_changes_nothing(capsys):
    before = Path("params.yaml").read_bytes()
    init.main("pictures", dry_run=True)
    assert Path("params.yaml").read_bytes() == before
    assert "init: evaluate.num_samples: 10000 -> 750" in capsys.readouterr().out
