import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dcgan import files
from dcgan.errors import EnvironmentProblem
from pipeline import doctor, workspace


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def cached(content: bytes, end: str = "") -> Path:
    digest = hashlib.md5(content).hexdigest()
    path = workspace.CACHE / digest[:2] / (digest[2:] + end)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.holds("R-72")
def test_a_damaged_object_of_the_cache_is_named_with_its_remedy():
    cached(b"one")
    cached(b"[]", ".dir")
    assert doctor.cache() == "2 objects, all as their names say"
    damaged = cached(b"two")
    damaged.write_bytes(b"twO")
    with pytest.raises(EnvironmentProblem, match=f"{damaged}, among 1 of 3: damaged: delete them"):
        doctor.cache()


def test_a_damaged_checkpoint_is_named():
    assert doctor.checkpoints() == "all of them can be read"
    path = Path(".scratch/train/abc/state-000000001.safetensors")
    files.write_tensors(path, {"weight": torch.ones(3)}, {"step": 1})
    assert doctor.checkpoints() == "all of them can be read"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EnvironmentProblem, match=r"abc/state-000000001.safetensors: sha256"):
        doctor.checkpoints()


def test_what_a_killed_process_left_is_named():
    assert doctor.left_over() == "nothing"
    part = Path("results/train/.part-x-history.csv")
    part.parent.mkdir(parents=True)
    part.write_text("")
    with pytest.raises(EnvironmentProblem, match="half-written by a process that was killed"):
        doctor.left_over()


@pytest.mark.holds("R-73")
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "none: results stay on this machine"),
        ("[core]\nremote = store\n['remote \"store\"']\nurl = s3://bucket/dvc\nverify = true\n",
         "store, s3://bucket/dvc"),
        ("[core]\nremote = store\n['remote \"store\"']\nurl = https://me:{}@example.org\n",
         "dvc remote modify store verify true"),
    ],
)  # fmt: skip
def test_the_remote_is_shown_redacted(config, said):
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text(config.format("word"))
    assert said in doctor.remote()
    assert "word" not in doctor.remote()


def test_what_waits_for_mlflow_is_counted():
    assert doctor.journal() == "nothing waits"
    Path(".mlflow/journal/one").mkdir(parents=True)
    assert doctor.journal() == "1 runs wait: python -m pipeline sync"


def test_too_little_memory_or_disk_is_a_problem(monkeypatch):
    assert "GB free" in doctor.memory() and "GB free" in doctor.disk()
    monkeypatch.setattr(doctor, "NEEDED_MEMORY_GB", 1e6)
    monkeypatch.setattr(doctor, "NEEDED_GB", 1e6)
    for check in (doctor.memory, doctor.disk):
        with pytest.raises(EnvironmentProblem, match="GB free: need"):
            check()


def test_help_names_both_options():
    said = subprocess.run(
        [sys.executable, "-m", "pipeline.doctor", "--help"], capture_output=True, text=True,
        check=True, cwd=Path(doctor.__file__).parent.parent,
    ).stdout  # fmt: skip
    assert "--deep" in said and "--data" in said
