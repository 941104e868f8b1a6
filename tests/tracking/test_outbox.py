"""The thread that sends: a store that fails costs a stage seconds and a warning, nothing else."""

import copy
import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.config import reading
from dcgan.networks import devices
from dcgan.tracking import outbox, runs, store
from dcgan.training import loop as training
from dcgan.training.checkpoint import Checkpoints
from tests.support import small_training
from tests.support.imports import ROOT
from tests.support.stores import (
    ROWS,
    artifacts,
    dead_address,
    points,
    save_image,
    waiting,
    warnings,
)

ABOUT = {"split": "train", "images": 9, "shape": [1, 8, 8], "classes": {}}


@pytest.mark.holds("R-78")
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
        from dcgan.tracking import outbox, runs

        outbox.PATIENCE = 60

        def train(fingerprint):
            with runs.open_run(fingerprint, dataset="toys") as run:
                for start in range(0, 200, 50):
                    run.log_rows([{"step": start + i, "loss": 1.0} for i in range(50)])
            print(run.id, run.off, flush=True)

        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=train, args=(f"f{i}",)) for i in range(4)]
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


@pytest.mark.holds("R-81")
@pytest.mark.parametrize("damage", ["deleted", "locked", "no database"])
def test_a_store_that_fails_midway_costs_one_warning(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(store, "SQLITE_TIMEOUT", 0.1)
    database = root / ".mlflow/mlflow.db"
    steps = 0
    with runs.open_run("aa", dataset="toys") as run:
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
            run.log_image(save_image(root), "samples", int(row["step"]))
            steps += 1
    other.close()
    assert steps == len(ROWS) and run.off
    assert len(warnings(caplog)) == 1
    assert database.exists() == (damage != "deleted")


@pytest.mark.holds("R-80")
def test_a_server_that_never_answers_is_tried_twice(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    silent_server: tuple[str, list[socket.socket]],
) -> None:
    address, accepted = silent_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with runs.open_run("aa", dataset="toys") as run:
        for row in ROWS:
            run.log_rows([row])
    assert run.id is None and run.off
    assert 1 <= len(accepted) <= 2
    assert len(warnings(caplog)) == 1


@pytest.mark.holds("R-80")
def test_a_dead_server_costs_one_warning_without_the_password(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:canary@127.0.0.1:{port}")
    with runs.open_run("aa", dataset="toys") as run:
        run.log_params({"lr": 0.1})
        run.describe("text")
        run.log_rows(ROWS)
    (line,) = warnings(caplog)
    assert run.off and f"127.0.0.1:{port}" in line and "\n" not in line
    output = capfd.readouterr()
    assert "canary" not in caplog.text + output.out + output.err


@pytest.mark.holds("R-81")
def test_a_store_that_comes_back_gets_what_it_missed_once_and_each_outage_is_one_warning(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SQLITE_TIMEOUT", 0.1)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.1)
    with runs.open_run("aa", dataset="toys") as run:
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
    with runs.open_run("aa", dataset="toys", tags={"seed": 3}) as first:
        first.log_params({"lr": 0.1})
        first.log_rows(ROWS)
        first.log_folder(root / "docs", "validate")
        first.log_image(root / "grid.png", "samples", 0)
        first.log_dataset("toys", "0" * 64, "https://example.com/toys/", "training", ABOUT)
    assert first.off and len(waiting(root)) == 8
    shutil.rmtree(root / "docs")
    (root / "grid.png").unlink()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with runs.open_run("aa", dataset="toys") as second:
        second.log_metrics({"fid.mean": 1.0})
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


@pytest.mark.holds("R-80")
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
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
    (line,) = warnings(caplog)
    assert (
        "no answer" in line
        and "pipeline sync" in line
        and waiting(root) == ["open", "points", "close"]
    )


def killed_in_the_middle() -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        assert run.id
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.holds("R-83")
def test_a_killed_run_is_marked_at_the_next_start_of_any_stage_and_a_living_one_is_not(
    root: Path,
) -> None:
    store.connect()
    with runs.open_run("living", dataset="toys") as living:
        assert living.id
        process = multiprocessing.get_context("fork").Process(target=killed_in_the_middle)
        process.start()
        process.join()
        client = store.connect()
        (killed,) = client.search_runs(
            [client.get_experiment_by_name("dcgan-toys").experiment_id], "tags.fingerprint = 'aa'"
        )
        assert killed.info.status == "RUNNING"
        with runs.open_run("other", dataset="toys"):
            pass
        assert client.get_run(killed.info.run_id).info.status == "KILLED"
        assert client.get_run(living.id).info.status == "RUNNING"
    with runs.open_run("aa", dataset="toys") as again:
        assert client.get_run(again.id).info.status == "RUNNING"
    assert again.id == killed.info.run_id and client.get_run(again.id).info.status == "FINISHED"


@pytest.mark.holds("R-80")
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
            runs.open_run(folder, dataset="toys", system_metrics=True) as run,
        ):
            state = training.train(
                images,
                checkpoints,
                **small_training.training_arguments(params),
                device=device,
                precision="float32",
                on_row=lambda rows: run.log_rows(rows[-1:]),
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
