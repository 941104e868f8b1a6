"""Processor, memory, disk, network and GPU while a stage runs, under the names that MLflow's page of system metrics looks for.

MLflow's own monitor needs a run in the store and ends for good at the first failure; here the
figures go to the journal.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

SECONDS = 10.0  # between two samples, as in MLflow


class Monitor:
    """Calls `on_sample` every ten seconds with figures by name, from a thread of its own, until it is stopped."""

    def __init__(self, on_sample: Callable[[dict[str, float]], None]) -> None:
        self._on_sample = on_sample
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system metrics", daemon=True)
        self._monitors = _monitors()
        self._thread.start()

    def stop(self) -> None:
        """End it, after one more sample: a short stage has one, too."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(SECONDS):
            self._on_sample(self._sample())
        self._on_sample(self._sample())

    def _sample(self) -> dict[str, float]:
        figures = gpu_memory()
        for monitor in self._monitors:
            with contextlib.suppress(Exception):  # what cannot be read is not shown
                monitor.collect_metrics()
                figures |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        return {f"system/{name}": float(value) for name, value in figures.items()}


def gpu_memory() -> dict[str, float]:
    """What torch knows of every GPU's memory; MLflow's own monitor, which knows more, needs a package that we do not install."""
    import torch

    figures = {}
    for i in range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0):
        free, total = torch.cuda.mem_get_info(i)
        figures[f"gpu_{i}_memory_usage_percentage"] = round((total - free) / total * 100, 1)
        figures[f"gpu_{i}_memory_usage_megabytes"] = round((total - free) / 1e6, 1)
    return figures


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[Any] = []
    for kind in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor):
        with contextlib.suppress(Exception):  # no network, no GPU, no package that knows it
            monitors.append(kind())
    return monitors
