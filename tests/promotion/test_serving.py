"""The exported generator as a folder that MLflow loads, without a pickle."""

import ast
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from dcgan.errors import ConfigError, DataError
from dcgan.promotion import bundle, registry, serving
from dcgan.tracking import runs, store
from tests.support import tiny_models
from tests.support.imports import ROOT, closure
from tests.support.served import decoded, drawn, write_made

PYFUNC = Path("src/dcgan/promotion/pyfunc.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports and the model folder made of them; not to be changed."""
    return write_made(tmp_path_factory.mktemp("made"))


def test_the_folder_holds_code_safetensors_and_no_pickle(made: Path) -> None:
    names = bundle.listed(made / "model")
    expected = "MLmodel README.md pyfunc.py input_example.json requirements.txt sha256.json"
    assert set(expected.split()) <= set(names)
    suffixes = {Path(name).suffix for name in names}
    assert suffixes == {"", ".json", ".md", ".py", ".safetensors", ".txt", ".yaml"}
    for name in ("generator", "discriminator"):
        for suffix in (".safetensors", ".json"):
            assert (made / f"model/artifacts/{name}{suffix}").read_bytes() == (
                made / f"exports/{name}{suffix}"
            ).read_bytes()
    assert (made / "model/README.md").read_text() == "# card\n"
    assert "python_model" not in (made / "model/MLmodel").read_text()


def test_nothing_in_the_folder_names_the_machine_it_was_made_on(made: Path) -> None:
    for path in (made / "model").rglob("*"):
        if path.is_file():
            assert (
                str(made).encode() not in path.read_bytes()
                and str(ROOT).encode() not in path.read_bytes()
            ), path


def test_signature_and_example_say_what_goes_in_and_what_comes_out(made: Path) -> None:
    from mlflow.models import Model

    about = Model.load(made / "model")
    assert about.signature.inputs.input_names() == ["seed", "count"]
    assert about.signature.outputs.input_names() == ["seed", "index", "png"]
    assert about.load_input_example(made / "model").to_dict("list") == {"seed": [7], "count": [2]}


def test_the_code_is_what_a_served_model_imports_and_no_more() -> None:
    packages = {"src/dcgan/promotion/__init__.py"}  # served as a file, not as a part of its package
    copied = {f"src/dcgan/{name}" for name in serving.MODULES}
    assert copied | {str(PYFUNC)} == closure(ROOT / PYFUNC, without=()) - packages


def test_requirements_are_pinned_as_in_the_lock_and_cover_every_import(made: Path) -> None:
    pinned = (made / "model/requirements.txt").read_text().split()
    lock = (ROOT / "requirements.lock").read_text()
    assert all(re.search(rf"^{re.escape(line)} ", lock, re.M) for line in pinned)
    imported = set()
    for path in closure(ROOT / PYFUNC, without=()):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    imported -= {"dcgan", *sys.stdlib_module_names}
    names = {
        "pydantic_core": "pydantic",
        "PIL": "pillow",
        "ruamel": "ruamel-yaml",
    }  # pydantic pins its core
    assert {names.get(name, name) for name in imported} == {
        line.partition("==")[0] for line in pinned
    }


def test_a_lock_without_a_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("torch==2.14.1 \\\n")
    with pytest.raises(DataError, match="has no mlflow, numpy"):
        serving.requirements(tmp_path / "requirements.lock")


def test_a_missing_or_damaged_network_leaves_no_folder(made: Path, tmp_path: Path) -> None:
    models = tiny_models.write(tmp_path / "exports")
    (models / "discriminator.json").unlink()
    with pytest.raises(DataError, match=r"discriminator\.json: missing"):
        serving.write_model(tmp_path / "model", models, "# card\n")
    tiny_models.write(models)
    (models / "generator.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match="sha256"):
        serving.write_model(tmp_path / "model", models, "# card\n")
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]
    with pytest.raises(ConfigError, match="is there already"):
        serving.write_model(made / "model", made / "exports", "# card\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_a_run_with_the_folder_has_a_model_that_mlflow_loads(
    root: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    with runs.open_run("aa", dataset="toys") as run:
        run.log_folder(made / "model", "model")
        run.set_tags(serving.tags(made / "model", "model"))
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store.location())
        model = mlflow.pyfunc.load_model(f"runs:/{run.id}/model")
    rows = model.predict(pd.DataFrame({"seed": [3], "count": [2]}))
    assert (np.stack([decoded(text) for text in rows["png"]]) == drawn(made, 2, 3)).all()
    (logged,) = json.loads(store.connect().get_run(run.id).data.tags["mlflow.log-model.history"])
    assert logged["artifact_path"] == "model" and list(logged["flavors"]) == ["python_function"]
    assert bundle.check(registry.fetch(f"runs:/{run.id}/model", root / "fetched")) == bundle.check(
        made / "model"
    )


def test_folders_and_titles_of_all_kinds_reach_the_store_and_come_back(tmp_path, monkeypatch):
    """MLflow decodes a % in a plain path, and its addresses know no blanks."""
    root = tmp_path / "a b%20c \u00fc"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    name = "\u76f4\u526a my.pictures-2"
    (root / "notes.txt").write_text("text")
    with runs.open_run("aa-1", dataset=name) as run:
        run.log_file(root / "notes.txt", "folder \u00fc")
        run.log_metrics({"accuracy of Ba$$in_\\alpha$": 0.5})
    client = store.connect()
    experiment = client.get_experiment_by_name(f"dcgan-{name}")
    (logged,) = client.search_runs([experiment.experiment_id])
    (folder,) = client.list_artifacts(logged.info.run_id)
    assert folder.path == "folder \u00fc"
    assert (
        client.list_artifacts(logged.info.run_id, folder.path)[0].path == "folder \u00fc/notes.txt"
    )
    assert list(logged.data.metrics.values()) == [0.5]
    models = tiny_models.write(root / "models")
    model = serving.write_model(root / "model", models, "# card\n")
    version = registry.register(model, dataset=name, fingerprint="aa-1", tags={})
    registry.set_alias(name, "champion", version.number, "first", expected=None)
    fetched = registry.fetch(f"models:/{version.name}@champion", root / "fetched")
    assert (fetched / bundle.GENERATOR).read_bytes() == (
        models / "generator.safetensors"
    ).read_bytes()
