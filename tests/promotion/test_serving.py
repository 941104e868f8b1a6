"""The exported generator in MLflow: loaded and served from its folder alone, without a pickle."""

import ast
import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.errors import ConfigError, DataError
from dcgan.networks import exports, sampling
from dcgan.promotion import bundle, registry, serving
from dcgan.tracking import runs, store
from tests.support import tiny_models
from tests.support.imports import ROOT, closure

PYFUNC = Path("src/dcgan/promotion/pyfunc.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports and the model folder made of them; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    serving.write_model(
        folder / "model", tiny_models.write(folder / "exports", channels=3), "# card\n"
    )
    return folder


def elsewhere() -> dict[str, str]:
    """An environment that knows nothing of this project."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MLFLOW", "PYTHON", "DVC"))
    }
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return {**environment, **quiet, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def decoded(text: str) -> np.ndarray:
    """A base64 PNG as C x H x W."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert image.format == "PNG"
        return np.asarray(image).transpose(2, 0, 1)


def drawn(made: Path, count: int, seed: int) -> np.ndarray:
    return sampling.sample(
        exports.load_generator(made / "exports/generator.safetensors")[0], count, seed=seed
    )


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


LOAD = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
import dcgan
def draw(*pairs):
    return model.predict(pd.DataFrame(pairs, columns=["seed", "count"])).to_dict("records")
refused = []
for seed, count in ((7, 0), (7, -1), (7, 1001), (-1, 1), (2**32, 1)):
    try:
        draw((seed, count))
    except mlflow.MlflowException as error:
        refused.append(str(error))
try:
    draw((1, 600), (2, 600))
except mlflow.MlflowException as error:
    refused.append(str(error))
answer = {"rows": draw((7, 3), (8, 1)), "more": draw((7, 101)), "refused": refused}
print(json.dumps({"dcgan": dcgan.__file__, **answer}))
"""


def test_mlflow_loads_it_without_this_project_on_the_path(made: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(made / "model")]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=elsewhere(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["dcgan"] == str(made / "model/code/dcgan/__init__.py")
    assert [(row["seed"], row["index"]) for row in answer["rows"]] == [
        (7, 0),
        (7, 1),
        (7, 2),
        (8, 0),
    ]
    images = np.stack([decoded(row["png"]) for row in answer["rows"]])
    # The very images of `python -m pipeline sample`, whatever the count.
    assert (images == np.concatenate([drawn(made, 3, 7), drawn(made, 1, 8)])).all()
    assert [row["png"] for row in answer["more"][:3]] == [row["png"] for row in answer["rows"][:3]]
    assert len(answer["more"]) == 101 and not (images[0] == images[3]).all()
    assert all("\n" not in line for line in answer["refused"])
    assert [
        re.search(r"(seed|count) = -?\d+: must be|ask for 1200 images", line) is not None
        for line in answer["refused"]
    ] == [True] * 6


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


@pytest.fixture
def server(made: Path, tmp_path: Path) -> Iterator[str]:
    """`mlflow models serve` of a champion, on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(tmp_path))
        version = registry.register(made / "model", dataset="toys", fingerprint="aa", tags={})
        registry.set_alias("toys", "champion", version.number, "the first", expected=None)
        address = store.location()
    command = [
        "mlflow",
        "models",
        "serve",
        "--env-manager",
        "local",
        "--model-uri",
        "models:/dcgan-toys@champion",
    ]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=tmp_path, env={**elsewhere(), "MLFLOW_TRACKING_URI": address}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def ask(address: str, question: object) -> tuple[int, dict[str, object]]:
    """Status and answer to a question in JSON."""
    request = urllib.request.Request(
        address, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_mlflow_serves_pngs_for_seed_and_count(server: str, made: Path) -> None:
    expected = drawn(made, 3, 7)
    for question in (
        {"inputs": {"seed": 7, "count": 3}},
        {"inputs": {"seed": [7], "count": [3]}},
        {"inputs": [{"seed": 7, "count": 3}]},
        {"dataframe_records": [{"seed": 7, "count": 3}]},
        {"dataframe_split": {"columns": ["seed", "count"], "data": [[7, 3]]}},
    ):
        status, answer = ask(server, question)
        assert status == 200, answer
        rows = answer["predictions"]
        assert [(row["seed"], row["index"]) for row in rows] == [(7, 0), (7, 1), (7, 2)]
        assert (np.stack([decoded(row["png"]) for row in rows]) == expected).all()
    for question in (
        {"inputs": {"seed": [7], "count": [0]}},
        {"inputs": {"seed": [7], "count": [10**6]}},
    ):
        status, answer = ask(server, question)
        assert status == 400 and "must be 1 to 1000" in str(answer["message"])
