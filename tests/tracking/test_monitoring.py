"""Processor, memory, disk and network while a stage runs."""

import time
from pathlib import Path

import pytest

from dcgan.tracking import monitoring, runs, store
from tests.support.stores import (
    points,
)


def test_system_metrics_go_on_where_they_stopped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "SECONDS", 0.05)
    for _ in range(2):
        with runs.open_run("aa", dataset="toys", system_metrics=True) as run:
            time.sleep(0.3)
    figures = store.connect().get_run(run.id).data.metrics
    names = ("cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_usage_percentage")
    assert {f"system/{name}" for name in names} <= set(figures)
    steps = [step for step, _ in points(run.id, f"system/{names[0]}")]
    assert steps == list(range(len(steps))) and len(steps) >= 4
