import pytest

from dcgan.errors import EnvironmentProblem
from pipeline import workspace


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
