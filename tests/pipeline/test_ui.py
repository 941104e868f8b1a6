"""The MLflow server of `ui`: it serves a fresh store, and ends with all its children."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from dcgan.tracking import outbox, runs, store
from pipeline import ui
from tests.support.imports import ROOT


def test_ui_prints_the_address_of_a_server_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:canary@mlflow.example.org")
    ui.main()
    assert capsys.readouterr().out == "MLflow runs at https://mlflow.example.org\n"


def test_ui_serves_a_fresh_store_and_ends_with_all_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"
    }
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port)]
    environment["DVC_ROOT"] = str(tmp_path)
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        # A shell starts background programs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert process.stdout
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get?experiment_id=0"
        ) as answer:
            assert json.load(answer)["experiment"]["name"] == "Default"
        # A run through the server, whose address holds a password.
        (tmp_path / "note.txt").write_text("text")
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:canary@127.0.0.1:{port}")
        # The first answer of a fresh server is slow on a busy machine.
        monkeypatch.setattr(outbox, "PATIENCE", 60)
        monkeypatch.setattr(store, "ANSWER_TIMEOUT", 60)
        with runs.open_run("aa", dataset="toys") as run:
            run.log_rows([{"step": 1, "loss": 0.5}])
            run.log_file(tmp_path / "note.txt", "notes")
        assert not run.off and "canary" not in "".join(capfd.readouterr())
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=30)
    assert status == 0
    assert (tmp_path / ".mlflow/mlflow.db").is_file()
    assert [path.name for path in tmp_path.glob(".mlflow/artifacts/**/*.txt")] == ["note.txt"]
    deadline = time.monotonic() + 10
    while using(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not using(port)


def using(port: int) -> list[str]:
    """Command lines of the processes that were started for a port."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"--port {port}" in text:
            commands.append(text)
    return commands
