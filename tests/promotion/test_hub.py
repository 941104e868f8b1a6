"""The exported folder draws the generator's images without this project."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from dcgan import data
from dcgan.networks.models import Generator
from dcgan.promotion import hub
from dcgan.training import fresh
from tests.support.params import parsed

VARIANTS = {
    "best28": {},
    "bias, after, selu, kernel 5": {
        "generator.kernel": 5, "generator.bias": True, "generator.norm_order": "after",
        "generator.activation": "selu", "generator.channels": [16, 8], "generator.strides": [2, 2],
    },
    "the paper's": {
        "generator.start": "transposed_conv", "generator.start_norm": "map",
        "generator.padding": "symmetric", "generator.activation": "relu",
        "generator.z_distribution": "uniform", "generator.channels": [16, 8],
        "generator.strides": [2, 2],
    },
    "no norm": {"generator.norm": "none", "generator.start_norm": "none",
                "generator.start_activation": False},
}  # fmt: skip
# Without our path, and without site-packages' other programs being asked for.
RUN = """
import runpy, sys
import torch
from safetensors.torch import load_file, save_file
assert not any(name.split(".")[0] == "dcgan" for name in sys.modules)
images = runpy.run_path("load.py")["images"]
save_file({"images": images(load_file("z")["z"])}, "drawn")
assert not any(name.split(".")[0] == "dcgan" for name in sys.modules)
"""


def generator(**changes: object) -> Generator:
    torch.manual_seed(0)
    made = fresh.generator(parsed(**changes).generator, 1)
    for module in made.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
        if getattr(module, "bias", None) is not None:
            torch.nn.init.normal_(module.bias)
    return made.eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_plain_torch_draws_the_same_images(variant, tmp_path):
    made = generator(**VARIANTS[variant])
    hub.write(tmp_path, made, "toys", "card", None)
    z = torch.randn(5, made.architecture.z_dim)
    save_file({"z": z}, tmp_path / "z")
    subprocess.run([sys.executable, "-I", "-c", RUN], cwd=tmp_path, check=True)
    with torch.inference_mode():
        expected = data.to_uint8(made(z)).numpy().astype(int)
    drawn = load_file(tmp_path / "drawn")["images"].numpy()
    assert drawn.shape == expected.shape
    assert np.abs(drawn - expected).max() <= 1
    assert drawn.std() > 1


def test_the_loading_file_is_short_and_nothing_is_a_pickle(tmp_path):
    hub.write(tmp_path, generator(), "toys", "card", None)
    assert len((tmp_path / hub.LOADER).read_text().splitlines()) <= 40
    assert {path.name for path in tmp_path.iterdir()} == {
        hub.CONFIG, hub.WEIGHTS, hub.LOADER, hub.CARD
    }  # fmt: skip
    assert set(load_file(tmp_path / hub.WEIGHTS)) == set(generator().state_dict())


def test_it_saves_pictures(tmp_path: Path):
    hub.write(tmp_path, generator(), "toys", "card", None)
    subprocess.run([sys.executable, "-I", "load.py", "2"], cwd=tmp_path, check=True)
    assert (tmp_path / "0.png").is_file() and (tmp_path / "1.png").is_file()


@pytest.mark.parametrize("title", ["fashion_mnist", 'a: "b" # c', "- x"])
def test_the_front_matter_is_yaml_whatever_the_title(title, tmp_path):
    metrics = {
        "fid": {"mean": 5.98, "deviation": 0.13},
        "protocol": {"generated_images": 10000, "real_images": 10000, "reported_on": "test",
                     "extractor": "classifier"},
    }  # fmt: skip
    hub.write(tmp_path, generator(), title, "# the card\n", metrics)
    _, front, body = (tmp_path / hub.CARD).read_text().split("---\n", 2)
    held = yaml.safe_load(front)
    assert held["pipeline_tag"] == "unconditional-image-generation"
    assert held["datasets"] == [title]
    (result,) = held["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 5.98
    assert "extractor classifier" in result["metrics"][0]["name"]
    assert body.strip() == "# the card"
