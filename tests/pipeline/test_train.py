"""Where a training begins; tests/system runs the stage itself."""

import shutil

import pytest

from dcgan import files
from dcgan.errors import NoCheckpoint
from dcgan.networks import exports
from pipeline import train
from tests.support.networks import MNIST_TF, MNIST_TF_D, discriminator, generator


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "theirs"
    exports.export(folder / "generator.safetensors", generator(MNIST_TF), {})
    exports.export(folder / "discriminator.safetensors", discriminator(MNIST_TF_D), {})
    return folder / "generator.safetensors"


def test_without_an_address_it_draws_its_weights():
    assert train.start_from(None) == ({}, {})


def test_it_begins_with_both_networks_of_an_export_and_says_so(model, capsys):
    networks, sha256 = train.start_from(str(model))
    assert set(networks) == {"generator", "discriminator"}
    assert sha256["generator"] == files.sha256(model)
    assert f": G and D, sha256 of G {sha256['generator'][:16]}" in capsys.readouterr().out


def test_a_path_is_one_in_the_main_workspace_in_an_experiment_too(model, monkeypatch, tmp_path):
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    networks, _ = train.start_from("theirs/generator.safetensors")
    assert set(networks) == {"generator", "discriminator"}


def test_a_generator_alone_leaves_d_its_own_weights(model, tmp_path, capsys):
    for suffix in (".safetensors", ".json"):
        shutil.copy(model.with_suffix(suffix), tmp_path / f"alone{suffix}")
    networks, _ = train.start_from(str(tmp_path / "alone.safetensors"))
    assert set(networks) == {"generator"}
    assert "G alone, D begins anew" in capsys.readouterr().out


def test_weights_that_are_not_there_end_it(tmp_path):
    with pytest.raises(NoCheckpoint, match=r"does not exist"):
        train.start_from(str(tmp_path / "nothing.safetensors"))
