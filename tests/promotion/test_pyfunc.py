"""A served model: loaded and asked by MLflow, from its folder alone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dcgan.promotion import registry
from dcgan.tracking import store
from tests.support.served import decoded, drawn, write_made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports and the model folder made of them; not to be changed."""
    return write_made(tmp_path_factory.mktemp("made"))


def elsewhere() -> dict[str, str]:
    """An environment that knows nothing of this project."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MLFLOW", "PYTHON", "DVC"))
    }
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return {**environment, **quiet, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


LOAD = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
import dcgan
def draw(*pairs):
    return model.predict(pd.DataFrame(pairs, columns=["seed", "count"])).to_dict("records")
refused = []
for seed, count in ((7, 0), (7, -1), (7, 1001), (-1, 1), (2**32, 1)):
    try:
        draw((seed, count))
    except mlflow.MlflowException as error:
        refused.append(str(error))
try:
    draw((1, 600), (2, 600))
except mlflow.MlflowException as error:
    refused.append(str(error))
answer = {"rows": draw((7, 3), (8, 1)), "more": draw((7, 101)), "refused": refused}
print(json.dumps({"dcgan": dcgan.__file__, **answer}))
"""


def test_mlflow_loads_it_without_this_project_on_the_path(made: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(made / "model")]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=elsewhere(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["dcgan"] == str(made / "model/code/dcgan/__init__.py")
    assert [(row["seed"], row["index"]) for row in answer["rows"]] == [
        (7, 0),
        (7, 1),
        (7, 2),
        (8, 0),
    ]
    images = np.stack([decoded(row["png"]) for row in answer["rows"]])
    # The very images of `python -m pipeline sample`, whatever the count.
    assert (images == np.concatenate([drawn(made, 3, 7), drawn(made, 1, 8)])).all()
    assert [row["png"] for row in answer["more"][:3]] == [row["png"] for row in answer["rows"][:3]]
    assert len(answer["more"]) == 101 and not (images[0] == images[3]).all()
    assert all("\n" not in line for line in answer["refused"])
    assert [
        re.search(r"(seed|count) = -?\d+: must be|ask for 1200 images", line) is not None
        for line in answer["refused"]
    ] == [True] * 6


@pytest.fixture
def server(made: Path, tmp_path: Path) -> Iterator[str]:
    """`mlflow models serve` of a champion, on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(tmp_path))
        version = registry.register(made / "model", dataset="toys", fingerprint="aa", tags={})
        registry.set_alias("toys", "champion", version.number, "the first", expected=None)
        address = store.location()
    command = [
        "mlflow",
        "models",
        "serve",
        "--env-manager",
        "local",
        "--model-uri",
        "models:/dcgan-toys@champion",
    ]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=tmp_path, env={**elsewhere(), "MLFLOW_TRACKING_URI": address}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def ask(address: str, question: object) -> tuple[int, dict[str, object]]:
    """Status and answer to a question in JSON."""
    request = urllib.request.Request(
        address, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_mlflow_serves_pngs_for_seed_and_count(server: str, made: Path) -> None:
    expected = drawn(made, 3, 7)
    for question in (
        {"inputs": {"seed": 7, "count": 3}},
        {"inputs": {"seed": [7], "count": [3]}},
        {"inputs": [{"seed": 7, "count": 3}]},
        {"dataframe_records": [{"seed": 7, "count": 3}]},
        {"dataframe_split": {"columns": ["seed", "count"], "data": [[7, 3]]}},
    ):
        status, answer = ask(server, question)
        assert status == 200, answer
        rows = answer["predictions"]
        assert [(row["seed"], row["index"]) for row in rows] == [(7, 0), (7, 1), (7, 2)]
        assert (np.stack([decoded(row["png"]) for row in rows]) == expected).all()
    for question in (
        {"inputs": {"seed": [7], "count": [0]}},
        {"inputs": {"seed": [7], "count": [10**6]}},
    ):
        status, answer = ask(server, question)
        assert status == 400 and "must be 1 to 1000" in str(answer["message"])
