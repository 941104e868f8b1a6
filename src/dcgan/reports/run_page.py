"""The head of a run's page in MLflow: what was trained, how good it is, how to remake it."""

from collections.abc import Mapping
from typing import Any

from dcgan.reports import markdown
from dcgan.tracking import provenance
from dcgan.tracking.names import RUN_ID


def describe(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Markdown for the head of the page.

    Args:
        training: results/train/run.json.
        metrics: results/evaluate/metrics.json.
    """
    protocol, collapsed = metrics["protocol"], ""
    if metrics["collapsed"]:
        collapsed = "\n\n**Collapsed:** its images vary far less than real ones."
    image = f"get-artifact?path=render%2Freal_and_generated.png&run_uuid={RUN_ID}"
    head = ["", "this model, test", "real train images", "noise"]
    table = markdown.spaced_table(head, [row for *row, _ in markdown.figure_rows(metrics)])
    return f"""\
A DCGAN on **{training["dataset"]}**, {training["epochs"]} epochs, seed {training["seed"]}; \
epoch {metrics["epoch"]}, {metrics["weights"]} weights, was chosen by the lowest FID on validation \
images and measured once on test images.{collapsed}

![real and generated images, once `render` is done]({image})

{table}

{protocol["generated_images"]} generated against {protocol["real_images"]} real images, mean and \
standard deviation of {protocol["draws"]} draws of latent vectors; extractor \
`{protocol["extractor"]}` `{protocol["extractor_sha256"][:16]}`. Grids of samples by epoch are \
under Model metrics, animations in the Artifacts under `render` and `paper`.

Made from data `{training["data_sha256"][:16]}`. Remake it: {provenance.remake()}."""
