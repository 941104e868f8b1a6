"""The device and the precision of a network: chosen by name, or by what the machine has."""

import ctypes
import os

import torch

from dcgan.errors import EnvironmentProblem

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as malloc.h has them


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU that torch finds (cuda; mps on a Mac; xpu of Intel), else the CPU.

    Raises:
        EnvironmentProblem: a GPU is asked for, and torch finds no such one.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if name == "cpu" or (name == "auto" and found is None):
        return torch.device("cpu")
    if found is None or name not in ("auto", found.type):
        held = "no GPU" if found is None else f"'{found.type}' alone"
        raise EnvironmentProblem(
            f"params.yaml: training.device = '{name}': torch finds {held}: use auto or cpu"
        )
    return torch.device(found.type)


def set_switches(device: torch.device, *, deterministic: bool) -> None:
    """Set torch's global switches for work on `device`.

    float32 is float32 everywhere: a GPU of NVIDIA would multiply it in TensorFloat32, which has
    ten bits. `deterministic` makes a GPU repeat itself bit for bit, as a CPU always does;
    otherwise it chooses the fastest algorithms.
    """
    if device.type == "cpu":
        keep_memory()
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        # cuBLAS reads it at its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch makes it by the module's class


def opened(name: str, *, deterministic: bool = False) -> torch.device:
    """The device that `choose_device` chooses, with its switches set."""
    device = choose_device(name)
    set_switches(device, deterministic=deterministic)
    return device


def keep_memory() -> None:
    """Let the process keep the memory that it has freed, for the next step.

    By itself glibc gives large pieces back to the kernel and gets them again, zeroed page by page:
    thousands of page faults a step (docs/performance.md). Other C libraries lack this function.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return
    # Bytes, the most that they take.
    for option, value in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**31 - 1)):
        library.mallopt(option, value)


def choose_precision(name: str, device: torch.device) -> str:
    """`auto` is bfloat16 where the hardware computes in it, float32 elsewhere."""
    if name != "auto":
        return name
    return "bfloat16" if computes_in_bfloat16(device) else "float32"


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself computes in bfloat16; an emulation is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Of other GPUs nothing was measured.
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
