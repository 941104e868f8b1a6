"""A model folder as MLflow serves it, and the images that it must give."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan.networks import exports, sampling
from dcgan.promotion import serving
from tests.support import tiny_models


def write_made(folder: Path) -> Path:
    """Exports and the model folder made of them, below `folder`."""
    serving.write_model(
        folder / "model", tiny_models.write(folder / "exports", channels=3), "# card\n"
    )
    return folder


def decoded(text: str) -> np.ndarray:
    """A base64 PNG as C x H x W."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert image.format == "PNG"
        return np.asarray(image).transpose(2, 0, 1)


def drawn(made: Path, count: int, seed: int) -> np.ndarray:
    return sampling.sample(
        exports.load_generator(made / "exports/generator.safetensors")[0], count, seed=seed
    )
