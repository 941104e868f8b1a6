"""A server's list of files is not believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dcgan.errors import DataError
from dcgan.promotion import registry
from tests.promotion.conftest import add


class Listing:
    """A server that lists what it likes."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self.asked: list[str] = []

    def list_artifacts(self, _: str | None) -> list[object]:
        from mlflow.entities import FileInfo

        return [FileInfo(path, False, 3) for path in self.paths]

    def download_artifacts(self, path: str, _: str) -> None:
        self.asked.append(path)


@pytest.mark.holds("R-85")
@pytest.mark.parametrize(
    "path",
    [
        "../out.py",
        "/tmp/out.py",
        "a/../../out.py",
        "a//b.py",
        "a\\..\\out.py",
        "a\nb.py",
        "x.pkl",
        "code/x.so",
    ],
)
def test_a_server_cannot_name_a_file_outside_the_folder_or_of_another_kind(
    root: Path, made: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    add(made / "first")
    server = Listing("MLmodel", path)
    monkeypatch.setattr(
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        lambda *_, **__: server,
    )
    with pytest.raises(DataError, match="do not use this model"):
        registry.fetch("models:/dcgan-toys/1", root / "fetched")
    assert server.asked == [] and not (root / "fetched").exists()


def test_a_server_cannot_list_without_end(
    root: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(made / "first")

    class Endless(Listing):
        def list_artifacts(self, path: str | None) -> Iterator[object]:
            from mlflow.entities import FileInfo

            yield FileInfo(f"{path or 'a'}/a", True, None)

    monkeypatch.setattr(
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        lambda *_, **__: Endless(),
    )
    with pytest.raises(DataError, match="do not use this model"):
        registry.fetch("models:/dcgan-toys/1", root / "fetched")
