"""One MLflow run per training: what a stage logs is in it once."""

import errno
import math
import os
import shutil
import signal
import traceback
from pathlib import Path

import pytest
from PIL import Image

from dcgan.errors import DataError, EnvironmentProblem, Stopped
from dcgan.tracking import journal, runs, store
from tests.support.stores import (
    ROWS,
    dead_address,
    points,
    save_image,
    warnings,
)


@pytest.mark.holds("R-03")
def test_the_same_fingerprint_finds_the_same_run_again(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as first, runs.open_run("bb", dataset="toys") as other:
        pass
    with runs.open_run("aa", dataset="toys") as again:
        pass
    assert first.id == again.id != other.id


def test_runs_are_grouped_by_dataset(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as toys, runs.open_run("bb", dataset="shoes") as shoes:
        pass
    client = store.connect()
    names = [
        client.get_experiment(client.get_run(run.id).info.experiment_id).name
        for run in (toys, shoes)
    ]
    assert names == ["dcgan-toys", "dcgan-shoes"]


def test_a_new_run_says_what_it_was_made_with(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "fond-heron")
    with runs.open_run(
        "aa", dataset="toys", tags={"seed": 3, "device": "cpu", "extractor_sha256": None}
    ) as run:
        run.describe("# A heading")
    logged = store.connect().get_run(run.id)
    tags = logged.data.tags
    assert logged.info.run_name == "toys-aa"
    assert tags["fingerprint"] == "aa" and tags["dvc_experiment"] == "fond-heron"
    assert tags["seed"] == "3" and tags["device"] == "cpu" and "extractor_sha256" not in tags
    assert tags["version.torch"].startswith("2.") and tags["mlflow.note.content"] == "# A heading"


def test_a_description_may_name_its_run(root: Path) -> None:
    with runs.open_run("aa", dataset="toys", tags={"other": "{run_id}"}) as run:
        run.describe("![](get-artifact?path=a.png&run_uuid={run_id})")
    tags = store.connect().get_run(run.id).data.tags
    assert (
        tags["mlflow.note.content"] == f"![](get-artifact?path=a.png&run_uuid={run.id})"
        and tags["other"] == "{run_id}"
    )


@pytest.mark.holds("R-90")
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
    image = save_image(root)
    with (
        pytest.raises(EnvironmentProblem, match=r"journal.*: no space left on the disk"),
        runs.open_run("aa", dataset="toys") as run,
        monkeypatch.context() as patch,
    ):
        patch.setattr(journal, "_append", full)
        patch.setattr(shutil, "copyfile", full)
        if log == "rows":
            run.log_rows(ROWS)
        elif log == "file":
            run.log_file(root / "a.txt")
        else:
            run.log_image(image, "samples", 1)
    assert store.connect().get_run(run.id).info.status == "FAILED"


def test_a_disk_that_is_full_at_the_very_end_does_not_undo_what_is_done(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        assert run.id
        patch.setattr(journal, "_append", full)
    assert run.off and len(points(run.id, "loss_d")) == len(ROWS)


def test_rows_logged_again_add_no_point(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        run.log_rows(ROWS)
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
    assert points(run.id, "loss_d") == [(row["step"], row["loss_d"]) for row in ROWS]


@pytest.mark.holds("R-07")
def test_a_resumed_training_adds_only_what_is_missing(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt), runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS[:12])
        raise KeyboardInterrupt
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS[8:])
    assert points(run.id, "loss_g") == [(row["step"], row["loss_g"]) for row in ROWS]


def test_a_changed_figure_supersedes_the_old_and_an_equal_one_adds_no_point(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_metrics({"fid.mean": 9.0})
        run.log_metrics({"fid.mean": 9.0})
    with runs.open_run("aa", dataset="toys") as run:
        run.log_metrics({"fid.mean": 9.0})
        assert points(run.id, "fid.mean") == [(0, 9.0)]
        run.log_metrics({"fid.mean": 8.0})
    assert store.connect().get_run(run.id).data.metrics["fid.mean"] == 8.0


@pytest.mark.holds("R-45")
def test_what_is_not_finite_becomes_a_tag(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_metrics({"fid.mean": math.inf, "kid.mean": 0.5, "absent": None}, step=3)
        run.log_rows([{"step": 7, "loss_d": math.nan}])
    data = store.connect().get_run(run.id).data
    assert data.metrics == {"kid.mean": 0.5}
    assert (
        data.tags["fid.mean.not_finite"] == "inf at step 3"
        and data.tags["loss_d.not_finite"] == "nan at step 7"
    )


@pytest.mark.holds("R-83")
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
        with runs.open_run("aa", dataset="toys") as run:
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


def test_images_and_files_are_logged_once(root: Path) -> None:
    for name in ("generator.safetensors", "docs/index.html", "training.gif"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    Image.new("L", (28, 28)).save(root / "grid.png")
    for _ in range(2):
        with runs.open_run("aa", dataset="toys") as run:
            run.log_image(root / "grid.png", "samples", 0)
            run.log_image(save_image(root), "samples", 10)
            run.log_image(root / "grid.png", "samples", 1)
            run.log_file(root / "training.gif", "render")
            run.log_folder(root / "docs", "validate/data_docs")
            run.log_file(root / "generator.safetensors", "model")
    client = store.connect()
    images = [file.path for file in client.list_artifacts(run.id, "images")]
    assert len([path for path in images if path.endswith(".png")]) == 3
    assert {file.path for file in client.list_artifacts(run.id, "model")} == {
        "model/generator.safetensors",
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
    with runs.open_run("aa", dataset="toys") as run:
        run.log_folder(root / "nowhere", "validate")
        run.log_metrics({"fid.mean": 1.0})
    assert points(run.id, "fid.mean") == [(0, 1.0)]
    assert len(warnings(caplog)) == 1


@pytest.mark.holds("R-22")
def test_sigterm_ends_a_stage_without_an_answer_of_its_own_as_killed(root: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(Stopped) as stopped, runs.open_run("aa", dataset="toys") as run:
            assert run.id
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.value.exit_code == 143 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert store.connect().get_run(run.id).info.status == "KILLED"


def test_a_password_in_an_address_reaches_no_store(root: Path) -> None:
    with runs.open_run(
        "aa", dataset="toys", tags={"source": "https://me:canary@example.org/a"}
    ) as run:
        run.log_params({"dataset.source": "https://me:canary@example.org/a"})
        run.describe("from https://me:canary@example.org/a")
    assert store.connect().get_run(run.id).data.params == {
        "dataset.source": "https://example.org/a"
    }
    assert b"canary" not in (root / ".mlflow/mlflow.db").read_bytes()


@pytest.mark.holds("R-84")
def test_canaries_are_found_in_nothing_that_is_written(
    root: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    canaries = {
        "MLFLOW_TRACKING_PASSWORD": "canary-one",
        "AWS_ACCESS_KEY_ID": "AKIACANARYTWOCANARY2",
        "AWS_SECRET_ACCESS_KEY": "canary/three+abcdefghijklmnopqrstuvwxyz0123",
        "MLFLOW_TRACKING_TOKEN": "canary-four",
        "DATABASE": "postgresql://me:canary-five@example.org/a",
    }
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_address().replace("//", "//me:canary-six@"))
    texts = {f"text.{number}": f"failed: {value}" for number, value in enumerate(canaries.values())}
    with runs.open_run("aa", dataset="toys", tags=texts) as run:
        run.log_params(texts)
        run.describe(str(texts))
    with (
        pytest.raises(EnvironmentProblem) as refused,
        runs.open_run("aa", dataset="toys", required=True),
    ):
        pass
    said = "".join(traceback.format_exception(refused.value))
    kept = b"".join(path.read_bytes() for path in (root / ".mlflow").rglob("*") if path.is_file())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with runs.open_run("aa", dataset="toys"):
        pass
    kept += b"".join(path.read_bytes() for path in (root / ".mlflow").rglob("*") if path.is_file())
    output = capfd.readouterr()
    assert b"failed: ***" in kept and b"canary" not in kept.lower()
    assert "canary" not in (said + caplog.text + output.out + output.err).lower()
