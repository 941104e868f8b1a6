import os

import pytest

from dcgan.raw import listing
from tests.support.given_records import dataset


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "workspace"))
    folder = tmp_path / "pictures"
    (folder / "a").mkdir(parents=True)
    for name in ("a/1.png", "a/2.png", "3.png"):
        (folder / name).write_bytes(b"x")
    return folder


def keys(source):
    return dataset(name="folder", source=str(source), test_size=20)


def test_a_folder_that_was_never_fetched_is_not_compared(source):
    assert listing.change(keys(source)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "new.png").write_bytes(b"x"), "4 files, were 3"),
        (lambda folder: (folder / "3.png").unlink(), "2 files, were 3"),
        (lambda folder: (folder / "3.png").rename(folder / "4.png"), "other files"),
        (lambda folder: (folder / "3.png").write_bytes(b"longer"), "other files"),
        (lambda folder: os.utime(folder / "3.png", (1, 1)), "other files"),
    ],
)
def test_a_file_that_comes_goes_or_changes_is_noticed(source, change, said):
    listing.remember(keys(source))
    assert listing.change(keys(source)) is None
    change(source)
    assert listing.change(keys(source)) == (
        f"dataset.source {source} has changed since it was fetched ({said})"
    )


def test_linked_folders_are_looked_into_and_loops_end(source, tmp_path):
    (source / "loop").symlink_to(source, target_is_directory=True)
    (tmp_path / "pool").mkdir()
    (source / "linked").symlink_to(tmp_path / "pool", target_is_directory=True)
    listing.remember(keys(source))
    (tmp_path / "pool" / "new.png").write_bytes(b"x")
    assert "4 files, were 3" in listing.change(keys(source))


def test_published_sets_and_addresses_have_no_listing(source):
    listing.remember(dataset())
    listing.remember(dataset(source="https://127.0.0.1/files"))
    assert not list((source.parent).glob("workspace/.scratch/sources/*"))
