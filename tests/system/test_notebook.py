"""The notebook runs from its first cell to its last in a workspace where the graph has run."""

import shutil

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.idx_source import write_idx_source
from tests.support.imports import ROOT
from tests.support.params import small
from tests.support.repository import Repository

NOTEBOOK = ROOT / "notebooks/tour.ipynb"


def test_the_notebook_is_committed_without_what_it_shows():
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert len(notebook.cells) <= 10


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_cell_runs_and_shows_something(tmp_path, monkeypatch):
    source = tmp_path / "source"
    write_idx_source(source, num_train=400, num_test=200)
    repo = Repository(tmp_path / "repo", source, **small(epochs=2))
    repo.run("dvc", "repro", "render", timeout=600)
    (repo.folder / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, repo.folder / "notebooks")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = nbformat.read(NOTEBOOK, 4)
    where = {"metadata": {"path": str(repo.folder / "notebooks")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    shown = {
        cell["id"]: [
            output for output in cell["outputs"]
            if output.output_type in ("execute_result", "display_data")
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }  # fmt: skip
    assert [cell for cell, outputs in shown.items() if not outputs] == ["setup"]
    assert "epoch-0002" in shown["mlflow"][0].data["text/plain"]
    for cell in ("grids", "sample", "walk"):
        assert "image/png" in shown[cell][0].data
