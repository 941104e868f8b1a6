"""A generator as one ONNX file: latent vectors in, uint8 images out, any number at a time.

It needs the packages of PACKAGES, which no stage does: they are imported when a file is written.
"""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from dcgan.errors import EnvironmentProblem
from dcgan.networks.models import Generator

MODEL = "model.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUTS = "z", ("images", "values")
TOLERANCE = 1e-5  # of the values, which are in [-1, 1]
COMPARED = 8  # latent vectors

USE = """## Use it without torch

```python
import numpy, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
size = session.get_inputs()[0].shape[1]
z = numpy.random.default_rng(7).standard_normal((16, size), dtype=numpy.float32)
images, values = session.run(None, {"z": z})  # uint8 N x C x H x W; the same in [-1, 1]
```

A model whose latent vectors are uniform wants them from -1 to 1 instead.
"""


class _Drawing(nn.Module):
    """The generator and the rounding of `data.to_uint8`."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        values = self.generator(z).contiguous()
        return ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8), values


def check_packages() -> None:
    """Refuse to begin without the packages.

    Raises:
        EnvironmentProblem: one is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentProblem(
            f"--format onnx: the package {missing[0]} is missing: pip install {' '.join(PACKAGES)}"
        )


@torch.no_grad()
def write(path: Path, generator: Generator) -> None:
    """Write the file, then compare what onnxruntime draws from it with torch.

    Args:
        path: of the file. Its input is `z`, float32 N x z_dim; its outputs are `images`, uint8
            N x C x H x W, and `values`, the same before they are rounded, in [-1, 1].
        generator: in evaluation mode, on the CPU.

    Raises:
        EnvironmentProblem: a value differs by more than TOLERANCE.
    """
    import onnxruntime  # type: ignore[import-untyped]  # has no types

    drawing = _Drawing(generator).eval()
    size = generator.architecture.z_dim
    z = torch.randn(COMPARED, size, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(
        drawing, (z,), dynamo=True, verbose=False, input_names=[INPUT], output_names=OUTPUTS,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert program is not None  # only without dynamo
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    # Another number than the file was written with.
    for count in (COMPARED, 1):
        _, values = session.run(None, {INPUT: z[:count].numpy()})
        difference = (torch.from_numpy(values) - drawing(z[:count])[1]).abs().max().item()
        if not difference <= TOLERANCE:
            raise EnvironmentProblem(
                f"{path}: onnxruntime draws other images than torch (by {difference:.2g} of 2,"
                f" expected {TOLERANCE:g} at most): use other versions of {' '.join(PACKAGES)}"
            )
