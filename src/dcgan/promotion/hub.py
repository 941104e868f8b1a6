"""A generator as a folder for the Hugging Face Hub, which runs without this project.

config.json holds the generator as a list of steps, each a function of torch with its settings and
the name of its weights; model.safetensors holds the weights; load.py runs the steps in forty lines
of plain torch. Nothing in the folder is a pickle.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dcgan import files
from dcgan.networks.layers import ConvTranspose
from dcgan.networks.models import Generator
from dcgan.networks.weights import plain_weights

CONFIG, WEIGHTS, LOADER, CARD = "config.json", "model.safetensors", "load.py", "README.md"

LOAD = '''"""Draw images: python load.py 16. Needs torch and safetensors; pillow to save them."""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

HERE = Path(__file__).parent
CONFIG = json.loads((HERE / "config.json").read_text())


def images(z):
    """Latent vectors, N x z_dim, to uint8 images, N x C x H x W."""
    weights, x = load_file(HERE / "model.safetensors"), z
    for step in CONFIG["steps"]:
        def of(name): return weights.get(f"{step['weights']}.{name}")
        if step["op"] == "reshape":
            x = x.reshape(-1, *step["shape"])
        elif step["op"] == "batch_norm":
            x = F.batch_norm(x, of("running_mean"), of("running_var"), of("weight"), of("bias"),
                             eps=step["eps"])
        elif "weights" in step:
            x = getattr(F, step["op"])(x, of("weight"), of("bias"), **step["options"])
            if step.get("crop"):
                x = x[..., : -step["crop"], : -step["crop"]]
        else:
            x = getattr(F, step["op"])(x, **step["options"])
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    from PIL import Image
    shape = int(sys.argv[1]), CONFIG["z_dim"]
    normal = CONFIG["z_distribution"] == "normal"
    z = torch.randn(shape) if normal else torch.rand(shape) * 2 - 1
    for i, image in enumerate(images(z).permute(0, 2, 3, 1).squeeze(3).numpy()):
        Image.fromarray(image).save(f"{i}.png")
'''


def write(
    folder: Path, generator: Generator, title: str, card: str, metrics: Mapping[str, Any] | None
) -> None:
    """Write all but the pictures.

    Args:
        folder: is there, and empty.
        generator: in evaluation mode.
        title: of the images.
        card: what README.md says below its head, as Markdown.
        metrics: results/evaluate/metrics.json of this generator, if it is known.
    """
    from safetensors.torch import save

    a = generator.architecture
    config = {
        "model_type": "dcgan_generator", "z_dim": a.z_dim, "z_distribution": a.z_distribution,
        "image_size": a.image_size, "image_channels": a.image_channels,
        "steps": list(steps(generator)),
    }  # fmt: skip
    files.write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    weights = {
        name: value.detach().cpu().contiguous() for name, value in plain_weights(generator).items()
    }
    files.write_bytes(folder / WEIGHTS, save(weights))
    files.write_text(folder / LOADER, LOAD)
    files.write_text(folder / CARD, f"{head(title, metrics)}\n{card}")


def steps(generator: Generator) -> Iterator[dict[str, Any]]:
    """The generator's layers in their order, as `load.py` runs them."""
    modules = [
        *((f"start.{i}", module) for i, module in enumerate(generator.start)),
        ("start_activation", generator.start_activation),
        *((f"layers.{i}", module) for i, module in enumerate(generator.layers)),
    ]
    for name, module in modules:
        if isinstance(module, nn.Linear):
            yield {"op": "linear", "weights": name, "options": {}}
        elif isinstance(module, nn.ConvTranspose2d):
            options = {
                "stride": module.stride[0],
                "padding": getattr(module, "before", 0),
                "output_padding": module.output_padding[0],
            }
            crop = module.surplus if isinstance(module, ConvTranspose) else 0
            yield {"op": "conv_transpose2d", "weights": name, "options": options, "crop": crop}
        elif isinstance(module, _BatchNorm):
            yield {"op": "batch_norm", "weights": name, "eps": module.eps}
        elif isinstance(module, nn.Unflatten):
            yield {"op": "reshape", "shape": list(module.unflattened_size)}
        elif isinstance(module, nn.LeakyReLU):
            yield {"op": "leaky_relu", "options": {"negative_slope": module.negative_slope}}
        elif isinstance(module, nn.ReLU | nn.SELU):
            yield {"op": type(module).__name__.lower(), "options": {}}
        elif isinstance(module, nn.Tanh):
            yield {"op": "tanh", "options": {}}
        else:
            assert isinstance(module, nn.Identity), module


def head(title: str, metrics: Mapping[str, Any] | None, library: str = "pytorch") -> str:
    """The card's front matter, which the Hub reads: YAML between two lines of dashes.

    JSON strings are YAML strings, whatever stands in a title.
    """
    lines = [
        "---", f"library_name: {library}", "pipeline_tag: unconditional-image-generation",
        "tags:", "- dcgan", "- gan", "license: other",
        # That of the images; the card says which it is, where it is known.
        "license_name: of-the-data", "datasets:", f"- {json.dumps(title)}",
    ]  # fmt: skip
    if metrics is not None:
        fid, protocol = metrics["fid"], metrics["protocol"]
        how = (
            f"FID, {protocol['generated_images']} images against {protocol['real_images']} of"
            f" {protocol['reported_on']}, extractor {protocol['extractor']}, no resize,"
            f" +- {fid['deviation']:.3g}"
        )
        lines += [
            "model-index:", f"- name: {json.dumps('dcgan-' + title)}", "  results:", "  - task:",
            "      type: unconditional-image-generation", "    dataset:",
            f"      name: {json.dumps(title)}", f"      type: {json.dumps(title)}", "    metrics:",
            "    - type: fid", f"      value: {fid['mean']:.4g}", f"      name: {json.dumps(how)}",
        ]  # fmt: skip
    return "\n".join([*lines, "---", ""])
