"""One MLflow run per training, whatever happens to the store."""

import copy
import errno
import logging
import math
import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.config import reading
from dcgan.errors import DataError, EnvironmentProblem, Stopped
from dcgan.networks import devices
from dcgan.tracking import journal, monitoring, outbox, provenance, store
from dcgan.tracking import runs as tracking
from dcgan.training import loop as training
from dcgan.training.checkpoint import Checkpoints
from tests.support import small_training
from tests.support.imports import ROOT

ROWS = [{"step": step, "loss_d": 1.0 / step, "loss_g": 2.0 / step} for step in range(1, 21)]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that MLflow has just created, which takes a second."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(folder))
        store.connect()
    return folder / ".mlflow/mlflow.db"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    # On a busy machine a healthy store may be slow.
    monkeypatch.setattr(outbox, "PATIENCE", 60)
    (tmp_path / ".mlflow").mkdir()
    shutil.copy(empty_store, tmp_path / ".mlflow/mlflow.db")
    return tmp_path


def points(run_id: str | None, key: str) -> list[tuple[int, float]]:
    assert run_id
    return sorted(
        (point.step, point.value) for point in store.connect().get_metric_history(run_id, key)
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_same_fingerprint_finds_the_same_run_again(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as first, tracking.run("bb", dataset="toys") as other:
        pass
    with tracking.run("aa", dataset="toys") as again:
        pass
    assert first.id == again.id != other.id


def test_the_newest_of_several_runs_with_the_fingerprint_goes_on(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as first:
        pass
    client = store.connect()
    experiment = client.get_run(first.id).info.experiment_id
    newer = client.create_run(experiment, start_time=2**42, tags={"fingerprint": "aa"}).info.run_id
    with tracking.run("aa", dataset="toys") as again:
        pass
    assert again.id == newer


def test_runs_are_grouped_by_dataset(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as toys, tracking.run("bb", dataset="shoes") as shoes:
        pass
    client = store.connect()
    names = [
        client.get_experiment(client.get_run(run.id).info.experiment_id).name
        for run in (toys, shoes)
    ]
    assert names == ["dcgan-toys", "dcgan-shoes"]


def test_a_new_run_says_what_it_was_made_with(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "fond-heron")
    with tracking.run(
        "aa", dataset="toys", tags={"seed": 3, "device": "cpu", "extractor_sha256": None}
    ) as run:
        run.describe("# A heading")
    logged = store.connect().get_run(run.id)
    tags = logged.data.tags
    assert logged.info.run_name == "toys-aa"
    assert tags["fingerprint"] == "aa" and tags["dvc_experiment"] == "fond-heron"
    assert tags["seed"] == "3" and tags["device"] == "cpu" and "extractor_sha256" not in tags
    assert tags["version.torch"].startswith("2.") and tags["mlflow.note.content"] == "# A heading"


def test_a_run_names_every_experiment_that_continues_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fond-heron", "calm-otter", "fond-heron"):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with tracking.run("aa", dataset="toys") as run:
            pass
    assert store.connect().get_run(run.id).data.tags["dvc_experiment"] == "fond-heron, calm-otter"


def test_a_description_may_name_its_run(root: Path) -> None:
    with tracking.run("aa", dataset="toys", tags={"other": "{run_id}"}) as run:
        run.describe("![](get-artifact?path=a.png&run_uuid={run_id})")
    tags = store.connect().get_run(run.id).data.tags
    assert (
        tags["mlflow.note.content"] == f"![](get-artifact?path=a.png&run_uuid={run.id})"
        and tags["other"] == "{run_id}"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("log", ["rows", "file", "image"])
def test_a_full_disk_under_the_journal_ends_the_stage(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    log: str,
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    (root / "a.txt").write_text("a")
    with (
        pytest.raises(EnvironmentProblem, match=r"journal.*: no space left on the disk"),
        tracking.run("aa", dataset="toys") as run,
        monkeypatch.context() as patch,
    ):
        patch.setattr(journal, "_append", full)
        patch.setattr(shutil, "copyfile", full)
        patch.setattr(Image.Image, "save", full)
        if log == "rows":
            run.log_rows(ROWS)
        elif log == "file":
            run.log_file(root / "a.txt")
        else:
            run.log_image(np.zeros((4, 4, 3), np.uint8), "samples", 1)
    assert store.connect().get_run(run.id).info.status == "FAILED"


def test_a_disk_that_is_full_at_the_very_end_does_not_undo_what_is_done(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        assert run.id
        patch.setattr(journal, "_append", full)
    assert run.off and len(points(run.id, "loss_d")) == len(ROWS)


def test_rows_logged_again_add_no_point(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        run.log_rows(ROWS)
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
    assert points(run.id, "loss_d") == [(row["step"], row["loss_d"]) for row in ROWS]


def test_a_resumed_training_adds_only_what_is_missing(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS[:12])
        raise KeyboardInterrupt
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS[8:])
    assert points(run.id, "loss_g") == [(row["step"], row["loss_g"]) for row in ROWS]


def test_more_rows_than_one_call_takes_all_arrive(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows({"step": step, "loss_d": 0.5, "loss_g": 0.5} for step in range(1200))
    assert len(points(run.id, "loss_d")) == len(points(run.id, "loss_g")) == 1200


def test_a_changed_figure_supersedes_the_old_and_an_equal_one_adds_no_point(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_metrics({"fid_10k": 9.0})
        run.log_metrics({"fid_10k": 9.0})
    with tracking.run("aa", dataset="toys") as run:
        run.log_metrics({"fid_10k": 9.0})
        assert points(run.id, "fid_10k") == [(0, 9.0)]
        run.log_metrics({"fid_10k": 8.0})
    assert store.connect().get_run(run.id).data.metrics["fid_10k"] == 8.0


def test_what_is_not_finite_becomes_a_tag(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_metrics({"fid_10k": math.inf, "kid_10k": 0.5, "absent": None}, step=3)
        run.log_rows([{"step": 7, "loss_d": math.nan}])
    data = store.connect().get_run(run.id).data
    assert data.metrics == {"kid_10k": 0.5}
    assert (
        data.tags["fid_10k.not_finite"] == "inf at step 3"
        and data.tags["loss_d.not_finite"] == "nan at step 7"
    )


def test_a_conflicting_parameter_keeps_its_first_value_and_warns(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_params({"lr": 0.1, "seed": 1})
        run.log_params({"lr": 0.1})
        assert not warnings(caplog)
        run.log_params({"lr": 0.2, "epochs": 6})
        run.log_metrics({"fid_10k": 1.0})
    logged = store.connect().get_run(run.id)
    assert logged.data.params == {"lr": "0.1", "seed": "1", "epochs": "6"}
    assert logged.data.metrics and logged.info.status == "FINISHED"
    (line,) = warnings(caplog)
    assert "lr = 0.1" in line and "0.2" in line


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (DataError("bad"), "FAILED"),
        (ZeroDivisionError(), "FAILED"),
        (SystemExit(1), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (Stopped("stopped", 15), "KILLED"),
    ],
    ids=repr,
)
def test_a_run_ends_as_its_stage_does_and_finishes_when_it_is_continued(
    root: Path, error: BaseException | None, status: str
) -> None:
    def stage() -> None:
        with tracking.run("aa", dataset="toys") as run:
            ids.append(run.id)
            assert store.connect().get_run(run.id).info.status == "RUNNING"
            if error:
                raise error

    ids: list[str | None] = []
    if error:
        with pytest.raises(type(error)):
            stage()
    else:
        stage()
    assert store.connect().get_run(ids[0]).info.status == status
    error = None
    stage()
    assert ids[0] == ids[1] and store.connect().get_run(ids[0]).info.status == "FINISHED"


def test_images_files_and_models_are_logged_once(root: Path) -> None:
    for name in ("generator.safetensors", "generator.json", "docs/index.html", "training.gif"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    Image.new("L", (28, 28)).save(root / "grid.png")
    for _ in range(2):
        with tracking.run("aa", dataset="toys") as run:
            run.log_image(root / "grid.png", "samples", 0)
            run.log_image(np.zeros((28, 28, 3), np.uint8), "samples", 10)
            run.log_image(np.zeros((28, 28), np.uint8), "samples", 1)
            run.log_file(root / "training.gif", "render")
            run.log_folder(root / "docs", "validate/data_docs")
            run.log_model(root / "generator.safetensors")
    client = store.connect()
    images = [file.path for file in client.list_artifacts(run.id, "images")]
    assert len([path for path in images if path.endswith(".png")]) == 3
    assert {file.path for file in client.list_artifacts(run.id, "model")} == {
        "model/generator.safetensors",
        "model/generator.json",
    }
    assert [file.path for file in client.list_artifacts(run.id, "render")] == [
        "render/training.gif"
    ]
    assert [file.path for file in client.list_artifacts(run.id, "validate/data_docs")] == [
        "validate/data_docs/index.html"
    ]
    assert (root / ".mlflow/artifacts/dcgan-toys").is_dir()


def test_a_missing_file_is_a_warning_and_the_run_goes_on(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_folder(root / "nowhere", "validate")
        run.log_metrics({"fid_10k": 1.0})
    assert points(run.id, "fid_10k") == [(0, 1.0)]
    assert len(warnings(caplog)) == 1


def test_four_processes_share_a_fresh_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    # Forked from one process that has imported mlflow, so that they meet at the store at the same
    # moment, and the test is quick.
    script = """if True:
        import multiprocessing
        import mlflow
        from dcgan.tracking import outbox, runs as tracking

        outbox.PATIENCE = 60

        def train(fingerprint):
            with tracking.run(fingerprint, dataset="toys") as run:
                for start in range(0, 200, 50):
                    run.log_rows([{"step": start + i, "loss": 1.0} for i in range(50)])
            print(run.id, run.off, flush=True)

        processes = [multiprocessing.get_context("fork").Process(target=train, args=(f"f{i}",)) for i in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    """
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    answers = [line.split() for line in output.splitlines()]
    assert [off for _, off in answers] == ["False"] * 4
    assert [len(points(run_id, "loss")) for run_id, _ in answers] == [200] * 4


@pytest.mark.parametrize("damage", ["deleted", "locked", "no database"])
def test_a_store_that_fails_midway_costs_one_warning(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(store, "SQLITE_TIMEOUT", 0.1)
    database = root / ".mlflow/mlflow.db"
    steps = 0
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS[:5])
        assert run.id  # they are in the store
        other = sqlite3.connect(database)
        if damage == "deleted":
            database.unlink()
        elif damage == "locked":
            other.execute("BEGIN EXCLUSIVE")
        else:
            database.write_bytes(b"x" * 4096)
        for row in ROWS:
            run.log_rows([row])
            run.log_image(np.zeros((8, 8), np.uint8), "samples", int(row["step"]))
            steps += 1
    other.close()
    assert steps == len(ROWS) and run.off
    assert len(warnings(caplog)) == 1
    assert database.exists() == (damage != "deleted")


@pytest.fixture
def silent_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts and never answers, and the connections it has accepted."""
    accepted: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        try:
            while True:
                accepted.append(listener.accept()[0])
        except OSError:
            pass

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in accepted:
        connection.close()


def test_a_server_that_never_answers_is_tried_twice(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    silent_server: tuple[str, list[socket.socket]],
) -> None:
    address, accepted = silent_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with tracking.run("aa", dataset="toys") as run:
        for row in ROWS:
            run.log_rows([row])
    assert run.id is None and run.off
    assert 1 <= len(accepted) <= 2
    assert len(warnings(caplog)) == 1


def test_a_dead_server_costs_one_warning_without_the_password(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:canary@127.0.0.1:{port}")
    with tracking.run("aa", dataset="toys") as run:
        run.log_params({"lr": 0.1})
        run.describe("text")
        run.log_rows(ROWS)
    (line,) = warnings(caplog)
    assert run.off and f"127.0.0.1:{port}" in line and "\n" not in line
    output = capfd.readouterr()
    assert "canary" not in caplog.text + output.out + output.err


def test_a_password_in_an_address_reaches_no_store(root: Path) -> None:
    with tracking.run(
        "aa", dataset="toys", tags={"source": "https://me:canary@example.org/a"}
    ) as run:
        run.log_params({"dataset.source": "https://me:canary@example.org/a"})
        run.describe("from https://me:canary@example.org/a")
    assert store.connect().get_run(run.id).data.params == {
        "dataset.source": "https://example.org/a"
    }
    assert b"canary" not in (root / ".mlflow/mlflow.db").read_bytes()


def test_a_folder_with_strange_characters_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = tmp_path / "a b#é"
    strange.mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(strange))
    (strange / "note.txt").write_text("text")
    with tracking.run("aa", dataset="toys") as run:
        run.log_file(strange / "note.txt")
    assert [file.path for file in store.connect().list_artifacts(run.id)] == ["note.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b#é"]


def test_params_are_flattened_and_hashed_whatever_their_order() -> None:
    params = {
        "lr": 2e-4,
        "generator": {"channels": [8, 4], "bias": False},
        "dataset": {"source": None},
    }
    assert provenance.flatten(params) == {
        "lr": 2e-4, "generator.channels": "[8, 4]", "generator.bias": False, "dataset.source": "null",
    }  # fmt: skip
    assert provenance.params_hash(params) == provenance.params_hash(dict(reversed(params.items())))
    assert provenance.params_hash(params) != provenance.params_hash({**params, "lr": 1e-4})


def test_the_git_state_is_told_and_needs_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state() == (None, False)

    def git(*args: str) -> str:
        identity = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
            "-c",
            "commit.gpgsign=false",
        ]
        return subprocess.run(
            ["git", *identity, *args], check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "params.yaml").write_text("lr: 1\n")
    (tmp_path / "dvc.lock").write_text("a\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "all")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "dvc.lock").write_text("b\n")
    assert provenance.git_state() == (commit, False)
    (tmp_path / "params.yaml").write_text("lr: 2\n")
    assert provenance.git_state() == (commit, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state() == (None, False)


def dead_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def waiting(root: Path) -> list[str]:
    """What is left in the journal."""
    runs = journal.runs(root / ".mlflow/journal")
    return [
        entry["op"]
        for run in runs
        for session in journal.sessions(run)
        for entry, _ in session.unsent()
    ]


def artifacts(run_id: str | None, folder: str | None = None) -> set[str]:
    client = store.connect()
    found = set()
    for file in client.list_artifacts(run_id, folder):
        found |= artifacts(run_id, file.path) if file.is_dir else {file.path}
    return found


def test_a_run_whose_store_took_everything_leaves_no_journal(root: Path) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        run.log_image(np.zeros((8, 8), np.uint8), "samples", 1)
    assert list((root / ".mlflow/journal").iterdir()) == []


def test_a_store_that_comes_back_gets_what_it_missed_once_and_each_outage_is_one_warning(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SQLITE_TIMEOUT", 0.1)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.1)
    with tracking.run("aa", dataset="toys") as run:
        assert run.id
        for outage in range(2):
            other = sqlite3.connect(root / ".mlflow/mlflow.db")
            other.execute("BEGIN EXCLUSIVE")
            for row in ROWS[outage * 10 :][:10]:
                run.log_rows([row])
            while not run.off:
                time.sleep(0.01)
            assert len(warnings(caplog)) == outage + 1
            other.close()
            while run.off:
                time.sleep(0.01)
    assert not run.off and waiting(root) == []
    assert points(run.id, "loss_d") == [(row["step"], row["loss_d"]) for row in ROWS]
    assert len(warnings(caplog)) == 2


def test_what_the_store_missed_comes_with_the_next_stage_though_the_sources_are_gone(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "docs/deep").mkdir(parents=True)
    (root / "docs/deep/a.html").write_text("first")
    Image.new("L", (28, 28)).save(root / "grid.png")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_address())
    with tracking.run("aa", dataset="toys", tags={"seed": 3}) as first:
        first.log_params({"lr": 0.1})
        first.log_rows(ROWS)
        first.log_folder(root / "docs", "validate")
        first.log_image(root / "grid.png", "samples", 0)
        first.log_dataset("toys", "0" * 64, Path("data/prepared"), "training")
    assert first.off and len(waiting(root)) == 8
    shutil.rmtree(root / "docs")
    (root / "grid.png").unlink()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.run("aa", dataset="toys") as second:
        second.log_metrics({"fid_10k": 1.0})
    assert waiting(root) == [] and len(warnings(caplog)) == 1
    logged = store.connect().get_run(second.id)
    assert (
        logged.data.params == {"lr": "0.1"}
        and logged.data.tags["seed"] == "3"
        and logged.info.status == "FINISHED"
    )
    assert points(second.id, "loss_g") == [(row["step"], row["loss_g"]) for row in ROWS]
    assert (
        "validate/deep/a.html" in artifacts(second.id) and len(artifacts(second.id, "images")) == 2
    )
    (data,) = logged.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("toys", "0" * 36)


def test_a_silent_server_does_not_hold_a_stage_up(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    silent_server: tuple[str, list[socket.socket]],
) -> None:
    monkeypatch.setattr(outbox, "PATIENCE", 0.2)
    # Much longer than the test may last.
    monkeypatch.setattr(store, "ANSWER_TIMEOUT", 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server[0])
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
    (line,) = warnings(caplog)
    assert (
        "no answer" in line
        and "pipeline sync" in line
        and waiting(root) == ["open", "points", "close"]
    )


@pytest.mark.parametrize("damage", ["no store", "silent", "locked", "read-only", "no database"])
def test_weights_do_not_depend_on_the_store(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent_server: tuple[str, list[socket.socket]],
    damage: str,
) -> None:
    values = copy.deepcopy(reading.read_yaml(Path("params.yaml")))
    values |= {"batch_size": 8, "epochs": 2}
    values["dataset"]["image_size"] = 16
    values["generator"] |= {"start_size": 4, "channels": [8, 8], "strides": [2, 2], "z_dim": 4}
    values["discriminator"] |= {"channels": [8, 8], "strides": [2, 2], "dropout": [0.3, 0.3]}
    values["training"] |= {"log_every": 1}
    params = reading.parse(values)
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    device = devices.choose_device("cpu")

    def weights(folder: str) -> list[bytes]:
        with (
            Checkpoints(root, folder) as checkpoints,
            tracking.run(folder, dataset="toys", system_metrics=True) as run,
        ):
            state = training.train(
                images,
                checkpoints,
                **small_training.training_arguments(params),
                device=device,
                precision="float32",
                on_row=lambda row: run.log_rows([row]),
            )
        return [
            tensor.detach().numpy().tobytes() for tensor in state.generator.state_dict().values()
        ]

    expected = weights("healthy")
    assert waiting(root) == []
    monkeypatch.setattr(outbox, "PATIENCE", 0.2)
    monkeypatch.setattr(store, "SQLITE_TIMEOUT", 0.1)
    other = sqlite3.connect(root / ".mlflow/mlflow.db")
    if damage == "no store":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_address())
    elif damage == "silent":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server[0])
    elif damage == "locked":
        other.execute("BEGIN EXCLUSIVE")
    elif damage == "read-only":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/nowhere/mlflow.db")
        (root / "nowhere").write_text("a file, so that no store can be made in it")
    else:
        (root / ".mlflow/mlflow.db").write_bytes(b"x" * 4096)
    assert weights("broken") == expected
    other.close()
    assert waiting(root)[-1] == "close"


def killed_at_mark(number: int, rows: list[dict[str, float]]) -> None:
    """A stage that is killed when it has sent its `number`-th entry and not yet marked it."""
    marks = iter(range(1, 1000))

    def mark(session: journal.Session, sent: int) -> None:
        if next(marks) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real_mark(session, sent)

    real_mark = journal.Session.mark
    pytest.MonkeyPatch().setattr(
        journal.Session, "mark", mark
    )  # never undone: this process is killed
    with tracking.run("aa", dataset="toys", tags={"seed": 3}) as run:
        run.log_params({"lr": 0.1})
        for row in rows:
            run.log_rows([row])
        run.log_metrics({"fid_10k": 9.0})
        run.log_metrics({"fid_10k": 8.0})
        run.log_image(np.zeros((8, 8), np.uint8), "samples", 1)


def killed_in_the_middle() -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        assert run.id
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_stage_that_is_killed_between_sending_and_marking_sends_nothing_twice(root: Path) -> None:
    store.connect()
    codes = []
    for number in range(1, 30):
        # Forked, because to import MLflow takes seconds.
        process = multiprocessing.get_context("fork").Process(
            target=killed_at_mark, args=(number, ROWS[:4])
        )
        process.start()
        process.join()
        codes.append(process.exitcode)
        if process.exitcode == 0:
            break
    assert codes[-1] == 0 and set(codes[:-1]) == {-signal.SIGKILL} and len(codes) > 5
    client = store.connect()
    (found,) = client.search_runs([client.get_experiment_by_name("dcgan-toys").experiment_id])
    assert found.info.status == "FINISHED" and found.data.params == {"lr": "0.1"}
    run_id = found.info.run_id
    assert points(run_id, "loss_d") == [(row["step"], row["loss_d"]) for row in ROWS[:4]]
    assert found.data.metrics["fid_10k"] == 8.0
    assert len(artifacts(run_id, "images")) == 2 and waiting(root) == []


def test_a_killed_run_is_marked_at_the_next_start_of_any_stage_and_a_living_one_is_not(
    root: Path,
) -> None:
    store.connect()
    with tracking.run("living", dataset="toys") as living:
        assert living.id
        process = multiprocessing.get_context("fork").Process(target=killed_in_the_middle)
        process.start()
        process.join()
        client = store.connect()
        (killed,) = client.search_runs(
            [client.get_experiment_by_name("dcgan-toys").experiment_id], "tags.fingerprint = 'aa'"
        )
        assert killed.info.status == "RUNNING"
        with tracking.run("other", dataset="toys"):
            pass
        assert client.get_run(killed.info.run_id).info.status == "KILLED"
        assert client.get_run(living.id).info.status == "RUNNING"
    with tracking.run("aa", dataset="toys") as again:
        assert client.get_run(again.id).info.status == "RUNNING"
    assert again.id == killed.info.run_id and client.get_run(again.id).info.status == "FINISHED"


def test_sigterm_ends_a_stage_without_an_answer_of_its_own_as_killed(root: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(Stopped) as stopped, tracking.run("aa", dataset="toys") as run:
            assert run.id
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.value.exit_code == 143 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert store.connect().get_run(run.id).info.status == "KILLED"


def test_a_required_store_that_does_not_open_ends_the_stage_before_it_begins(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_address())
    with (
        pytest.raises(EnvironmentProblem, match="MLFLOW_TRACKING_URI"),
        tracking.run("aa", dataset="toys", required=True),
    ):
        raise AssertionError
    assert waiting(root) == []
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.run("aa", dataset="toys", required=True) as run:
        pass
    assert not run.off


def test_what_the_store_refuses_for_good_is_one_warning_and_does_not_hold_up_the_rest(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tracking.run("aa", dataset="toys") as run:
        store.connect().delete_run(run.id)
        run.log_rows(ROWS[:1])
        run.log_rows(ROWS[1:])
    assert waiting(root) == [] and sum("points" in line for line in warnings(caplog)) == 1


def test_a_store_that_was_replaced_meanwhile_gets_a_run_of_its_own(
    root: Path, empty_store: Path
) -> None:
    with tracking.run("aa", dataset="toys") as run:
        old = run.id
        shutil.copy(empty_store, root / "copy.db")
        os.replace(root / "copy.db", root / ".mlflow/mlflow.db")
        run.log_rows(ROWS)
    assert run.id != old and points(run.id, "loss_d") == [
        (row["step"], row["loss_d"]) for row in ROWS
    ]


def test_system_metrics_go_on_where_they_stopped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "SECONDS", 0.05)
    for _ in range(2):
        with tracking.run("aa", dataset="toys", system_metrics=True) as run:
            time.sleep(0.3)
    figures = store.connect().get_run(run.id).data.metrics
    names = ("cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_usage_percentage")
    assert {f"system/{name}" for name in names} <= set(figures)
    steps = [step for step, _ in points(run.id, f"system/{names[0]}")]
    assert steps == list(range(len(steps))) and len(steps) >= 4


def test_a_figure_supersedes_another_though_the_clock_was_set_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_metrics({"fid_10k": 9.0})
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 86_400 * 10**9)
    with tracking.run("aa", dataset="toys") as run:
        run.log_metrics({"fid_10k": 8.0})
    assert store.connect().get_run(run.id).data.metrics["fid_10k"] == 8.0


HOSTILE = ["../x", "%2e%2e/x", "a#b", "x" * 300, "a\0b", "\x1b[31mred", "..", "/etc/x"]


def test_hostile_names_are_escaped_and_nothing_is_written_outside(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "a.txt").write_text("text")
    before = {path for path in root.parent.rglob("*") if ".mlflow" not in path.parts}
    for name in HOSTILE:
        with tracking.run(name, dataset=name, name=name, tags={name: name}) as run:
            run.log_params({name: name})
            run.log_metrics({name: 1.0})
            run.log_image(np.zeros((8, 8), np.uint8), name, 1)
            run.log_file(root / "a.txt", name)
        logged = store.connect().get_run(run.id)
        shown = str([logged.info.run_name, logged.data.params, logged.data.tags])
        assert len(logged.data.metrics) == 1 and "\x1b" not in shown and "\0" not in shown
        assert (
            sum(path.endswith("a.txt") for path in artifacts(run.id)) == 1
            and len(artifacts(run.id, "images")) == 2
        )
    assert not warnings(caplog) and waiting(root) == []
    assert {path for path in root.parent.rglob("*") if ".mlflow" not in path.parts} == before


def test_canaries_are_found_in_nothing_that_is_written(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    canaries = {
        "MLFLOW_TRACKING_PASSWORD": "canary-one", "AWS_ACCESS_KEY_ID": "AKIACANARYTWOCANARY2",
        "AWS_SECRET_ACCESS_KEY": "canary/three+abcdefghijklmnopqrstuvwxyz0123", "MLFLOW_TRACKING_TOKEN": "canary-four",
        "DATABASE": "postgresql://me:canary-five@example.org/a",
    }  # fmt: skip
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_address().replace("//", "//me:canary-six@"))
    texts = {f"text.{number}": f"failed: {value}" for number, value in enumerate(canaries.values())}
    with tracking.run("aa", dataset="toys", tags=texts) as run:
        run.log_params(texts)
        run.describe(str(texts))
    with (
        pytest.raises(EnvironmentProblem) as refused,
        tracking.run("aa", dataset="toys", required=True),
    ):
        pass
    said = "".join(traceback.format_exception(refused.value))
    kept = b"".join(path.read_bytes() for path in (root / ".mlflow").rglob("*") if path.is_file())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.run("aa", dataset="toys"):
        pass
    kept += b"".join(path.read_bytes() for path in (root / ".mlflow").rglob("*") if path.is_file())
    output = capfd.readouterr()
    assert b"failed: ***" in kept and b"canary" not in kept.lower()
    assert "canary" not in (said + caplog.text + output.out + output.err).lower()


def test_the_command_that_remakes_a_run_names_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    commit = "0123456789" * 4
    for state, expected in (
        ((commit, False), f"`git checkout {commit} && make repro`"),
        (
            (commit, True),
            f"`git checkout {commit}`, set these parameters, `make repro`; the folder differed from the commit",
        ),
        ((None, False), "`make repro` with these parameters; no commit is known"),
    ):
        monkeypatch.setattr(provenance, "git_state", lambda state=state: state)
        assert provenance.remake() == expected
    monkeypatch.setenv("DVC_EXP_NAME", "fond-heron")
    assert provenance.remake() == "`dvc exp apply fond-heron && make repro`"
