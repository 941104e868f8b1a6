"""A large file gets a second name, or is copied where the disk has none."""

import errno
import os

import pytest

from dcgan.raw import links


def test_both_names_are_one_file_also_when_asked_again(tmp_path):
    (tmp_path / "a").write_bytes(b"images")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/b").write_bytes(b"older")
    for _ in range(2):
        links.second_name(tmp_path / "a", tmp_path / "folder/b")
        assert (tmp_path / "a").samefile(tmp_path / "folder/b")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["b"]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_the_disk_has_no_second_names_the_file_is_copied(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"images")
    links.second_name(tmp_path / "a", tmp_path / "folder/b")
    assert (tmp_path / "folder/b").read_bytes() == b"images"
    assert not (tmp_path / "a").samefile(tmp_path / "folder/b")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["b"]
