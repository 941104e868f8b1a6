"""A store and model folders for the tests of the registry."""

import shutil
from pathlib import Path

import pytest

from dcgan.promotion import registry, serving, versions
from dcgan.tracking import store
from tests.support import tiny_models


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is new, and two model folders that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("first", "second")):
        serving.write_model(
            folder / name, tiny_models.write(folder / f"{name}-exports", seed), f"# card {name}\n"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(folder))
        store.connect()
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    shutil.copy(made / ".mlflow/mlflow.db", tmp_path / ".mlflow/mlflow.db")
    return tmp_path


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """A model folder for a test to change."""
    return Path(shutil.copytree(made / "first", tmp_path / "model"))


def add(folder: Path, **changes: object) -> versions.Version:
    return registry.register(
        folder, **{"dataset": "toys", "fingerprint": "aa", "tags": {"fid": "5.2"}, **changes}
    )


def stored(root: Path, version: versions.Version) -> Path:
    """Where the store keeps a version's files."""
    uri = versions.files_of(store.connect(), version)
    path = Path(uri.removeprefix("file://"))
    assert path.is_relative_to(root)
    return path
