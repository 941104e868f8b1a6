"""Made-up weights in the layout of the published ones."""

from pathlib import Path

import torch

from dcgan.judging import inception


def inception_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Inception's tensors by name, drawn so that features differ from image to image; read only."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, like in inception._layers().state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(1)
        elif name.endswith(("running_var", "bn.weight")):
            tensors[name] = torch.rand(like.shape, generator=generator) * 0.2 + 0.9
        elif like.dim() == 4:
            fan_in = like[0].numel()
            tensors[name] = torch.randn(like.shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            tensors[name] = torch.randn(like.shape, generator=generator) * 0.1
    tensors["fc.weight"] = torch.randn((1008, 2048), generator=generator) * 0.02
    tensors["fc.bias"] = torch.zeros(1008)
    return tensors


def inception_weights(path: Path, seed: int = 0) -> Path:
    """A file of the published one's layout: the older of torch's two formats."""
    torch.save(inception_tensors(seed), path, _use_new_zipfile_serialization=False)
    return path
