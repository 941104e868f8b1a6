"""Processor, memory, disk and network while a stage runs."""

import time
from pathlib import Path

import pytest
import torch

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


def test_each_gpu_has_memory_utilization_and_power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: (30_000_000, 40_000_000))
    monkeypatch.setattr(torch.cuda, "utilization", lambda i: 90 + i)

    def power(i: int) -> int:  # milliwatts
        if i:
            raise RuntimeError("this GPU does not tell")
        return 250_500

    monkeypatch.setattr(torch.cuda, "power_draw", power)
    assert monitoring._gpus() == {
        "gpu_0_memory_usage_percentage": 25.0, "gpu_0_memory_usage_megabytes": 10.0,
        "gpu_0_utilization_percentage": 90.0, "gpu_0_power_usage_watts": 250.5,
        "gpu_1_memory_usage_percentage": 25.0, "gpu_1_memory_usage_megabytes": 10.0,
        "gpu_1_utilization_percentage": 91.0,
    }  # fmt: skip


def test_a_process_that_uses_no_gpu_says_nothing_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # also where the machine has some
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert monitoring._gpus() == {}


def test_what_torch_asks_for_a_gpu_is_installed() -> None:
    import pynvml

    assert callable(pynvml.nvmlDeviceGetUtilizationRates)
    assert callable(pynvml.nvmlDeviceGetPowerUsage)
