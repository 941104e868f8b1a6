"""A store that is moved or copied with its folder goes on there."""

import shutil
from pathlib import Path

import pytest

from dcgan.promotion import bundle, registry, serving
from dcgan.tracking import moving, runs, store
from tests.support import tiny_models


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run that has a file, and a registered model."""
    folder = tmp_path / "old"
    folder.mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    (folder / "note.txt").write_text("text")
    with runs.open_run("aa", dataset="toys") as run:
        run.log_file(folder / "note.txt")
    model = serving.write_model(folder / "model", tiny_models.write(folder / "models"), "# card\n")
    registry.register(model, dataset="toys", fingerprint="aa", tags={})
    return folder


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_files_and_models_are_found_and_new_ones_go_to_the_new_folder(
    old: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    new = old.with_name("new place")
    shutil.copytree(old, new)
    before = sorted(old.rglob("*"))
    if how == "moved":
        shutil.rmtree(old)
    monkeypatch.setenv("DVC_ROOT", str(new))
    # As in a new process: MLflow remembers where a run's files are.
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
    fetched = registry.fetch("models:/dcgan-toys/1", new / "fetched")
    assert bundle.listed(fetched) == bundle.listed(new / "model")
    with runs.open_run("aa", dataset="toys") as run:
        run.log_file(new / "note.txt", "again")
    listed = store.connect().list_artifacts(run.id)
    assert {file.path for file in listed} >= {"note.txt", "again"}
    if how == "moved":
        assert not old.exists()
    else:
        assert sorted(old.rglob("*")) == before
    paths = [path for path in (new / ".mlflow").rglob("note.txt") if path.parent.name == "again"]
    assert len(paths) == 1
    other = serving.write_model(
        new / "second", tiny_models.write(new / "second-models", 1), "# card\n"
    )
    assert registry.register(other, dataset="toys", fingerprint="bb", tags={}).number == 2


def test_a_store_that_stays_is_left_alone_and_so_are_addresses_elsewhere(old: Path) -> None:
    database = old / ".mlflow/mlflow.db"
    client = store.connect()
    elsewhere = "s3://bucket/.mlflow/artifacts/x"
    client.create_experiment("elsewhere", artifact_location=elsewhere)
    artifacts = old / ".mlflow/artifacts"
    assert moving.follow(database, artifacts, 5) == []
    assert moving.follow(database, Path("/tmp/b/.mlflow/artifacts"), 5) == [artifacts.as_uri()]
    assert (
        store.open_client(f"sqlite:///{database}")
        .get_experiment_by_name("elsewhere")
        .artifact_location
        == elsewhere
    )


def test_a_new_file_has_nothing_to_follow(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    assert moving.follow(tmp_path / "a.db", tmp_path / "artifacts", 5) == []
