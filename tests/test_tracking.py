"""One MLflow run per training, whatever happens to the store."""

import logging
import math
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan import provenance, store, tracking
from dcgan.errors import DataError, Stopped

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
    (tmp_path / ".mlflow").mkdir()
    shutil.copy(empty_store, tmp_path / ".mlflow/mlflow.db")
    return tmp_path


def points(run_id: str | None, key: str) -> list[tuple[int, float]]:
    assert run_id
    return sorted((point.step, point.value) for point in store.connect().get_metric_history(run_id, key))


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
    names = [client.get_experiment(client.get_run(run.id).info.experiment_id).name for run in (toys, shoes)]
    assert names == ["dcgan-toys", "dcgan-shoes"]


def test_a_new_run_says_what_it_was_made_with(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "fond-heron")
    with tracking.run("aa", dataset="toys", tags={"seed": 3, "device": "cpu", "extractor_sha256": None}) as run:
        run.describe("# A heading")
    logged = store.connect().get_run(run.id)
    tags = logged.data.tags
    assert logged.info.run_name == "toys-aa"
    assert tags["fingerprint"] == "aa" and tags["dvc_experiment"] == "fond-heron"
    assert tags["seed"] == "3" and tags["device"] == "cpu" and "extractor_sha256" not in tags
    assert tags["version.torch"].startswith("2.") and tags["mlflow.note.content"] == "# A heading"


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
    assert data.tags["fid_10k.not_finite"] == "inf at step 3" and data.tags["loss_d.not_finite"] == "nan at step 7"


def test_a_conflicting_parameter_keeps_its_first_value_and_warns(root: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    assert {file.path for file in client.list_artifacts(run.id, "model")} == {"model/generator.safetensors", "model/generator.json"}
    assert [file.path for file in client.list_artifacts(run.id, "render")] == ["render/training.gif"]
    assert [file.path for file in client.list_artifacts(run.id, "validate/data_docs")] == ["validate/data_docs/index.html"]
    assert (root / ".mlflow/artifacts/dcgan-toys").is_dir()


def test_a_missing_file_is_a_warning_and_the_run_goes_on(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tracking.run("aa", dataset="toys") as run:
        run.log_folder(root / "nowhere", "validate")
        run.log_metrics({"fid_10k": 1.0})
    assert points(run.id, "fid_10k") == [(0, 1.0)]
    assert len(warnings(caplog)) == 1


def test_four_processes_share_a_fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(tracking.__file__).parent.parent))
    # Forked from one process that has imported mlflow, so that they meet at the store at the same moment, and the test is quick.
    script = """if True:
        import multiprocessing
        import mlflow
        from dcgan import tracking

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
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120).stdout
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
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, silent_server: tuple[str, list[socket.socket]]
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
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
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
    with tracking.run("aa", dataset="toys", tags={"source": "https://me:canary@example.org/a"}) as run:
        run.log_params({"dataset.source": "https://me:canary@example.org/a"})
        run.describe("from https://me:canary@example.org/a")
    assert store.connect().get_run(run.id).data.params == {"dataset.source": "https://example.org/a"}
    assert b"canary" not in (root / ".mlflow/mlflow.db").read_bytes()


def test_a_folder_with_strange_characters_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    params = {"lr": 2e-4, "generator": {"channels": [8, 4], "bias": False}, "dataset": {"source": None}}
    assert provenance.flatten(params) == {
        "lr": 2e-4, "generator.channels": "[8, 4]", "generator.bias": False, "dataset.source": "null",
    }  # fmt: skip
    assert provenance.params_hash(params) == provenance.params_hash(dict(reversed(params.items())))
    assert provenance.params_hash(params) != provenance.params_hash({**params, "lr": 1e-4})


def test_the_git_state_is_told_and_needs_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state() == (None, False)

    def git(*args: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *identity, *args], check=True, capture_output=True, text=True).stdout.strip()

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
