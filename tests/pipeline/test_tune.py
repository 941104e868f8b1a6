"""The search: what it may be asked, which trials go on, and what a killed one has left."""

import functools
import subprocess
import sys

import optuna
import pytest
import typer

from dcgan.errors import ConfigError, EnvironmentProblem
from pipeline import tune
from pipeline.sweep import Cell
from tests.support.imports import ROOT


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("lr=log(1e-4, 1e-2)", ("lr", "log", (1e-4, 1e-2))),
        ("generator.slope=uniform(0,0.3)", ("generator.slope", "uniform", (0.0, 0.3))),
        ("batch_size=int(16,64)", ("batch_size", "int", (16, 64))),
        ("batch_size=32,64", ("batch_size", "one_of", (32, 64))),
        ("training.loss=hinge,minimax", ("training.loss", "one_of", ("hinge", "minimax"))),
    ],
)
def test_values_are_told_in_four_ways(pair, expected):
    assert tune.axis(pair) == expected


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("lr", "expected KEY=log"),
        ("lr=", "expected KEY=log"),
        ("lr=log(0,1)", "must rise from more than 0"),
        ("lr=uniform(2,1)", "must rise"),
        ("lr=log(a,b)", "a and b must be numbers"),
        ("batch_size=int(1.5,2)", "must be numbers"),
        ("lr=normal(0,1)", "expected log, uniform or int"),
    ],
)
def test_other_ways_are_refused_in_one_line(pair, said):
    with pytest.raises(ConfigError, match=said):
        tune.axis(pair)


@pytest.fixture
def lab(monkeypatch):
    """Experiments of a moment: their FID is the distance of lr from 0.003, and falls by epoch."""

    class Lab:
        def __init__(self):
            self.here = {}  # FID by name
            self.code = 0  # of the next experiment

        def cells(self, pairs, prefix):
            return [Cell(f"{prefix}-{'-'.join(pairs)}", [], "")]

        def run(self, *command):
            if not self.code:
                name = command[command.index("--name") + 1]
                values = dict(pair.split("=") for pair in name.removeprefix("tune-").split("-", 1))
                self.here[name] = abs(float(values["lr"]) - 0.003) * 1000 + 9 / int(
                    values["epochs"]
                )
            return self.code

    lab = Lab()
    monkeypatch.setattr(tune.sweep, "cells", lab.cells)
    monkeypatch.setattr(tune.sweep, "here", lambda cell: cell.name in lab.here)
    monkeypatch.setattr(tune.children, "run", lab.run)
    monkeypatch.setattr(
        tune.sweep, "figures", lambda cell: {"validation": {"fid": lab.here[cell.name]}}
    )
    return lab


AXES = [tune.Axis("lr", "uniform", (0.001, 0.009))]
RUNGS = [1, 3, 9]


def study(folder):
    return optuna.create_study(
        study_name="t", storage=f"sqlite:///{folder / 't.db'}", load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        sampler=optuna.samplers.TPESampler(seed=0),
    )  # fmt: skip


def search(folder, trials, adopted):
    made = study(folder)
    for trial in tune.pending(made, trials):
        tune.try_out(made, trial, AXES, RUNGS, functools.partial(adopted.append, trial.number))
    return made


def test_most_trials_are_given_up_early_and_the_best_one_is_near_the_best_value(lab, tmp_path):
    adopted = []
    made = search(tmp_path, 12, adopted)
    states = [trial.state.name for trial in made.trials]
    assert set(states) == {"COMPLETE", "PRUNED"} and len(states) == 12
    assert states.count("PRUNED") > 6
    assert made.best_trial.params["lr"] == pytest.approx(0.003, abs=0.0015)
    assert made.best_value == min(fid for name, fid in lab.here.items() if "epochs=9" in name)
    assert len(adopted) == len(lab.here) < 12 * 3
    again = search(tmp_path, 12, adopted)
    assert len(adopted) == len(lab.here) and len(again.trials) == 12


def test_a_search_that_was_stopped_goes_on_with_the_same_trial(lab, tmp_path):
    lab.code = 143
    with pytest.raises(typer.Exit) as ended:
        search(tmp_path, 2, [])
    assert ended.value.exit_code == 143
    (left,) = study(tmp_path).trials
    assert left.state.name == "RUNNING"
    lab.code = 0
    made = search(tmp_path, 2, [])
    assert [trial.number for trial in made.trials] == [0, 1]
    assert made.trials[0].params == left.params and made.trials[0].state.name == "COMPLETE"


def test_a_trial_that_diverges_has_failed_and_the_search_goes_on(lab, tmp_path):
    lab.code = 4
    made = search(tmp_path, 3, [])
    assert [trial.state.name for trial in made.trials] == ["FAIL"] * 3


def test_other_values_under_the_same_name_are_refused(lab, tmp_path):
    made = study(tmp_path)
    for key in ("32", "64"):
        axes = [tune.Axis("batch_size", "one_of", (16, int(key)))]
        trial = made.ask()
        if key == "32":
            tune.suggested(trial, axes[0])
            continue
        with pytest.raises(ConfigError, match="use another --name"):
            tune.try_out(made, trial, axes, RUNGS, lambda: None)


def test_without_optuna_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(EnvironmentProblem, match=r"pip install optuna==5\.0\.0"):
        tune.imported()


def test_the_version_in_the_message_is_that_of_the_tests():
    assert optuna.__version__ == "5.0.0"


def test_a_wrong_name_ends_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "tune", "-S", "lr=1e-3,2e-3", "--name", "a/b"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "--name a/b" in done.stderr


def test_values_are_shown_as_they_were_asked_for(tmp_path):
    axes = [tune.axis("lr=log(1e-4,1e-2)"), tune.axis("training.loss=hinge,minimax")]
    trial = study(tmp_path).ask()
    tried = {axis.key: tune.suggested(trial, axis) for axis in axes}
    (frozen,) = study(tmp_path).trials
    assert tune.values_of(frozen, axes) == tried
    assert tried["training.loss"] in ("hinge", "minimax")
