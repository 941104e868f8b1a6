import ctypes
import os
import subprocess
import sys

import pytest
import torch

from dcgan.errors import EnvironmentProblem
from dcgan.networks import devices


@pytest.fixture(params=[None, "cuda", "mps"])
def gpu(request, monkeypatch):
    found = None if request.param is None else torch.device(request.param)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    return request.param


def test_auto_is_the_gpu_where_there_is_one(gpu):
    assert devices.choose_device("auto").type == (gpu or "cpu")
    assert devices.choose_device("cpu").type == "cpu"


def test_a_gpu_that_is_asked_for_and_missing_is_refused(gpu):
    if gpu == "cuda":
        assert devices.choose_device("cuda").type == "cuda"
    else:
        held = "finds 'mps' alone" if gpu else "finds no GPU"
        with pytest.raises(EnvironmentProblem, match=f"{held}: use auto or cpu"):
            devices.choose_device("cuda")


def switches():
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
    )


def test_choosing_a_device_sets_no_switch_and_a_cpu_needs_none(gpu):
    before = switches()
    devices.choose_device("auto")
    devices.set_switches(torch.device("cpu"), deterministic=True)
    assert switches() == before


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_gpu_repeats_itself_or_takes_the_fastest_algorithms(deterministic, monkeypatch):
    before = switches()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    try:
        devices.set_switches(torch.device("cuda"), deterministic=deterministic)
        assert switches() == (False, False, not deterministic, deterministic)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[:2]
        torch.backends.cudnn.benchmark = before[2]
        torch.use_deterministic_algorithms(before[3])


FAULTS = """
import resource, sys
sys.path.insert(0, "src")
import torch
from dcgan.networks import devices
if sys.argv[1] == "keep":
    devices.set_switches(torch.device("cpu"), deterministic=False)
def faults():
    for _ in range(5):
        kept = [torch.ones(2**22) for _ in range(8)]  # 16 MiB each, freed together
        del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
print(faults() - first)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="this is no glibc"
)
def test_on_the_cpu_freed_memory_is_used_again():
    """In a process of its own, because the allocator's settings stay."""
    kept, plain = (
        int(
            subprocess.check_output(
                [sys.executable, "-c", FAULTS, how],
                text=True,
                # glibc's own first setting, which it raises by itself, sometimes far enough.
                env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"},
            )
        )
        for how in ("keep", "plain")
    )
    assert 10 * kept < plain
