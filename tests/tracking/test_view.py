"""The list of runs that `ui` links to: parameters and figures as columns, the best run first."""

import json
from pathlib import Path

from dcgan.tracking import runs, store, view


def log(fingerprint: str, extractor: str | None, fid: float) -> str:
    """The id of the experiment of a run with figures, or without."""
    with runs.open_run(fingerprint, dataset="toys") as run:
        run.log_params({"lr": 0.1, "epochs": 2, "generator.z_dim": 8})
        if extractor:
            run.log_metrics(
                {f"{extractor}/fid.mean": fid, f"{extractor}/recall.mean": 0.5,
                 f"{extractor}/validation/fid_raw": 9.0, view.PROBE: 0.9}
            )  # fmt: skip
    return str(store.connect().get_run(run.id).info.experiment_id)


def test_the_columns_are_those_of_the_newest_run_with_figures(root: Path) -> None:
    client = store.connect()
    experiment = log("aa", "classifier-1111", 5.0)
    log("bb", "classifier-2222", 4.0)
    log("cc", None, 0.0)
    key = view.share(client, experiment)
    tag = client.get_experiment(experiment).tags[f"{view.TAG}{key}"]
    state = json.loads(tag)
    assert state["selectedColumns"] == [
        "params.`lr`", "params.`epochs`", "metrics.`classifier-2222/fid.mean`",
        "metrics.`classifier-2222/recall.mean`", "metrics.`probe.discriminator.test_accuracy`",
    ]  # fmt: skip
    assert (state["orderByKey"], state["orderByAsc"]) == (
        "metrics.`classifier-2222/fid.mean`",
        True,
    )
    assert view.share(client, experiment) == key
    views = [name for name in client.get_experiment(experiment).tags if name.startswith(view.TAG)]
    assert len(views) == 1


def test_without_figures_there_is_no_view(root: Path) -> None:
    experiment = log("aa", None, 0.0)
    assert view.share(store.connect(), experiment) is None
    tags = store.connect().get_experiment(experiment).tags
    assert not [name for name in tags if name.startswith(view.TAG)]
