"""What the tests of tracking log, and how they look at what arrived."""

import logging
import socket
from pathlib import Path

import pytest
from PIL import Image

from dcgan.tracking import journal, store

ROWS = [{"step": step, "loss_d": 1.0 / step, "loss_g": 2.0 / step} for step in range(1, 21)]


def points(run_id: str | None, key: str) -> list[tuple[int, float]]:
    assert run_id
    return sorted(
        (point.step, point.value) for point in store.connect().get_metric_history(run_id, key)
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


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


def save_image(folder: Path) -> Path:
    """A small black picture."""
    path = folder / "image.png"
    Image.new("RGB", (8, 8)).save(path)
    return path
