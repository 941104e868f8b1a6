"""Exports of every format load; what describes no network is refused in one line.

`exports/<format>` holds a tiny generator and discriminator, four images of seed 7 and D's logits of
them, written by the code of that format.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import create_model

from dcgan import files
from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.networks import exports, models, sampling
from dcgan.promotion import bundle, serving
from dcgan.training import fresh
from pipeline import candidates, cli, sample
from tests.support import tiny_models
from tests.support.imports import ROOT, closure

FOLDER = Path(__file__).parent / "exports"
FORMATS = ["none", "1"]


@pytest.mark.parametrize("version", FORMATS)
def test_exports_of_every_format_give_the_images_and_logits_that_they_gave(version):
    generator, description = exports.load_generator(FOLDER / version / "generator.safetensors")
    assert (description["epoch"], description["step"], description["weights"]) == (1, 5, "ema")
    images = np.load(FOLDER / version / "images.npy", allow_pickle=False)
    assert np.array_equal(sampling.sample(generator, 4, seed=7), images)
    discriminator, _ = exports.load_discriminator(FOLDER / version / "discriminator.safetensors")
    assert not generator.training and not discriminator.training
    expected = torch.tensor(json.loads((FOLDER / version / "logits.json").read_text()))
    with torch.no_grad():
        logits = discriminator(torch.from_numpy(images).float() / 127.5 - 1)
    torch.testing.assert_close(logits, expected)


def test_an_old_export_that_is_written_again_has_the_new_format_and_the_same_weights(tmp_path):
    for name, load in (
        ("generator", exports.load_generator),
        ("discriminator", exports.load_discriminator),
    ):
        network, _ = load(FOLDER / "none" / f"{name}.safetensors")
        exports.export(tmp_path / f"{name}.safetensors", network, {"epoch": 1, "step": 5})
        description = json.loads((tmp_path / f"{name}.json").read_text())
        if name == "generator":
            description["weights"] = "ema"
        del description["seal"]  # exports of before have none
        assert description == json.loads((FOLDER / "1" / f"{name}.json").read_text())


def copy(folder: Path, version: str, name: str, change) -> Path:
    """A copy of an export whose description is changed."""
    for end in (".safetensors", ".json"):
        shutil.copy(FOLDER / version / f"{name}{end}", folder / f"{name}{end}")
    path = folder / f"{name}.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))
    return path.with_suffix(".safetensors")


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(description):
        for key in keys:
            description = description[key]
        description[last] = value

    return change


def remove(*keys):
    def change(description):
        for key in keys[:-1]:
            description = description[key]
        del description[keys[-1]]

    return change


@pytest.mark.holds("R-17")
@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", 2), r"generator\.json: format is 2, expected 1 or none"),
        (put("format", "1"), "format is '1'"),
        (put("format", True), "format is True"),
        (put("network", "discriminator"), "holds a discriminator, expected a generator"),
        (remove("network"), "holds a None, expected a generator"),
        (remove("architecture"), r"generator\.json: architecture is None, expected an object"),
        (put("architecture", [1]), r"architecture is \[1\], expected an object"),
        (remove("architecture", "z_dim"), r"generator\.json: architecture has no z_dim"),
        (put("architecture", "z_dim", "3"), "z_dim is '3', expected a whole number from 1 to 4096"),
        (put("architecture", "z_dim", True), "z_dim is True, expected a whole number"),
        (put("architecture", "z_dim", 3.0), "z_dim is 3.0, expected a whole number"),
        (put("architecture", "z_dim", 10**12), "z_dim is 1000000000000, expected"),
        (put("architecture", "z_dim", 10**3000), "z_dim is 1000.*, expected"),
        (put("architecture", "slope", float("nan")), "slope is nan, expected a number from 0 to 1"),
        (put("architecture", "slope", 2), "slope is 2, expected a number"),
        (put("architecture", "bias", 1), "bias is 1, expected true or false"),
        (put("architecture", "norm", "a\nb"), r"norm is 'a\\nb', expected 'batch' or 'none'"),
        (put("network", "a\nb"), r"holds a 'a\\nb', expected a generator"),
        (put("architecture", "channels", 4), "channels is 4, expected 1 to 12 whole numbers"),
        (put("architecture", "channels", []), "channels is .*, expected 1 to 12 whole numbers"),
        (put("architecture", "channels", [4] * 13), "channels is .*, expected 1 to 12 whole"),
        (put("architecture", "channels", [4, 5000]), r"channels is \(4, 5000\), expected"),
        (put("architecture", "channels", [4, [3]]), "channels is .*, expected"),
        (put("architecture", "channels", [4, 3, 2]), "strides has 2 values, expected 3"),
        (put("architecture", "strides", [2, 4]), "image_size is 8, expected 16"),
        (put("architecture", "kernel", 1), "kernel is 1, expected one that gives 2 x the size"),
        (put("architecture", "noise", "a"), "architecture has 'noise', which no Generator"),
        (put("architecture", "channels", [4096, 4096]), "does not fit its own description"),
        (put("architecture", "norm", "none"), "does not fit .*expected absent"),
    ],
)  # fmt: skip
def test_a_description_that_is_wrong_is_refused_in_one_line(version, change, message, tmp_path):
    path = copy(tmp_path, version, "generator", change)
    with pytest.raises(DataError, match=message) as refused:
        exports.load_generator(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
    assert str(path.with_suffix("")) in str(refused.value)


@pytest.mark.parametrize("version", FORMATS)
def test_images_of_another_kind_are_refused(version, tmp_path):
    keys = () if version == "none" else ("architecture",)
    path = copy(tmp_path, version, "generator", put(*keys, "image_channels", 2))
    with pytest.raises(DataError, match="image_channels is 2, expected 1 or 3"):
        exports.generator_architecture(path)
    path = copy(tmp_path, version, "generator", remove(*keys, "image_channels"))
    with pytest.raises(DataError, match="architecture has no image_channels"):
        exports.load_generator(path)
    path = copy(tmp_path, version, "discriminator", put(*keys, "image_size", 10**9))
    with pytest.raises(DataError, match="image_size is 1000000000, expected a whole number"):
        exports.load_discriminator(path)


def test_a_discriminator_whose_image_is_smaller_than_its_kernel_is_refused(tmp_path):
    def change(description):
        description["architecture"] |= {"padding": "symmetric", "kernel": 4, "image_size": 1}

    with pytest.raises(DataError, match="image_size is 1, expected one that leaves pixels after"):
        exports.load_discriminator(copy(tmp_path, "1", "discriminator", change))


@pytest.mark.parametrize("text", ["[]", '{"sha256": 1}', "{", "1" * 5000, "[" * 100_000, "\ud800"])
def test_what_is_no_description_is_refused(text, tmp_path):
    path = copy(tmp_path, "1", "generator", lambda description: None)
    path.with_suffix(".json").write_bytes(text.encode("utf-8", "surrogatepass"))
    for load in (exports.load_generator, exports.generator_architecture):
        with pytest.raises(DataError) as refused:
            load(path)
        assert "\n" not in str(refused.value)


def test_weights_of_another_type_of_numbers_become_float32_as_ever(tmp_path):
    path = copy(tmp_path, "1", "generator", lambda description: None)
    tensors, description = files.read_tensors(path)
    files.write_tensors(
        path, {name: value.double() for name, value in tensors.items()}, description
    )
    generator, _ = exports.load_generator(path)
    assert generator.start[0].weight.dtype == torch.float32


@pytest.fixture
def new_key(monkeypatch):
    """The schema of params.yaml with one more key in each network's section."""
    for name in ("GeneratorParams", "DiscriminatorParams"):
        section = getattr(sections, name)
        grown = create_model(name, __base__=section, new_key=(int, ...))
        monkeypatch.setattr(sections, name, grown)


@pytest.mark.parametrize("version", FORMATS)
def test_a_new_key_of_params_yaml_breaks_no_export(version, new_key, tmp_path, monkeypatch):
    exported, images = FOLDER / version, np.load(FOLDER / version / "images.npy")
    # sample
    monkeypatch.chdir(tmp_path)
    options = ["--model", str(exported / "generator.safetensors"), "--seed", "7", "--count", "4"]
    with pytest.raises(SystemExit) as ended:
        cli.run(sample.main, args=[*options, "--npz"], prog="sample")
    assert not ended.value.code
    assert np.array_equal(np.load("samples.npz", allow_pickle=False)["images"], images)
    # compare
    shutil.copytree(exported, Path(candidates.WEIGHTS).parent)
    files.write_json(Path(candidates.RUN), {"data_sha256": "d"})
    files.write_json(Path(candidates.METRICS), {"protocol": {"draws": 1}})
    shutil.copy(ROOT / "params.yaml", ".")
    assert candidates.read("old", Path()).images.shape[1:] == images.shape[1:]
    # promote: the model folder that it writes, and the check of one that is fetched
    model = serving.write_model(tmp_path / "model", exported, "# card\n")
    bundle.check_networks(model)
    bundle.check(model)


def test_a_new_key_of_params_yaml_for_the_training_changes_no_architecture(new_key):
    grown = sections.GeneratorParams(**tiny_models.GENERATOR.model_dump(), new_key=1)
    before = fresh.generator(tiny_models.GENERATOR, 1).architecture
    assert fresh.generator(grown, 1).architecture == before


def test_reading_an_export_imports_nothing_of_the_schema_of_params_yaml():
    """So `sample`, `compare`, `promote` and a served model read exports whatever the schema is."""
    files_read = closure(ROOT / "src/dcgan/networks/exports.py", without=())
    assert "src/dcgan/networks/architecture.py" in files_read
    assert not any("dcgan/config" in path for path in files_read)


@torch.no_grad()
def test_an_untrained_discriminator_has_the_weights_of_its_seed_and_init():
    architecture = fresh.discriminator(tiny_models.DISCRIMINATOR, 1, 8).architecture
    networks = [
        models.untrained(architecture, seed=seed, init=init)
        for seed, init in ((1, "glorot"), (1, "glorot"), (2, "glorot"), (1, "normal"))
    ]
    first, same, *others = (network.blocks[1].conv.weight for network in networks)
    assert torch.equal(first, same)
    assert not any(torch.equal(first, other) for other in others)
    assert others[1].std().item() == pytest.approx(0.02, rel=0.2)
