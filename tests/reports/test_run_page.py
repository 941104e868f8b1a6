"""The head of a run's page in MLflow."""

import pytest

from dcgan.reports import markdown, run_page
from dcgan.tracking.names import RUN_ID
from tests.support.committed import METRICS, TRAINING


@pytest.fixture(autouse=True)
def remake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan.tracking.provenance.remake", lambda: "`make repro`")


def test_the_page_says_what_was_trained_how_good_it_is_and_how_to_remake_it() -> None:
    text = run_page.describe(TRAINING, METRICS)
    first, image, head, *_ = text.split("\n\n")
    assert first.startswith(
        f"A DCGAN on **fashion_mnist**, 5 epochs, seed 999; epoch {METRICS['epoch']:.0f},"
        f" {METRICS['weights']} weights"
    )
    assert "render%2Freal_and_generated.png" in image and RUN_ID in image
    assert head.splitlines()[:3] == [
        "|  | &emsp;this model, test | &emsp;real train images | &emsp;noise |",
        "| --- | --- | --- | --- |",
        f"| {' | &emsp;'.join(markdown.figure_rows(METRICS)[0][:-1])} |",
    ]
    assert "10000 generated against 10000 real images" in text and "`classifier`" in text
    assert text.endswith(f"Made from data `{'d' * 16}`. Remake it: `make repro`.")
    assert "Collapsed" not in text


def test_the_page_warns_of_a_collapse() -> None:
    assert "**Collapsed:**" in run_page.describe(TRAINING, {**METRICS, "collapsed": True})
