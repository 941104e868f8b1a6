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


@pytest.mark.holds("R-82")
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


def test_an_experiment_is_made_once_and_its_newest_run_is_the_one(root: Path) -> None:
    client = store.connect()
    first, again = (store.experiment(client, store.location(), "dcgan-toys") for _ in range(2))
    assert first == again
    same = "tags.fingerprint = 'aa'"
    assert store.newest_run(client, [first], same) is None and not store.newest_run(
        client, [], same
    )
    for start_time in (2**41, 2**42, 2**40):
        client.create_run(first, start_time=start_time, tags={"fingerprint": "aa"})
    run = store.newest_run(client, [first], same)
    assert run and run.info.start_time == 2**42
    assert (root / ".mlflow/artifacts/dcgan-toys").as_uri() in run.info.artifact_uri


def test_an_address_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:canary@mlflow.example.org")
    assert store.shown() == "https://mlflow.example.org"
    assert store.shown("s3://me:canary@bucket/a") == "s3://bucket/a"
