"""The device and the precision of a network: chosen by name, or by what the machine has."""

import os

import torch

from dcgan.errors import EnvironmentProblem


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU, or the CPU of a machine without one.

    Raises:
        EnvironmentProblem: cuda is asked for, and torch finds no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem(
            "params.yaml: training.device = 'cuda': torch finds no GPU: use auto or cpu"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def set_switches(device: torch.device, *, deterministic: bool) -> None:
    """Set torch's global switches for training on `device`; a CPU needs none.

    `deterministic` makes a GPU repeat itself bit for bit, as a CPU always does; otherwise it
    chooses the fastest algorithms. Either way it multiplies float32 in TensorFloat32.
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        # cuBLAS reads it at its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def choose_precision(name: str, device: torch.device) -> str:
    """`auto` is bfloat16 where the hardware computes in it, float32 elsewhere."""
    if name != "auto":
        return name
    return "bfloat16" if computes_in_bfloat16(device) else "float32"


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself computes in bfloat16; an emulation is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()
