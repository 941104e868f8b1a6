"""The head of a run's page in MLflow: what was trained, how good it is, by which protocol, and how to remake it."""

from collections.abc import Mapping
from typing import Any

from dcgan.reports import model_card
from dcgan.tracking import provenance
from dcgan.tracking.names import RUN_ID


def describe(about: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Markdown for the head of the page.

    Args:
        about: results/train/run.json.
        metrics: results/evaluate/metrics.json.
    """
    protocol = metrics["protocol"]
    table = "\n".join(f"| {' | '.join(row)} |" for *row, _ in model_card.figures(metrics))
    warning = (
        "\n\n**Collapsed:** its images vary far less than real ones."
        if metrics["collapsed"]
        else ""
    )
    return f"""A DCGAN on **{about["dataset"]}**, {about["epochs"]} epochs, seed {about["seed"]}; epoch {metrics["epoch"]}, \
{metrics["weights"]} weights, was chosen by the lowest FID on validation images and measured once on test images.{warning}

![real and generated images, once `render` is done](get-artifact?path=render%2Freal_and_generated.png&run_uuid={RUN_ID})

| | this model, test | real train images | noise |
|---|---|---|---|
{table}

{protocol["generated_images"]} generated against {protocol["real_images"]} real images, mean and standard deviation of \
{protocol["draws"]} draws of latent vectors; extractor `{protocol["extractor"]}` `{protocol["extractor_sha256"][:16]}`. Grids of \
samples by epoch are under Model metrics, animations in the Artifacts under `render` and `paper`.

Made from data `{about["data_sha256"][:16]}`. Remake it: {provenance.remake()}."""
