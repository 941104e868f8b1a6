"""The whole graph through DVC, in a temporary repository.

The data are a few hundred generated images in Fashion-MNIST's own format.
"""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.support.idx_source import write_idx_source
from tests.support.params import small
from tests.support.repository import STAGES, Repository, ran


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> Repository:
    source = tmp_path_factory.mktemp("source")
    write_idx_source(source, num_train=700, num_test=200)
    repo = Repository(tmp_path_factory.mktemp("repo"), source, **small())
    assert ran(repo.run("dvc", "repro").stdout) == STAGES
    return repo


@pytest.fixture
def undo(repo):
    """Put edited files back."""
    before = {
        path: path.read_bytes()
        for path in repo.folder.rglob("*")
        if path.suffix in (".py", ".yaml") and path.is_file()
    }
    yield
    for path, content in before.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def would_run(repo) -> list[str]:
    return ran(repo.run("dvc", "repro", "--dry").stdout)


@pytest.mark.holds("R-03")
def test_a_second_repro_does_nothing(repo):
    assert "Data and pipelines are up to date." in repo.run("dvc", "repro").stdout


def test_git_sees_only_the_lock_and_the_small_committed_files(repo):
    lines = repo.run("git", "status", "--porcelain", "--untracked-files=all").stdout.splitlines()
    assert sorted(line[3:] for line in lines) == [
        "dvc.lock",
        "results/evaluate/by_epoch.csv",
        "results/evaluate/metrics.json",
        "results/prepare/report.json",
        "results/probe/metrics.json",
        "results/reference/metrics.json",
        "results/train/history.csv",
        "results/train/metrics.json",
        "results/validate/report.json",
    ]


def test_metrics_name_their_protocol_and_stand_between_floor_and_ceiling(repo):
    metrics = repo.json("results/evaluate/metrics.json")
    assert (
        metrics["protocol"]["extractor_sha256"]
        == repo.json("results/reference/extractor/classifier.json")["sha256"]
    )
    assert (metrics["protocol"]["chosen_on"], metrics["protocol"]["reported_on"]) == (
        "validation",
        "test",
    )
    assert metrics["protocol"]["generated_images"] == 100
    assert 0 <= metrics["floor"]["fid"] < metrics["fid"]["mean"]
    for key in ("precision", "recall", "density", "coverage", "vendi", "js_divergence"):
        assert np.isfinite(
            [*metrics[key].values(), metrics["floor"][key], metrics["ceiling"][key]]
        ).all()
    assert metrics["floor"]["coverage"] > metrics["coverage"]["mean"]
    assert metrics["protocol"]["draws"] == 5 and metrics["fid"]["deviation"] > 0
    # 5 x 100 images are enough for 128 features, 100 of them are not.
    assert (
        metrics["fid_infinity"]["mean"] == pytest.approx(metrics["fid"]["mean"], rel=0.2)
        and "n too small" in metrics["notes"][0]
    )
    assert sum(metrics["class_shares"]) == pytest.approx(1)
    rows = list(csv.DictReader(repo.read("results/evaluate/by_epoch.csv").decode().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert metrics["validation"]["fid"] == min(
        float(row[f"fid_{weights}"]) for row in rows for weights in ("raw", "ema")
    )


@pytest.mark.holds("R-07")
def test_the_history_has_every_column_and_no_step_twice(repo):
    rows = list(csv.DictReader(repo.read("results/train/history.csv").decode().splitlines()))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    assert steps[-1] == 2 * (600 // 32)
    assert {
        "epoch",
        "step",
        "loss_d",
        "loss_g",
        "d_real",
        "d_fake_before",
        "d_fake_after",
        "grad_norm_d",
        "grad_norm_g",
    } == set(rows[0])


def test_pictures_and_exports_are_there(repo):
    names = [f"results/train/samples/000{i}.png" for i in range(3)]
    names += [
        "results/prepare/real.png",
        "results/train/curves.png",
        "results/evaluate/by_epoch.png",
        "results/evaluate/nearest.png",
        "results/probe/confusion.png",
    ]
    names += [
        "results/render/training.gif",
        "results/render/walk.gif",
        "results/render/real_and_generated.png",
    ]
    names += [
        f"results/paper/{name}.png"
        for name in ("walk", "arithmetic", "turn", "guided", "forgetting")
    ]
    for name in names:
        with Image.open(repo.folder / name) as image:
            image.load()
            assert min(image.size) > 100
    with Image.open(repo.folder / "results/render/training.gif") as image:
        assert image.n_frames == 3
    for network in ("generator", "discriminator"):
        assert repo.json(f"models/{network}.json")["network"] == network


def test_mlflow_has_one_finished_run_with_all_of_it(repo):
    script = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///" + sys.argv[1])
experiments = [experiment.experiment_id for experiment in client.search_experiments()]
runs = client.search_runs(experiments)
run = runs[0]
def walk(path=None):
    for item in client.list_artifacts(run.info.run_id, path):
        yield from walk(item.path) if item.is_dir else [item.path]
print(json.dumps({"count": len(runs), "id": run.info.run_id, "status": run.info.status,
  "metrics": run.data.metrics, "params": run.data.params,
  "tags": run.data.tags, "files": list(walk()),
  "losses": [point.step for point in client.get_metric_history(run.info.run_id, "loss_d")]}))
"""
    logged = json.loads(
        repo.run(
            "python", "-c", script, str(repo.folder / ".mlflow/mlflow.db")
        ).stdout.splitlines()[-1]
    )
    assert (logged["count"], logged["status"]) == (1, "FINISHED")
    assert logged["params"]["batch_size"] == "32"
    metrics = repo.json("results/evaluate/metrics.json")
    # Figures of another extractor get other names.
    section = f"classifier-{metrics['protocol']['extractor_sha256'][:8]}"
    assert logged["metrics"][f"{section}/fid.mean"] == pytest.approx(metrics["fid"]["mean"])
    assert f"{section}/validation/fid_raw" in logged["metrics"]
    assert logged["losses"] == sorted(set(logged["losses"]))
    for tag in ("fingerprint", "data_sha256", "params_hash", "extractor_sha256", "seed", "device"):
        assert logged["tags"][tag], tag
    for file in (
        "model/MLmodel",
        "model/artifacts/generator.safetensors",
        "validate/report.json",
        "render/training.gif",
        "train/curves.png",
        "paper/walk.png",
    ):
        assert file in logged["files"], logged["files"]
    assert (
        sum(file.startswith("images/samples") and file.endswith(".png") for file in logged["files"])
        == 2  # of its epochs; that of the first step is grey
    )
    # The model of the run is the exported one, and MLflow's pages know it for a model.
    assert '"artifact_path": "model"' in logged["tags"]["mlflow.log-model.history"]
    for name, model in (
        ("run", f"runs:/{logged['id']}/model"),
        ("exports", "models/generator.safetensors"),
    ):
        repo.run(
            "python",
            "-m",
            "pipeline",
            "sample",
            "--model",
            model,
            "--count",
            "4",
            "--out",
            f"{name}.png",
        )
    images = [repo.read(f"{name}.png") for name in ("run", "exports")]
    for name in ("run", "exports"):
        (repo.folder / f"{name}.png").unlink()
    assert images[0] == images[1]


@pytest.mark.usefixtures("undo")
def test_an_edit_of_the_paper_reruns_only_the_paper(repo):
    with open(repo.folder / "src/dcgan/paper/concepts.py", "a") as file:
        file.write("# edited\n")
    assert would_run(repo) == ["paper"]


@pytest.mark.usefixtures("undo")
def test_a_word_in_an_error_message_reruns_nothing(repo):
    for name, old, new in (
        ("config/sections.py", "must be at least the stride", "must not be below the stride"),
        ("config/explain.py", "a whole number", "an integer"),
        ("config/reading.py", "run in the repository's folder", "run where params.yaml lies"),
        ("errors.py", "Training left the finite numbers", "A number is not finite"),
        ("../../pipeline/cli.py", "end other programs", "close other programs"),
        ("tracking/runs.py", "MLflow", "mlflow"),
        ("reports/model_card.py", "research model", "model for research"),
    ):
        path = repo.folder / "src/dcgan" / name
        text = path.read_text()
        assert old in text, f"{name} no longer says {old!r}: edit another message here"
        path.write_text(text.replace(old, new))
    assert would_run(repo) == []


@pytest.mark.usefixtures("undo")
def test_a_hand_written_learning_rate_reruns_train_and_what_follows(repo):
    path = repo.folder / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.0004", "lr: 3e-4", 1))
    assert would_run(repo) == [
        "train"
    ]  # what follows depends on its outputs, which are not made yet
    # The same number, written otherwise, is no change.
    path.write_text(path.read_text().replace("lr: 3e-4", "lr: 4e-4", 1))
    assert would_run(repo) == []


@pytest.mark.usefixtures("undo")
def test_fewer_epochs_come_from_the_scratch_folder_and_back_from_the_cache(repo):
    weights, history = (
        repo.read("models/generator.safetensors"),
        repo.read("results/train/history.csv"),
    )
    repo.set(epochs=1)
    assert ran(repo.run("dvc", "repro").stdout) == ["train", "evaluate", "probe", "render", "paper"]
    assert repo.read("results/train/history.csv") != history
    assert history.startswith(repo.read("results/train/history.csv"))
    repo.set(epochs=2)
    output = repo.run("dvc", "repro").stdout
    assert ran(output) == []
    assert "is cached" in output
    assert repo.read("models/generator.safetensors") == weights


@pytest.mark.usefixtures("undo")
def test_an_experiment_with_a_changed_learning_rate_works_and_keeps_its_run(repo):
    repo.run("git", "add", "--all")
    repo.run("git", "commit", "--quiet", "--message", "first")
    output = repo.run("dvc", "exp", "run", "--name", "faster", "--set-param", "lr=3e-4").stdout
    assert ran(output) == ["train", "evaluate", "probe", "render", "paper"]
    # The experiment's column leads to its run in MLflow, and the run's tag back to the experiment.
    (row,) = [
        row
        for row in csv.DictReader(repo.run("dvc", "exp", "show", "--csv").stdout.splitlines())
        if row["Experiment"] == "faster"
    ]
    fingerprint = repo.json("results/train/run.json")["fingerprint"]
    assert row["mlflow_run"] == f"fashion_mnist-{fingerprint[:8]}-2"
    script = """
import sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///" + sys.argv[1])
experiments = [experiment.experiment_id for experiment in client.search_experiments()]
runs = client.search_runs(experiments, f"attributes.run_name = '{sys.argv[2]}'")
print(*(run.data.tags["dvc_experiment"] for run in runs))
"""
    done = repo.run(
        "python", "-c", script, str(repo.folder / ".mlflow/mlflow.db"), row["mlflow_run"]
    )
    assert done.stdout.splitlines()[-1] == "faster"
    assert "fid.mean" in repo.run("dvc", "metrics", "show").stdout
    # By hand and by -S are the same experiment.
    path = repo.folder / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.0003", "lr: 3e-4", 1))
    assert would_run(repo) == []
    repo.run("git", "checkout", "--", ".")
    repo.run("dvc", "checkout", "--quiet")


def test_a_wrong_byte_in_the_raw_data_is_refused_in_one_line(repo):
    path = repo.folder / "data/raw/train-images-idx3-ubyte"
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    done = repo.run("python", "-m", "pipeline.prepare", check=False)
    path.write_bytes(content)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "train-images-idx3-ubyte" in done.stderr


@pytest.mark.holds("R-68")
def test_bad_data_never_trains(repo):
    report = repo.folder / "results/validate/report.json"
    prepared = repo.folder / "data/prepared"
    kept = report.read_bytes()
    shutil.copytree(prepared, repo.folder / "kept")
    # Half of the train images become copies of the first one; the manifest agrees with the files.
    script = """
from pathlib import Path
import numpy as np
from dcgan import data
folder = Path("data/prepared")
old = data.read_manifest(folder)
opened = {name: data.open_split(folder, name) for name in data.SPLITS}
pixels = {name: np.array(split.images) for name, split in opened.items()}
held, shards, first = {}, [], 0
for number, (name, images) in enumerate(pixels.items()):
    if name == "train":
        images[:300] = images[0]
    shards.append(data.write_shard(folder / data.shard_name(number), images))
    held[name] = (np.arange(first, first + len(images)), np.array(opened[name].labels))
    first += len(images)
manifest = {"name": old["dataset"], "classes": old["classes"], "image_size": old["image_size"]}
data.write_prepared(folder, shards, held, **manifest)
"""
    shutil.rmtree(prepared)
    shutil.copytree(repo.folder / "kept", prepared)
    repo.run("python", "-c", "import pipeline\n" + script)
    done = repo.run("python", "-m", "pipeline.validate", check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    report.write_bytes(kept)
    shutil.rmtree(prepared)
    shutil.move(repo.folder / "kept", prepared)
