"""From the journal to the store: what is sent twice is there once."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dcgan.tracking import journal, runs, store
from tests.support.stores import (
    ROWS,
    artifacts,
    points,
    save_image,
    waiting,
    warnings,
)

# MLflow itself is imported by `store.connect`, with our settings: tests of other modules run in
# this process, too.
if TYPE_CHECKING:
    from mlflow.entities import LoggedModel


def test_the_newest_of_several_runs_with_the_fingerprint_goes_on(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as first:
        pass
    client = store.connect()
    experiment = client.get_run(first.id).info.experiment_id
    newer = client.create_run(experiment, start_time=2**42, tags={"fingerprint": "aa"}).info.run_id
    with runs.open_run("aa", dataset="toys") as again:
        pass
    assert again.id == newer


def test_a_run_names_every_experiment_that_continues_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fond-heron", "calm-otter", "fond-heron"):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with runs.open_run("aa", dataset="toys") as run:
            pass
    assert store.connect().get_run(run.id).data.tags["dvc_experiment"] == "fond-heron, calm-otter"


def test_more_rows_than_one_call_takes_all_arrive(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows({"step": step, "loss_d": 0.5, "loss_g": 0.5} for step in range(1200))
    assert len(points(run.id, "loss_d")) == len(points(run.id, "loss_g")) == 1200


def test_a_conflicting_parameter_keeps_its_first_value_and_warns(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_params({"lr": 0.1, "seed": 1})
        run.log_params({"lr": 0.1})
        assert not warnings(caplog)
        run.log_params({"lr": 0.2, "epochs": 6})
        run.log_metrics({"fid.mean": 1.0})
    logged = store.connect().get_run(run.id)
    assert logged.data.params == {"lr": "0.1", "seed": "1", "epochs": "6"}
    assert logged.data.metrics and logged.info.status == "FINISHED"
    (line,) = warnings(caplog)
    assert "lr = 0.1" in line and "0.2" in line


def test_a_run_whose_store_took_everything_leaves_no_journal(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_rows(ROWS)
        run.log_image(save_image(root), "samples", 1)
    assert list((root / ".mlflow/journal").iterdir()) == []


def killed_at_mark(number: int, rows: list[dict[str, float]], image: Path) -> None:
    """A stage that is killed when it has sent its `number`-th entry and not yet marked it."""
    marks = iter(range(1, 1000))

    def mark(session: journal.Session, sent: int) -> None:
        if next(marks) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real_mark(session, sent)

    real_mark = journal.Session.mark
    # Never undone: this process is killed.
    pytest.MonkeyPatch().setattr(journal.Session, "mark", mark)
    with runs.open_run("aa", dataset="toys", tags={"seed": 3}) as run:
        run.log_params({"lr": 0.1})
        for row in rows:
            run.log_rows([row])
        run.log_metrics({"fid.mean": 9.0})
        run.log_metrics({"fid.mean": 8.0})
        run.log_image(image, "samples", 1)


@pytest.mark.holds("R-01")
def test_a_stage_that_is_killed_between_sending_and_marking_sends_nothing_twice(root: Path) -> None:
    store.connect()
    codes = []
    for number in range(1, 30):
        # Forked, because to import MLflow takes seconds.
        process = multiprocessing.get_context("fork").Process(
            target=killed_at_mark, args=(number, ROWS[:4], save_image(root))
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
    assert found.data.metrics["fid.mean"] == 8.0
    assert len(artifacts(run_id, "images")) == 2 and waiting(root) == []


def test_what_the_store_refuses_for_good_is_one_warning_and_does_not_hold_up_the_rest(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        store.connect().delete_run(run.id)
        run.log_rows(ROWS[:1])
        run.log_rows(ROWS[1:])
    assert waiting(root) == [] and sum("points" in line for line in warnings(caplog)) == 1


def test_a_store_that_was_replaced_meanwhile_gets_a_run_of_its_own(
    root: Path, empty_store: Path
) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        old = run.id
        shutil.copy(empty_store, root / "copy.db")
        os.replace(root / "copy.db", root / ".mlflow/mlflow.db")
        run.log_rows(ROWS)
    assert run.id != old and points(run.id, "loss_d") == [
        (row["step"], row["loss_d"]) for row in ROWS
    ]


@pytest.mark.holds("R-97")
def test_a_figure_supersedes_another_though_the_clock_was_set_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_metrics({"fid.mean": 9.0})
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 86_400 * 10**9)
    with runs.open_run("aa", dataset="toys") as run:
        run.log_metrics({"fid.mean": 8.0})
    assert store.connect().get_run(run.id).data.metrics["fid.mean"] == 8.0


CHECKED_ON = ("toys-validation", "ab" * 32)
DESCRIBED = {"split": "validation", "images": 7, "shape": [3, 8, 8], "classes": {"a": 3, "b": 4}}


def test_a_data_set_has_its_source_its_shape_and_its_counts(root: Path) -> None:
    with runs.open_run("aa", dataset="toys") as run:
        run.log_dataset(*CHECKED_ON, "own, sha256 1", "validation", DESCRIBED)
        run.log_dataset("toys", "ab" * 32, "https://example.com/toys/", "training", DESCRIBED)
    inputs = store.connect().get_run(run.id).inputs.dataset_inputs
    found = {each.dataset.name: each for each in inputs}
    for name, kind, source, context in (
        ("toys-validation", "external", {"uri": "own, sha256 1"}, "validation"),
        ("toys", "http", {"url": "https://example.com/toys/"}, "training"),
    ):
        data = found[name].dataset
        assert (data.source_type, json.loads(data.source)) == (kind, source)
        assert json.loads(data.profile) == DESCRIBED
        schema = json.loads(data.schema)["mlflow_tensorspec"]
        assert json.loads(schema["features"])[0]["tensor-spec"]["shape"] == [-1, 3, 8, 8]
        assert [tag.value for tag in found[name].tags] == [context]


def logged_models(run_id: str) -> "list[LoggedModel]":
    client = store.connect()
    experiment = client.get_run(run_id).info.experiment_id
    by_fid = [{"field_name": "metrics.checkpoint/fid", "ascending": True}]
    return list(client.search_logged_models([experiment], order_by=by_fid))


def log_checkpoints(run: runs.Run, sha256: str = "a") -> None:
    run.log_dataset(*CHECKED_ON, "own, sha256 1", "validation", DESCRIBED)
    for epoch, fid in ((1, 9.0), (2, 4.0), (3, 5.0)):
        run.log_checkpoint(
            f"epoch-{epoch:04d}", f"{sha256}{epoch}" * 32, epoch,
            {"checkpoint/fid": fid, "checkpoint/kid": float("nan")}, {"weights": "ema"}, CHECKED_ON,
        )  # fmt: skip


def test_checkpoints_are_models_that_their_figures_rank_each_once(root: Path) -> None:
    for _ in range(2):
        with runs.open_run("aa", dataset="toys") as run:
            log_checkpoints(run)
    models = logged_models(run.id)
    assert [model.name for model in models] == ["epoch-0002", "epoch-0003", "epoch-0001"]
    for model in models:
        assert model.source_run_id == run.id and str(model.status) == "READY"
        assert model.params == {"weights": "ema"}
        assert [(each.key, each.dataset_name) for each in model.metrics] == [
            ("checkpoint/fid", "toys-validation")
        ]
    assert points(run.id, "checkpoint/fid") == [(1, 9.0), (2, 4.0), (3, 5.0)]


def test_other_weights_of_an_epoch_are_another_model(root: Path) -> None:
    for sha256 in "ab":
        with runs.open_run("aa", dataset="toys") as run:
            log_checkpoints(run, sha256)
    assert len(logged_models(run.id)) == 6


@pytest.mark.parametrize("call", ["create_logged_model", "log_batch", "finalize_logged_model"])
def test_a_model_whose_sender_failed_midway_is_there_once_and_whole(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    from mlflow import MlflowClient

    real, failures = getattr(MlflowClient, call), iter([True])

    def fails_after(*args: object, **more: object) -> object:
        result = real(*args, **more)
        if next(failures, False):
            raise ConnectionError("gone")
        return result

    monkeypatch.setattr(MlflowClient, call, fails_after)
    for _ in range(2):
        with runs.open_run("aa", dataset="toys") as run:
            log_checkpoints(run)
    models = logged_models(run.id)
    assert len(models) == 3
    assert all(str(model.status) == "READY" and model.metrics for model in models)
    assert points(run.id, "checkpoint/fid") == [(1, 9.0), (2, 4.0), (3, 5.0)]
