"""Processes that help: they share pieces of work, and none of them outlives its use."""

import functools
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from dcgan.errors import EnvironmentProblem
from pipeline import pools

_number: list[int] = []


def note_number(folder: Path, number: int) -> None:
    _number.append(number)
    (folder / f"started-{number}").touch()


def piece(folder: Path, index: int) -> tuple[int, str]:
    time.sleep(0.05)
    (folder / f"done-{index}").touch()
    return 10 * index, os.environ.get("OMP_NUM_THREADS", "")


def ends(how: int) -> None:
    os.kill(os.getpid(), how)


@pytest.fixture
def setup(tmp_path):
    return functools.partial(note_number, tmp_path)


def test_pieces_are_shared_and_come_back_in_order(tmp_path, setup, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with pools.opened(2, setup, threads=3) as pool:
        results = list(pool.map(functools.partial(piece, tmp_path), range(8)))
    assert results == [(10 * index, "3") for index in range(8)]
    assert {path.name for path in tmp_path.glob("started-*")} == {"started-0", "started-1"}
    assert "OMP_NUM_THREADS" not in os.environ
    assert not multiprocessing.active_children()


def test_a_number_of_threads_that_the_user_has_set_stays(tmp_path, setup, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with pools.opened(1, setup, threads=3) as pool:
        assert pool.submit(piece, tmp_path, 0).result() == (0, "5")
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_what_waits_is_not_begun_when_the_work_is_stopped(tmp_path, setup):
    with pytest.raises(KeyboardInterrupt), pools.opened(2, setup) as pool:
        for index in range(1000):
            pool.submit(piece, tmp_path, index)
        while not list(tmp_path.glob("done-*")):
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert len(list(tmp_path.glob("done-*"))) < 1000  # however busy the machine is
    assert not multiprocessing.active_children()


def test_a_helper_that_is_killed_is_one_line(setup):
    with (
        pytest.raises(EnvironmentProblem, match="a process that helped was ended by the system"),
        pools.opened(2, setup) as pool,
    ):
        pool.submit(ends, signal.SIGKILL).result()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_of_the_whole_group_are_for_the_first_process(tmp_path, setup, number):
    with pools.opened(1, setup) as pool:
        pool.submit(ends, number).result()
        assert pool.submit(piece, tmp_path, 4).result()[0] == 40


def test_one_process_a_gpu_and_one_on_a_cpu_and_no_more_than_there_is_to_do(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [pools.count(asked, cpu, 9) for asked in ("auto", 1, 3, 12)] == [1, 1, 3, 9]
    assert [pools.count(asked, cuda, 9) for asked in ("auto", 1, 3, 12)] == [4, 1, 3, 4]
    assert pools.count("auto", cuda, 2) == 2
