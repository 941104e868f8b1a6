"""The whole small graph through DVC, on folders of pictures as people have them."""

import re

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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_doctor_says_of_3000_pictures_is_what_prepare_does(tmp_path):
    strangers.mixed(tmp_path / "given")
    folder = tmp_path / "given" / "pictures"
    repo = Repository(
        tmp_path / "repo", folder,
        **small(**{
            "dataset.name": "folder", "dataset.test_size": 300, "dataset.validation_size": 300,
            "dataset.channels": 3, "dataset.on_bad_image": "skip", "dataset.fit": "pad",
        }),
    )  # fmt: skip
    before = sorted(path.name for path in repo.folder.iterdir())
    said = repo.run("python", "-m", "pipeline", "doctor", "--data", str(folder)).stdout
    lines = [line.removeprefix("doctor: ") for line in said.splitlines()]
    assert 8 <= len(lines) <= 14
    assert sorted(path.name for path in repo.folder.iterdir()) == before  # nothing is written
    assert lines[0].startswith("3003 images: ")
    repo.run("dvc", "repro", "prepare")
    report = repo.json("results/prepare/report.json")
    manifest = repo.json("data/prepared/manifest.json")
    assert manifest["classes"] == ["disc", "square", "triangle"]
    assert "classes: disc, square, triangle (3)" in lines
    assert report["left_out"] == {".txt": 1}
    assert report["bad"] == 2  # one is empty, which its header tells; one is cut short
    assert sum(report["num_images"].values()) == 3000
    # A header alone does not tell doctor that one of them, which is no square, is cut short.
    counts = {
        name: int(re.search(rf"(\d+) of \d+ {words}", text).group(1))
        for name, words, text in (
            ("doctor squares", "are no squares", said),
            ("prepare squares", "images are no squares", "\n".join(report["notes"])),
        )
    }
    assert counts["doctor squares"] == counts["prepare squares"] + 1 == 232
    for note in ("padded with white", "left out: 1 image beside the folders"):
        assert note in said and any(note in line for line in report["notes"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_init_sets_runs_through_all_stages(tmp_path):
    strangers.sorted_classes(tmp_path / "my pictures")
    repo = Repository(tmp_path / "repo", tmp_path / "my pictures")
    said = repo.run("python", "-m", "pipeline", "init", str(tmp_path / "my pictures")).stdout
    assert "init: dataset.channels: 1 -> 3" in said
    repo.set(epochs=1, **{"paper.num_candidates": 200})  # instead of the hundreds that it sets
    done = repo.run("python", "-m", "pipeline", "repro")
    assert ran(done.stdout) == STAGES
    assert "train: warning: about " in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("repro: ")]
    assert len(lines) == 5
    assert lines[0].startswith("repro: FID ") and "real images" in lines[0]
    assert lines[2] == "repro: all runs, figures and pictures: make ui"
    assert repo.json("results/evaluate/metrics.json")["mlflow_run"].startswith("my pictures-")
    # New pictures are noticed, and only them.
    strangers.put(tmp_path / "my pictures" / "a", 0, 1, first=5000, mode="RGB")
    again = repo.run("python", "-m", "pipeline", "repro", "prepare").stdout
    assert "has changed since it was fetched (301 files, were 300): fetched again" in again
    assert ran(again) == ["download", "prepare"]
    assert "fetched again" not in repo.run("python", "-m", "pipeline", "repro", "prepare").stdout
