"""The whole small graph through DVC, on folders of pictures as people have them."""

import numpy as np
import pytest
from PIL import Image

from tests.support import strangers
from tests.support.params import small
from tests.support.repository import STAGES, Repository, ran

SMALL = small(**{
    "dataset.name": "folder", "dataset.test_size": 30, "dataset.validation_size": 30,
    "epochs": 1, "evaluate.num_samples": 60, "probe.num_train": 80, "reference.epochs": 4,
    "reference.batch_size": 16, "probe.c": [1.0],
})  # fmt: skip


def graph(tmp_path, case: str, **changes: object) -> tuple[Repository, str]:
    """The repository after `dvc repro` on a case's folder, and what was printed."""
    strangers.CASES[case](tmp_path / case)
    repo = Repository(tmp_path / "repo", tmp_path / case, **{**SMALL, **changes})
    done = repo.run("dvc", "repro")
    assert ran(done.stdout) == STAGES
    return repo, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_first_n_of_a_sorted_folder_has_all_classes(tmp_path):
    repo, _ = graph(tmp_path, "sorted_classes", **{"dataset.channels": 3})
    probe = repo.json("results/probe/metrics.json")
    assert probe["pixels"]["test_accuracy"] > 0.9
    real = np.asarray(Image.open(repo.folder / "results/render/real_and_generated.png"))
    assert real.std() > 10


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("test_size", [0, 30])
def test_split_folders_are_no_classes(tmp_path, test_size):
    repo, said = graph(tmp_path, "split_folders", **{"dataset.test_size": test_size})
    manifest = repo.json("data/prepared/manifest.json")
    assert manifest["classes"] == ["disc", "square"]
    assert "the folders test, train, val are splits" in said
    if test_size == 0:
        assert manifest["splits"]["test"] == {"count": 120, "per_class": [60, 60]}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_drawings_on_white_pass_with_a_warning_that_names_the_parameter(tmp_path):
    repo, said = graph(tmp_path, "sketches")
    assert "expectations.max_mean" in said
    assert repo.json("results/validate/report.json")["success"]
    assert "rotation" in repo.json("results/evaluate/metrics.json")["protocol"]["extractor"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_class_names_of_all_kinds_go_through_all_stages(tmp_path):
    repo, _ = graph(tmp_path, "names")
    assert repo.json("data/prepared/manifest.json")["classes"] == sorted(
        ["直剪", "Ba$$in_\\\\alpha$", "naïve dir"], key=str
    )
    assert (repo.folder / "results/probe/confusion.png").stat().st_size > 5000
