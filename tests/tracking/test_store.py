"""The store's address, and how it is opened."""

from pathlib import Path

import pytest

from dcgan.errors import EnvironmentProblem
from dcgan.tracking import runs, store
from tests.support.stores import (
    dead_address,
    waiting,
)


def test_a_folder_with_strange_characters_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = tmp_path / "a b#é"
    strange.mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(strange))
    (strange / "note.txt").write_text("text")
    with runs.open_run("aa", dataset="toys") as run:
        run.log_file(strange / "note.txt")
    assert [file.path for file in store.connect().list_artifacts(run.id)] == ["note.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b#é"]


def test_a_required_store_that_does_not_open_ends_the_stage_before_it_begins(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_address())
    with (
        pytest.raises(EnvironmentProblem, match="MLFLOW_TRACKING_URI"),
        runs.open_run("aa", dataset="toys", required=True),
    ):
        raise AssertionError
    assert waiting(root) == []
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with runs.open_run("aa", dataset="toys", required=True) as run:
        pass
    assert not run.off
