"""MLflow's list of an experiment's runs with the columns that people compare, best run first.

By itself MLflow shows neither a parameter nor a figure there. Its button Share keeps a view as JSON
in a tag of the experiment; this module writes such a tag.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "mlflow.sharedViewState."
PARAMETERS = ("lr", "batch_size", "epochs", "seed")
FIGURES = ("fid.mean", "precision.mean", "recall.mean")
PROBE = "probe.discriminator.test_accuracy"
WIDTH, NARROW = 230, 80  # pixels, that a figure's name and a parameter's take
LOOKED_AT = 50  # runs, newest first: one of them has figures, if any has


def share(client: "MlflowClient", experiment_id: str) -> str | None:
    """Make the view of an experiment, unless it is there already.

    Args:
        client: of the store.
        experiment_id: of an experiment with one data set. Figures have their extractor in their
            names, so the view shows those of the newest run that has any.

    Returns:
        What the address of the view ends in, after `viewStateShareKey=`; None: no run has figures.
    """
    runs = client.search_runs([experiment_id], max_results=LOOKED_AT)
    measured = next((run for run in runs if section(run.data.metrics)), None)
    if measured is None:
        return None
    found = section(measured.data.metrics)
    figures = [f"{found}/{figure}" for figure in FIGURES]
    columns = [
        *(f"params.`{name}`" for name in PARAMETERS if name in measured.data.params),
        *(f"metrics.`{name}`" for name in (*figures, PROBE) if name in measured.data.metrics),
    ]
    text = json.dumps(state(columns, f"metrics.`{figures[0]}`"), sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    tags = client.get_experiment(experiment_id).tags
    if tags.get(TAG + key) != text:
        client.set_experiment_tag(experiment_id, TAG + key, text)
    return key


def section(metrics: dict[str, float]) -> str | None:
    """The extractor's part of the figures' names: "classifier-ab12cd34"; None without figures."""
    ending = f"/{FIGURES[0]}"
    return next((name.removesuffix(ending) for name in metrics if name.endswith(ending)), None)


def state(columns: list[str], order_by: str) -> dict[str, Any]:
    """What MLflow 3 keeps of a view: all keys, because it takes none from elsewhere."""
    return {
        "selectedColumns": columns, "columnOrder": columns,
        "columnWidths": {each: WIDTH if each.startswith("metrics") else NARROW for each in columns},
        "orderByKey": order_by,
        "orderByAsc": True, "searchFilter": "", "startTime": "ALL", "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs", "datasetsFilter": [], "runsExpanded": {},
        "runsPinned": [], "runsHidden": [], "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_10_RUNS", "viewMaximized": False, "runListHidden": False,
        "isAccordionReordered": False, "useGroupedValuesInCharts": True, "hideEmptyCharts": True,
        "groupBy": None, "groupsExpanded": {}, "autoRefreshEnabled": True,
        "globalLineChartConfig": {
            "xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": "",
        },
    }  # fmt: skip
