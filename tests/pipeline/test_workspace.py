import os
from pathlib import Path

import pytest

from dcgan.errors import EnvironmentProblem
from pipeline import children, retrain, workspace
from tests.support.imports import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_a_folder_without_git_is_refused_with_what_to_type():
    with pytest.raises(EnvironmentProblem, match="git init && git add -A && git commit -qm start"):
        workspace.check()


def test_a_linked_data_folder_is_refused_with_what_works(folder, tmp_path_factory):
    (folder / ".git").mkdir()
    workspace.check()
    (folder / "data").symlink_to(tmp_path_factory.mktemp("disk"), target_is_directory=True)
    with pytest.raises(EnvironmentProblem, match=r"data is a link, .* dvc cache dir"):
        workspace.check()


def test_stages_that_ran_are_remembered_from_a_place_on(folder):
    assert workspace.count_stages() == 0 and workspace.stages(0) == []
    workspace.note_stage("train", 60.0, 0)
    before = workspace.count_stages()
    workspace.note_stage("evaluate", 30.0, 3)
    assert workspace.stages(before) == [{"stage": "evaluate", "seconds": 30.0, "exit": 3}]


def test_a_note_that_cannot_be_written_stops_nothing(folder):
    (folder / ".scratch").write_text("a file")
    workspace.note_stage("train", 60.0, 0)


def test_half_written_files_go_once_nobody_writes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = Path("results/train/.part-a-x.csv"), Path("data/prepared/.part-b-y.npy")
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.touch()
    os.utime(old, (0, 0))
    assert set(workspace.left_over()) == {old, new}
    workspace.delete_left_over()
    assert workspace.left_over() == [new]


@pytest.mark.holds("R-73")
def test_a_retraining_does_not_go_on_with_what_a_remote_has_damaged(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    damaged = workspace.CACHE / "ab" / ("c" * 30)
    damaged.parent.mkdir(parents=True)
    damaged.write_text("something else")
    monkeypatch.setattr(children, "has_remote", lambda: True)
    monkeypatch.setattr(children, "run", lambda *_: 0)
    with pytest.raises(EnvironmentProblem, match="retrain: dvc repro --pull ended") as ended:
        retrain.rebuild({})
    assert ended.value.exit_code == 3
    assert f"{damaged}, among 1: damaged, perhaps by DVC's remote" in capsys.readouterr().err
