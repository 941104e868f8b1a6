"""The reference and evaluate stages, on tiny data and untrained generators."""

import csv
from pathlib import Path

import pytest
import torch

from dcgan import errors, files
from dcgan.config import reading, sections
from dcgan.networks import exports
from dcgan.tracking import store
from dcgan.training import fresh
from pipeline import evaluate, reference
from tests.support.imports import ROOT
from tests.support.repository import Repository
from tests.support.untrained import ABOUT, SMALL, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which both stages have run; two epochs, whose first one is the better."""
    repo = Repository(tmp_path_factory.mktemp("repo"), tmp_path_factory.mktemp("source"), **SMALL)
    write_data(repo)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repo.folder)
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
            patch.delenv(name, raising=False)
        params = reading.load(sections.AllParams)
        for epoch in (1, 2):
            torch.manual_seed(epoch)
            generator = fresh.generator(params.generator, 1)
            discriminator = fresh.discriminator(params.discriminator, 1, 28)
            about = {"epoch": epoch, "weights": "raw"}
            target = Path(f"models/checkpoints/epoch-000{epoch}")
            for name in ("generator", "generator_ema"):
                exports.export(target / f"{name}.safetensors", generator, about)
            exports.export(target / "discriminator.safetensors", discriminator, about)
        files.write_json(Path("results/train/run.json"), ABOUT)
        reference.main()
        evaluate.main()
    return repo.folder


def test_metrics_have_figures_with_deviation_and_plain_numbers_of_single_draws(folder):
    metrics = files.read_metrics(folder / "results/evaluate/metrics.json")
    measured = files.read_metrics(folder / "results/reference/metrics.json")
    assert set(metrics["fid"]) == set(metrics["recall"]) == {"mean", "deviation"}
    assert metrics["fid"]["deviation"] > 0
    assert (metrics["floor"], metrics["ceiling"]) == (measured["floor"], measured["ceiling"])
    assert metrics["floor"]["fid"] < metrics["fid"]["mean"]
    assert metrics["mlflow_run"] == "fashion_mnist-aaaaaaaa" + "aa" * 8 + "-1"
    rows = list(csv.DictReader((folder / "results/evaluate/by_epoch.csv").read_text().splitlines()))
    assert metrics["validation"]["fid"] == min(float(row["fid_raw"]) for row in rows)
    chosen = folder / f"models/checkpoints/epoch-000{metrics['epoch']}/generator.safetensors"
    assert files.sha256(chosen) == files.sha256(folder / "models/generator.safetensors")
    for name in ("by_epoch.png", "nearest.png"):
        assert (folder / "results/evaluate" / name).is_file()


def test_mlflow_has_the_same_figures_the_curves_the_card_and_the_run_of_that_name(
    folder, monkeypatch
):
    monkeypatch.chdir(folder)
    metrics = files.read_metrics(Path("results/evaluate/metrics.json"))
    client = store.connect()
    (experiment,) = client.search_experiments(filter_string="name = 'dcgan-fashion_mnist'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == metrics["mlflow_run"]
    section = f"classifier-{metrics['protocol']['extractor_sha256'][:8]}"
    logged = run.data.metrics
    assert logged[f"{section}/fid.mean"] == pytest.approx(metrics["fid"]["mean"])
    assert logged[f"{section}/fid.deviation"] == pytest.approx(metrics["fid"]["deviation"])
    curve = client.get_metric_history(run.info.run_id, f"{section}/validation/fid_raw")
    assert [point.step for point in curve] == [1, 2]
    assert not [name for name in logged if "_60" in name or "noise" in name]
    card = Path(client.download_artifacts(run.info.run_id, "model/README.md")).read_text()
    assert "lr: 0.0123" in card  # of the training, not of params.yaml
    assert "measured once on test images" in run.data.tags["mlflow.note.content"]


def test_two_processes_find_the_same_figures_bit_for_bit(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(ROOT / "src")
    # As many threads in each process as in the one that worked alone.
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    results = [Path("results/evaluate") / name for name in ("metrics.json", "by_epoch.csv")]
    alone = [path.read_bytes() for path in results]
    text = Path("params.yaml").read_text()
    assert "processes: auto" in text
    Path("params.yaml").write_text(text.replace("processes: auto", "processes: 2"))
    try:
        evaluate.main()
    finally:
        Path("params.yaml").write_text(text)
    assert "evaluate: 2 processes" in capfd.readouterr().out
    assert [path.read_bytes() for path in results] == alone


def test_a_run_json_without_settings_is_refused_before_the_work(folder, monkeypatch):
    monkeypatch.chdir(folder)
    old = {key: value for key, value in ABOUT.items() if key != "settings"}
    files.write_json(Path("results/train/run.json"), old)
    with pytest.raises(errors.DataError, match="run train again"):
        evaluate.main()
