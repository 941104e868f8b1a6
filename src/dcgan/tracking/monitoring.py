"""Processor, memory, disk, network and GPU while a stage runs.

The names are those that MLflow's page of system metrics looks for. MLflow's own monitor needs a run
in the store and stops for good at the first failure; here the figures go to the journal.
"""

import contextlib
import os
import threading
from collections.abc import Callable

import psutil

SECONDS = 10.0  # between two samples, as in MLflow
MEGABYTE = 1e6


class Monitor:
    """Calls `on_sample` every ten seconds with figures by name, from a thread, until stopped."""

    def __init__(self, on_sample: Callable[[dict[str, float]], None]) -> None:
        self._on_sample = on_sample
        self._network_before: dict[str, float] = {}
        with contextlib.suppress(Exception):
            self._network_before = _network()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system metrics", daemon=True)
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
        figures: dict[str, float] = {}
        for read in (_processor, _memory, _disk, self._network, _gpus):
            with contextlib.suppress(Exception):  # what cannot be read is not shown
                figures |= read()
        return {f"system/{name}": value for name, value in figures.items()}

    def _network(self) -> dict[str, float]:
        """What was received and sent since the monitor began."""
        before = self._network_before
        return {name: value - before.get(name, 0.0) for name, value in _network().items()}


def _processor() -> dict[str, float]:
    return {"cpu_utilization_percentage": round(psutil.cpu_percent(), 1)}


def _memory() -> dict[str, float]:
    memory = psutil.virtual_memory()
    return {
        "system_memory_usage_megabytes": round(memory.used / MEGABYTE, 1),
        "system_memory_usage_percentage": round(memory.used / memory.total * 100, 1),
    }


def _disk() -> dict[str, float]:
    disk = psutil.disk_usage(os.sep)
    return {
        "disk_usage_percentage": round(disk.percent, 1),
        "disk_usage_megabytes": round(disk.used / MEGABYTE, 1),
        "disk_available_megabytes": round(disk.free / MEGABYTE, 1),
    }


def _network() -> dict[str, float]:
    """What the machine has received and sent since it started; nothing without a network."""
    counters = psutil.net_io_counters()
    if counters is None:
        return {}
    return {
        "network_receive_megabytes": counters.bytes_recv / MEGABYTE,
        "network_transmit_megabytes": counters.bytes_sent / MEGABYTE,
    }


def _gpus() -> dict[str, float]:
    """Memory, utilization and power of each GPU; nothing in a process that uses none.

    torch asks NVIDIA's library (the package nvidia-ml-py) for the GPUs that this process sees. A
    figure that a GPU or its driver does not give is left out.
    """
    import torch

    figures: dict[str, float] = {}
    for i in range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0):
        for read in (_gpu_memory, _gpu_utilization, _gpu_power):
            with contextlib.suppress(Exception):
                figures |= {f"gpu_{i}_{name}": value for name, value in read(i).items()}
    return figures


def _gpu_memory(index: int) -> dict[str, float]:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    used = total - free
    return {
        "memory_usage_percentage": round(used / total * 100, 1),
        "memory_usage_megabytes": round(used / MEGABYTE, 1),
    }


def _gpu_utilization(index: int) -> dict[str, float]:
    import torch

    return {"utilization_percentage": float(torch.cuda.utilization(index))}


def _gpu_power(index: int) -> dict[str, float]:
    import torch

    return {"power_usage_watts": torch.cuda.power_draw(index) / 1000}  # from milliwatts
