"""`recipe apply NAME && dvc repro`, for every recipe.

Each has its own networks, batch size and update, on small data in its own format.
"""

import pytest

from dcgan.config import recipes
from tests.support import tiny
from tests.support.idx_source import write_idx_source
from tests.support.imports import ROOT
from tests.support.params import small_stages
from tests.support.repository import STAGES, Repository, ran

SOURCES = {
    "mnist": lambda folder: write_idx_source(folder, num_train=300, num_test=60),
    "fashion_mnist": lambda folder: write_idx_source(folder, num_train=300, num_test=60),
    "cifar10": lambda folder: tiny.write_cifar(folder, each=60),
    "svhn": lambda folder: tiny.write_svhn(folder, num_train=300, num_test=60),
    "celeba": lambda folder: tiny.write_celeba(
        folder, [0] * 250 + [1] * 50 + [2] * 60, enlarged=True
    ),
    "lsun": lambda folder: tiny.write_lsun(folder, count=360),
}
SMALL = small_stages(**{
    "dataset.validation_size": 60, "reference.batch_size": 40, "training.log_every": 1,
    "evaluate.num_samples": 60, "probe.num_train": 200, "probe.c": [1.0],
    "probe.c_unit": "features", "probe.labels_per_class": 10, "probe.num_draws": 3,
    "render.walk_frames": 2,
})  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", recipes.names(ROOT / "recipes"))
def test_a_recipe_runs_through_all_stages(name, tmp_path):
    dataset = recipes.load(ROOT / "recipes" / f"{name}.yaml").params.dataset
    SOURCES[dataset.name](tmp_path / "source")
    repo = Repository(tmp_path / "repo", tmp_path / "source")
    repo.run("python", "-m", "pipeline", "recipe", "apply", name)
    repo.set(**SMALL, **({"dataset.test_size": 60} if dataset.test_size else {}))
    assert ran(repo.run("dvc", "repro").stdout) == STAGES
    manifest, metrics, probe = (
        repo.json(path)
        for path in (
            "data/prepared/manifest.json",
            "results/evaluate/metrics.json",
            "results/probe/metrics.json",
        )
    )
    num_train = manifest["splits"]["train"]["count"]
    # LSUN's images are held out by their content, so their number is about the one asked for.
    assert 200 < num_train < 280 if dataset.name == "lsun" else num_train == 240
    assert (manifest["image_size"], manifest["channels"]) == (dataset.image_size, dataset.channels)
    assert metrics["protocol"]["extractor"] == ("classifier" if manifest["classes"] else "rotation")
    assert metrics["floor"]["fid"] < metrics["fid"]["mean"]
    if manifest["classes"]:
        of_protocol = {"cifar10": "test_accuracy", "svhn1000": "test_error"}[
            probe["protocol"]["name"]
        ]
        assert 0 <= probe["discriminator"][of_protocol] <= 1
    else:
        assert "skipped" in probe
    assert repo.json("models/generator.json")["architecture"]["image_size"] == dataset.image_size
