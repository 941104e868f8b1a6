"""How the sweep talks to DVC, without DVC; tests/system/test_dvc_experiments.py runs the sweep."""

import json
import subprocess

import pytest

from bench import sweep


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run: one hangs, the next one fails, later ones print their number."""
    commands: list[list[str]] = []

    def run(command: list[str], *, stdout, timeout: float | None, **_: object) -> None:
        commands.append(command)
        if len(commands) == 1:
            raise subprocess.TimeoutExpired(command, timeout or 0)
        if len(commands) == 2:
            raise subprocess.CalledProcessError(255, command)
        stdout.write(str(len(commands)))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return commands


def test_a_question_that_hangs_or_fails_is_asked_again(asked: list[list[str]]) -> None:
    assert sweep.dvc("exp", "show", tries=3, seconds=5) == "3"
    assert {tuple(command[1:]) for command in asked} == {("-m", "dvc", "exp", "show")}


@pytest.mark.parametrize(
    ("tries", "why"), [(1, "exp show did not end in 5 s"), (2, "exp show ended with exit code 255")]
)
def test_after_the_last_try_the_sweep_ends_with_a_line(
    asked: list[list[str]], tries: int, why: str
) -> None:
    with pytest.raises(SystemExit, match=why):
        sweep.dvc("exp", "show", tries=tries, seconds=5)
    assert len(asked) == tries


def test_the_fid_of_an_experiment_is_that_of_its_chosen_epoch_once_it_has_ended_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def experiment(name: str, state: str | None) -> dict[str, object]:
        metrics = {sweep.METRICS: {"data": {"validation": {"fid": 5.5}, "fid": {"mean": 6.0}}}}
        executor = state and {"state": state, "local": {"pid": 1}}
        return {"name": name, "executor": executor, "revs": [{"data": {"metrics": metrics}}]}

    queued = {"name": "c", "executor": {"state": "queued", "local": None}, "revs": None}
    shown = [{}, {"experiments": [experiment("a", None), experiment("b", "failed"), queued]}]
    monkeypatch.setattr(sweep, "dvc", lambda *args, **options: json.dumps(shown))
    assert sweep.states() == {
        "a": sweep.State("success", None, 5.5),
        "b": sweep.State("failed", 1, None),
        "c": sweep.State("queued", None, None),
    }
