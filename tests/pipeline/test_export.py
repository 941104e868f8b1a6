"""`python -m pipeline export`: a folder for the Hub, whole or not at all."""

import json
import shutil
from pathlib import Path

import pytest

from dcgan.promotion import hub, onnx_model, serving
from pipeline import cli, export
from tests.support import tiny_models
from tests.support.imports import ROOT


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a generator and no results."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    tiny_models.write(tmp_path / "models")
    return tmp_path


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.run(export.main, args=[str(arg) for arg in args], prog="python -m pipeline export")
    return int(ended.value.code or 0)


def test_a_folder_has_all_that_the_hub_wants(root: Path) -> None:
    assert run("--to", root / "out") == 0
    assert {path.name for path in (root / "out").iterdir()} == {
        hub.CONFIG, hub.WEIGHTS, hub.LOADER, hub.CARD, export.GRID, export.WALK,
    }  # fmt: skip
    assert "Its card was not written" in (root / "out" / hub.CARD).read_text()


def test_a_folder_with_onnx_has_one_file_a_card_and_pictures(root: Path) -> None:
    assert run("--to", root / "out", "--format", "onnx") == 0
    assert {path.name for path in (root / "out").iterdir()} == {
        onnx_model.MODEL, hub.CARD, export.GRID, export.WALK,
    }  # fmt: skip
    card = (root / "out" / hub.CARD).read_text()
    assert "library_name: onnx" in card and onnx_model.USE in card


def test_a_model_folders_card_comes_along(root: Path) -> None:
    serving.write_model(root / "model", root / "models", "# its own card\n")
    assert run("--to", root / "out", "--model", root / "model") == 0
    assert "# its own card" in (root / "out" / hub.CARD).read_text()


def test_the_workspaces_figures_go_with_its_own_generator_alone(root: Path) -> None:
    """Another model may have the same epoch and weights."""
    serving.write_model(root / "model", root / "models", "# its own card\n")
    protocol = {
        "generated_images": 9, "real_images": 9, "reported_on": "test", "extractor": "classifier",
    }  # fmt: skip
    figures = {"fid": {"mean": 7.25, "deviation": 0.5}, "protocol": protocol}
    (root / "results/evaluate").mkdir(parents=True)
    (root / export.METRICS).write_text(json.dumps(figures))
    assert run("--to", root / "own") == 0
    assert "7.25" in (root / "own" / hub.CARD).read_text()
    assert run("--to", root / "other", "--model", root / "model") == 0
    assert "7.25" not in (root / "other" / hub.CARD).read_text()


def test_a_folder_with_something_in_it_and_a_damaged_model_are_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "full").mkdir()
    (root / "full" / "file").touch()
    assert run("--to", root / "full") == 2
    weights = root / "models/generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert run("--to", root / "out") == 3
    assert not (root / "out").exists()
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("args", [("--format", "web"), ("--runtime", "x.tgz")])
def test_a_page_needs_its_runtime_and_says_how_to_get_it(
    root: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    assert run("--to", root / "out", *args) == 2
    assert "npm pack onnxruntime-web" in capsys.readouterr().err
    assert not (root / "out").exists()
