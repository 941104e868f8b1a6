"""What breaks the process that parses it breaks not ours."""

import os
import signal

import numpy as np
import pytest

from dcgan.errors import DataError, EnvironmentProblem
from dcgan.raw import apart, downloads
from dcgan.raw.dataset import MIB
from tests.support.imports import ROOT
from tests.support.tiny import section, write_lsun


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "src")
    monkeypatch.syspath_prepend(ROOT)


def good(path):
    assert os.getpid() != int(path.read_text())


def broken(path):
    os.kill(os.getpid(), signal.SIGSEGV)


def hungry(path):
    np.ones(2**30, np.uint8)


def refusing(path):
    raise DataError(f"{path}: is no good")


@pytest.mark.holds("R-58")
def test_what_can_be_read_is_read_in_another_process(tmp_path):
    (tmp_path / "pid").write_text(str(os.getpid()))
    apart.try_reading(good, tmp_path / "pid", 100 * MIB)


@pytest.mark.holds("R-58")
@pytest.mark.parametrize(
    ("read", "complaint"),
    [
        (broken, "a.mat: reading it broke the process that tried"),
        (hungry, "a.mat: reading it takes more than 104857600 bytes of memory"),
        (refusing, "a.mat: is no good"),
    ],
)
def test_what_breaks_the_other_process_is_refused(tmp_path, read, complaint):
    with pytest.raises(DataError, match=complaint):
        apart.try_reading(read, tmp_path / "a.mat", 100 * MIB)


@pytest.mark.holds("R-58")
def test_a_process_that_cannot_start_is_no_fault_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("multiprocessing.spawn._python_exe", b"/bin/false")
    with pytest.raises(EnvironmentProblem, match="no other process can be started"):
        apart.try_reading(good, tmp_path / "pid", 100 * MIB)


@pytest.mark.holds("R-58")
def test_a_forged_database_that_breaks_its_reader_is_refused(tmp_path):
    write_lsun(tmp_path / "source")
    (tmp_path / "source" / "bedroom_train_lmdb.zip").unlink()
    path = tmp_path / "source" / "bedroom_train_lmdb" / "data.mdb"
    content = bytearray(path.read_bytes())
    first_pointer = 2 * 4096 + 16  # of the page with the keys: now it leads out of the file
    content[first_pointer : first_pointer + 2] = b"\xff\x7f"
    path.write_bytes(content)
    with pytest.raises(DataError, match="broke the process"):
        downloads.fetch(tmp_path / "raw", section("lsun", tmp_path / "source"))
