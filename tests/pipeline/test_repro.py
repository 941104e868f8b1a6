"""What a person reads at the end of make repro."""

import json
import subprocess
from pathlib import Path

import pytest

from pipeline import repro


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    metrics = {
        "fid": {"mean": 5.629, "deviation": 0.112}, "epoch": 5,
        "floor": {"fid": 0.1451}, "ceiling": {"fid": 131.84},
    }  # fmt: skip
    for path, text in {repro.METRICS: json.dumps(metrics), repro.PICTURE: "picture"}.items():
        path.parent.mkdir(parents=True)
        path.write_text(text)


def test_five_lines_say_what_came_out():
    ran = [
        {"stage": "prepare", "seconds": 6.0, "exit": 0},
        {"stage": "train", "seconds": 306.0, "exit": 0},
    ]
    lines = list(repro.summary(ran))
    assert lines[:4] == [
        "FID 5.63 +- 0.11 on test, epoch 5 (real images 0.15, uniform noise 131.8)",
        "picture: results/render/real_and_generated.png",
        "all runs, figures and pictures: make ui",
        "minutes: prepare 0.1, train 5.1; other stages were up to date",
    ]
    assert lines[4].startswith("dvc.lock and results differ from the commit")


def test_a_run_that_changed_nothing_says_so():
    subprocess.run(["git", "add", "-A"], check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, "commit", "-qm", "start"], check=True)
    assert list(repro.summary([]))[3:] == ["nothing had changed"]


def test_what_is_not_there_is_not_said():
    Path(repro.METRICS).unlink()
    Path(repro.PICTURE).unlink()
    assert next(iter(repro.summary([]))) == "all runs, figures and pictures: make ui"
