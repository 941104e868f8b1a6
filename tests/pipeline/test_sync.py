"""What a store missed is sent later, once, by `python -m pipeline sync`."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dcgan.tracking import journal, outbox, runs, store
from pipeline import cli, mlflow_server, sync
from tests.support.idx_source import write_idx_source
from tests.support.imports import ROOT
from tests.support.repository import Repository

ROWS = [{"step": step, "loss_d": 1.0 / step} for step in range(1, 21)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No store yet, and a dead server in its place."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    return tmp_path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def exit_code(function: Callable[..., None] = sync.main) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.run(function, args=[], prog="python -m pipeline sync")
    return int(ended.value.code or 0)


def steps(fingerprint: str) -> list[int]:
    client = store.connect()
    (run,) = client.search_runs(
        [client.get_experiment_by_name("dcgan-toys").experiment_id],
        f"tags.fingerprint = '{fingerprint}'",
    )
    return sorted(point.step for point in client.get_metric_history(run.info.run_id, "loss_d"))


@pytest.fixture
def failing_server() -> Iterator[str]:
    """A server that answers 500 to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500)

        do_POST = do_PATCH = do_PUT = do_GET

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_sync_says_what_it_sent_and_sends_nothing_twice(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "a.txt").write_text("text")
    for fingerprint in ("aa", "bb"):
        with runs.open_run(fingerprint, dataset="toys") as run:
            run.log_rows(ROWS)
            run.log_file(root / "a.txt")
    capsys.readouterr()
    assert exit_code() == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be opened" in line and "MLFLOW_TRACKING_URI" in line
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert exit_code() == 0
    address = f"sqlite:///{root}/.mlflow/mlflow.db"
    assert (
        capsys.readouterr().out
        == f"sync: 2 runs, 40 points, 2 files sent to {address}; 0 entries still wait\n"
    )
    assert exit_code() == 0
    assert capsys.readouterr().out == f"sync: nothing waits to be sent to {address}\n"
    assert steps("aa") == steps("bb") == list(range(1, 21))
    assert list((root / ".mlflow/journal").iterdir()) == []


def test_two_that_sync_at_once_send_everything_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        for row in ROWS:
            run.log_rows([row])
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    store.connect()
    command = [sys.executable, "-m", "pipeline", "sync"]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(int(output.split()[3]) for output in outputs) == 20
    assert steps("aa") == list(range(1, 21))


def test_a_server_that_answers_500_takes_nothing_and_sync_says_so(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing_server: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", failing_server)
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
    assert run.off
    capsys.readouterr()
    assert exit_code() == 6
    assert len(capsys.readouterr().err.splitlines()) == 1
    (run_folder,) = journal.runs(root / ".mlflow/journal")
    assert [session.waiting() for session in journal.sessions(run_folder)] == [3]


@pytest.mark.holds("R-80")
def test_a_server_that_dies_midway_and_comes_back_has_everything_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    uri = store.location()
    store.connect()
    (root / "a.txt").write_text("text")
    # The first answer of a fresh server is slow on a busy machine.
    monkeypatch.setattr(outbox, "PATIENCE", 60)
    monkeypatch.setattr(store, "ANSWER_TIMEOUT", 60)
    server = mlflow_server.start(uri, "127.0.0.1", port)
    try:
        mlflow_server.wait_until_it_answers(server, address)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with runs.open_run("aa", dataset="toys") as run:
            run.log_rows(ROWS[:10])
            run.log_file(root / "a.txt", "before")
            assert run.id
            server.end()
            run.log_rows(ROWS[5:])
            run.log_file(root / "a.txt", "after")
        assert run.off
        server = mlflow_server.start(uri, "127.0.0.1", port)
        mlflow_server.wait_until_it_answers(server, address)
        assert exit_code() == 0
        assert f"1 runs, 10 points, 1 files sent to {address}; 0 entries" in capsys.readouterr().out
        with urllib.request.urlopen(f"{address}/api/2.0/mlflow/runs/get?run_id={run.id}") as answer:
            assert json.load(answer)["run"]["info"]["status"] == "FINISHED"
        assert sorted(file.path for file in store.connect().list_artifacts(run.id)) == [
            "after",
            "before",
        ]
    finally:
        server.end()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert steps("aa") == list(range(1, 21))


@pytest.mark.slow
def test_the_train_stage_with_a_dead_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.support.params import small

    source = tmp_path_factory.mktemp("source")
    write_idx_source(source, num_train=700, num_test=200)
    repo = Repository(tmp_path_factory.mktemp("repo"), source, **small())
    repo.run("dvc", "repro", "validate")
    train, dead = ("python", "-m", "pipeline.train"), f"http://me:canary@127.0.0.1:{free_port()}"
    # Required: refused in a line, and nothing is trained.
    repo.set(**{"tracking.required": True})
    repo.env["MLFLOW_TRACKING_URI"] = dead
    done = repo.run(*train, check=False)
    assert (
        done.returncode == 6
        and len(done.stderr.splitlines()) == 1
        and "MLFLOW_TRACKING_URI" in done.stderr
    )
    assert not (repo.folder / "results/train/run.json").exists()
    # Not required: it trains, and sync sends all of it.
    repo.set(**{"tracking.required": False})
    done = repo.run(*train)
    assert len(done.stderr.splitlines()) == 1 and "pipeline sync" in done.stderr
    weights = repo.read("models/checkpoints/epoch-0002/discriminator.safetensors")
    repo.run("rm", "-r", ".scratch/train", "models/checkpoints")
    # Killed: marked and continued under the same id. What it wrote before goes to the store as
    # well.
    del repo.env["MLFLOW_TRACKING_URI"]
    process = subprocess.Popen(
        train, cwd=repo.folder, env=repo.env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert "runs, " in repo.run("python", "-m", "pipeline", "sync").stdout
    assert look(repo)["statuses"] == ["KILLED"]
    repo.run(*train)
    logged = look(repo)
    assert logged["statuses"] == ["FINISHED"] and logged["losses"] == sorted(set(logged["losses"]))
    assert logged["images"] == 2 and logged["dataset"] == ["fashion_mnist"] and logged["system"]
    assert repo.read("models/checkpoints/epoch-0002/discriminator.safetensors") == weights
    assert not list((repo.folder / ".mlflow/journal").iterdir())
    everything = [
        path.read_bytes()
        for path in repo.folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    ]
    assert not any(b"canary" in content for content in everything)


def look(repo: Repository) -> dict:
    script = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///" + sys.argv[1])
runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
run = runs[0]
images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
losses = [point.step for point in client.get_metric_history(run.info.run_id, "loss_d")]
print(json.dumps({"statuses": [run.info.status for run in runs], "losses": losses,
  "images": sum(path.endswith(".png") for path in images),
  "dataset": [input.dataset.name for input in run.inputs.dataset_inputs],
  "system": [key for key in run.data.metrics if key.startswith("system/")]}))
"""
    return json.loads(
        repo.run(
            "python", "-c", script, str(repo.folder / ".mlflow/mlflow.db")
        ).stdout.splitlines()[-1]
    )
