"""How the sweep reads its grid; tests/system/test_dvc_experiments.py runs it with DVC."""

import json

import pytest
import typer

from bench import sweep
from pipeline.sweep import Cell


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the cells that were run, the second of which fails."""
    numbers: list[int] = []

    def run(k: int, pairs: list[str], target: list[str]) -> None:
        assert pairs == ["seed=1,2", "lr=0.001,0.003", "batch_size=64", "epochs=1"]
        assert target == ["evaluate"]
        numbers.append(k)
        if k == 1:
            raise typer.Exit(4)

    def output(*command: str) -> str:
        number = int(command[-1].partition(":")[0])
        return json.dumps({"validation": {"fid": 5 + number}, "fid": {"mean": 9.0}})

    cells = [Cell(f"cell-{k}", [], str(k)) for k in range(4)]
    monkeypatch.setattr(sweep.sweep, "cells", lambda pairs: cells)
    monkeypatch.setattr(sweep.sweep, "run", run)
    monkeypatch.setattr(sweep.sweep.children, "output", output)
    return numbers


def test_each_cell_is_run_and_has_the_validation_fid_of_its_chosen_epoch(ran: list[int]) -> None:
    axes = {"seed": ["1", "2"], "lr": ["0.001", "0.003"], "batch_size": ["64"], "epochs": ["1"]}
    fids, failed = sweep.run(axes)
    assert ran == [0, 1, 2, 3]
    assert failed == ["cell-1"]
    assert fids == {
        sweep.Point(1, 0.001, 64): 5.0,
        sweep.Point(2, 0.001, 64): 7.0,
        sweep.Point(2, 0.003, 64): 8.0,
    }
