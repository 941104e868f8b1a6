"""A server's list of files is not believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dcgan.errors import DataError
from dcgan.promotion import registry, versions
from tests.promotion.conftest import add


class Listing:
    """A server that lists what it likes."""

    def __init__(self, *paths: str, size: int = 3) -> None:
        self.paths, self.size = paths, size
        self.asked: list[str] = []

    def list_artifacts(self, _: str | None) -> list[object]:
        from mlflow.entities import FileInfo

        return [FileInfo(path, False, self.size) for path in self.paths]

    def download_artifacts(self, path: str, folder: str) -> None:
        self.asked.append(path)
        Path(folder, path).write_bytes(b"four")


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


@pytest.mark.holds("R-58")
@pytest.mark.parametrize(
    ("size", "complaint", "asked"),
    [
        (versions.MAX_BYTES + 1, "its files have 4294967297 bytes, expected at most", 0),
        (3, "MLmodel has 4 bytes, 3 were announced: refused", 1),
    ],
)
def test_a_model_that_is_too_large_is_refused(
    root: Path, made: Path, monkeypatch: pytest.MonkeyPatch, size: int, complaint: str, asked: int
) -> None:
    add(made / "first")
    server = Listing("MLmodel", size=size)
    monkeypatch.setattr(
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        lambda *_, **__: server,
    )
    with pytest.raises(DataError, match=complaint):
        registry.fetch("models:/dcgan-toys/1", root / "fetched")
    assert len(server.asked) == asked and not (root / "fetched").exists()
