"""Inception v3 of 2015-12-05, with which published FIDs are computed (Heusel et al., 2017).

The layers are torch-fidelity's. Its loader is not used, because it runs any code in a pickle, and
its resize is not used, because it is the bilinear one of TensorFlow 1, which aliases. Images are
resized as by clean-fid (Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN
Evaluation", 2022).
"""

import hashlib
import io
import textwrap
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from dcgan import files
from dcgan.data import Images
from dcgan.errors import DataError
from dcgan.networks import batches

NUM_FEATURES = 2048
SIZE = 299  # side of the images that the first layer takes, pixels
RESIZE = f"bicubic to {SIZE} x {SIZE}, clean-fid"
ARCHITECTURE = "Inception v3 of 2015-12-05, to the average pool"
CPU_BATCH, GPU_BATCH = 4, 100


class Inception(nn.Module):
    """The network up to its average pool, which gives the features; frozen, in evaluation mode."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        """Fill the layers from weights by name.

        Raises:
            RuntimeError, TypeError: they do not fit the layers, or are no tensors.
        """
        super().__init__()
        self.layers = _layers()
        self.layers.load_state_dict(tensors, assign=True)
        self.layers.float().requires_grad_(False)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features float32 N x 2048, at least 0, of uint8 images N x C x H x W, C of 1 or 3."""
        features: torch.Tensor = self.layers((resize(images).expand(-1, 3, -1, -1) - 128) / 128)
        return features


def resize(images: torch.Tensor) -> torch.Tensor:
    """Images uint8 N x C x H x W as float32 N x C x 299 x 299, in 0 to 255, not rounded.

    Bicubic with a filter as wide as the reduction, which is what Pillow does with an image of
    floats, and so what clean-fid does.
    """
    # In float64 as Pillow: torch computes the filter's place in the images' precision, and float32
    # is 4e-3 of a level off.
    resized = F.interpolate(
        images.double(), (SIZE, SIZE), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.float().clamp_(0, 255)


@torch.inference_mode()
def extract(
    network: Inception,
    images: Images,
    on_batch: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Features float32 N x 2048 of uint8 images N x C x H x W, C of 1 or 3, in float32 throughout.

    The last batch is filled up: an image's features do not depend on the number of images.

    Args:
        network: on any device.
        images: N x C x H x W; mapped images are read a batch at a time.
        on_batch: called with the number of images done, and of all, after each batch.

    Raises:
        DataError: no images, or images of another type or shape.
    """
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or len(images) == 0
        or images.shape[1] not in (1, 3)
    ):
        raise DataError(
            f"images: {images.dtype} {images.shape}: must be uint8 N x C x H x W, N at least 1,"
            " C of 1 or 3"
        )
    device = next(network.parameters()).device
    batch_size = CPU_BATCH if device.type == "cpu" else GPU_BATCH
    features = np.empty((len(images), NUM_FEATURES), np.float32)
    done = 0
    # cuDNN would round to 10 bits for speed, and choose among its algorithms anew in each run.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for batch, count in batches.padded(images, batch_size):
            features[done : done + count] = network(batch.to(device))[:count].cpu().numpy()
            done += count
            if on_batch is not None:
                on_batch(done, len(images))
    return features


def convert(source: Path, sha256: str, path: Path) -> None:
    """Read the published weights and write them as safetensors, with a description as JSON.

    Nothing else reads the published file, which is a pickle.

    Args:
        source: the weights by name, as `torch.save` writes them, in either of its formats.
        sha256: expected of the file; checked before its bytes are parsed.
        path: of the safetensors file. The layer after the average pool is left out.

    Raises:
        DataError: the file is missing, has another sha256, holds more than tensors, or its tensors
            do not fit the network.
    """
    # One read, so that the bytes hashed are the bytes used.
    try:
        content = source.read_bytes()
    except OSError as error:
        raise DataError(
            f"{source}: cannot be read ({error.strerror}): must be a file with Inception's weights"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(
            f"{source}: sha256 is {digest}, expected {sha256}: refused;"
            " set reference.weights to the right file,"
            " or reference.weights_sha256 if you trust this one"
        )
    try:
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise exceptions of many kinds
        # torch's message would explain how to run the code in the file anyway.
        kind = type(error).__name__
        raise DataError(
            f"{source}: is no file of tensors only ({kind}): must be what torch.save makes of them"
        ) from error
    if not isinstance(tensors, dict):
        raise DataError(f"{source}: holds a {type(tensors).__name__}: must be tensors by name")
    for name in ("fc.weight", "fc.bias"):  # the layer after the average pool
        tensors.pop(name, None)
    network = _built(tensors, source)
    layers = network.layers.state_dict()
    for name, tensor in layers.items():
        if not tensor.isfinite().all():
            raise DataError(
                f"{source}: tensor {name} has values that are not finite:"
                " must be Inception's weights"
            )
    description = {
        "architecture": ARCHITECTURE,
        "num_features": NUM_FEATURES,
        "resize": RESIZE,
        "weights_sha256": sha256,
    }
    files.write_tensors(path, layers, description)


def load(path: Path) -> tuple[Inception, dict[str, Any]]:
    """Read what `convert` wrote.

    Returns:
        The network, on the CPU, and its description with `weights_sha256`, the published file's.

    Raises:
        DataError: a file is missing, damaged, or of another architecture.
    """
    tensors, description = files.read_tensors(path)
    if description.get("architecture") != ARCHITECTURE or not isinstance(
        description.get("weights_sha256"), str
    ):
        raise DataError(
            f"{path}: architecture is {description.get('architecture')!r}:"
            f" must be {ARCHITECTURE!r}; run reference"
        )
    return _built(tensors, path), description


def _built(tensors: dict[str, Any], path: Path) -> Inception:
    try:
        return Inception(tensors)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        complaint = textwrap.shorten(" ".join(str(error).split()), 300)
        raise DataError(f"{path}: does not fit {ARCHITECTURE}: {complaint}") from error


def _layers() -> nn.Sequential:
    """The layers by torch-fidelity's names, without values.

    Its own class cannot be used, because it cannot be made without its loader.
    """
    from torch_fidelity import feature_extractor_inceptionv3 as its

    with torch.device("meta"):
        layers: list[tuple[str, nn.Module]] = [
            ("Conv2d_1a_3x3", its.BasicConv2d(3, 32, kernel_size=3, stride=2)),
            ("Conv2d_2a_3x3", its.BasicConv2d(32, 32, kernel_size=3)),
            ("Conv2d_2b_3x3", its.BasicConv2d(32, 64, kernel_size=3, padding=1)),
            ("MaxPool_1", nn.MaxPool2d(kernel_size=3, stride=2)),
            ("Conv2d_3b_1x1", its.BasicConv2d(64, 80, kernel_size=1)),
            ("Conv2d_4a_3x3", its.BasicConv2d(80, 192, kernel_size=3)),
            ("MaxPool_2", nn.MaxPool2d(kernel_size=3, stride=2)),
            ("Mixed_5b", its.InceptionA(192, pool_features=32)),
            ("Mixed_5c", its.InceptionA(256, pool_features=64)),
            ("Mixed_5d", its.InceptionA(288, pool_features=64)),
            ("Mixed_6a", its.InceptionB(288)),
            ("Mixed_6b", its.InceptionC(768, channels_7x7=128)),
            ("Mixed_6c", its.InceptionC(768, channels_7x7=160)),
            ("Mixed_6d", its.InceptionC(768, channels_7x7=160)),
            ("Mixed_6e", its.InceptionC(768, channels_7x7=192)),
            ("Mixed_7a", its.InceptionD(768)),
            ("Mixed_7b", its.InceptionE_1(1280)),
            ("Mixed_7c", its.InceptionE_2(2048)),
            ("AvgPool", nn.AdaptiveAvgPool2d(1)),
            ("flatten", nn.Flatten()),
        ]
        return nn.Sequential(OrderedDict(layers))
