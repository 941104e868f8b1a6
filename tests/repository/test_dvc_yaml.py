"""What dvc.yaml promises.

Dependencies are what the code imports, parameters what it reads, and the run cache can restore
every stage.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dcgan.config import keys, reading, sections
from tests.support.imports import EXEMPT, ROOT, closure, units

GRAPH = YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES = GRAPH["stages"]


def code(stage: str) -> set[str]:
    """Those dependencies of a stage that are the project's own code."""
    return {dep for dep in STAGES[stage]["deps"] if dep.startswith(("src/", "pipeline/"))}


def test_stages_stand_in_run_order():
    assert list(STAGES) == [
        "download", "prepare", "validate", "reference", "train", "evaluate", "probe", "render",
        "paper",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_in_one_sentence_what_it_does(stage):
    sentence = STAGES[stage]["desc"]
    assert sentence.endswith(".") and sentence.count(". ") == 0 and len(sentence) <= 100


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_the_import_closure(stage):
    assert code(stage) == units(closure(ROOT / "pipeline" / f"{stage}.py"))


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_those_that_the_stage_declares(stage):
    """A section of which a stage reads some keys alone is declared key by key."""
    module = importlib.import_module(f"pipeline.{stage}")
    declared = set()
    for name, field in module.Params.model_fields.items():
        whole = sections.AllParams.model_fields[name].annotation
        part = field.annotation is not whole
        declared |= {f"{name}.{key}" for key in field.annotation.model_fields} if part else {name}
    assert set(STAGES[stage].get("params", [])) == declared


@pytest.mark.holds("R-88")
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_one_command_without_templates(stage):
    assert STAGES[stage]["cmd"] == f"python -m pipeline.{stage}"
    assert "${" not in (ROOT / "dvc.yaml").read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_the_run_cache_can_restore_every_stage(stage):
    assert "always_changed" not in STAGES[stage]
    assert STAGES[stage]["deps"]
    for out in STAGES[stage].get("outs", []):
        options = next(iter(out.values())) if isinstance(out, dict) else {}
        assert "persist" not in options
        assert options.get("cache", True), f"{out}: small committed files are metrics or plots"


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "download"])
def test_stages_that_compute_depend_on_the_runtime_lock(stage):
    assert "requirements.lock" in STAGES[stage]["deps"]


def test_the_trajectory_of_a_training_is_named_by_all_the_code_that_decides_it():
    from dcgan.training.trajectory import CODE

    trajectory = {f"src/dcgan/{name}" for name in CODE}
    decides = closure(ROOT / "src/dcgan/training/loop.py")
    assert trajectory == {path for path in decides if not path.endswith("__init__.py")}


def test_what_may_be_left_out_of_the_dependencies_holds_no_value_of_its_own():
    """The schema of params.yaml: a default or a computed value would change an output unseen."""
    import inspect

    from dcgan.config import sections

    classes = [
        each
        for _, each in inspect.getmembers(sections, inspect.isclass)
        if issubclass(each, sections.Section)
    ]
    assert len(classes) > 10
    for each in classes:
        assert all(field.is_required() for field in each.model_fields.values()), each
        assert not each.model_computed_fields, each
        own = {
            name
            for name, value in vars(each).items()
            if isinstance(value, property) or callable(value)
        }
        assert all(name.startswith("_") for name in own), f"{each}: {own}"


def test_a_package_begins_with_its_docstring_and_runs_nothing():
    for path in (ROOT / "src").rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert [type(node) for node in body] == [ast.Expr], path
        assert len(str(ast.get_docstring(ast.parse(path.read_text())))) > 20, path


def test_exempt_files_exist_and_each_library_has_its_homes():
    assert all((ROOT / path).exists() for path in EXEMPT)
    homes = {
        "mlflow": {
            "sending", "store", "fetching", "registry", "versions", "serving", "pyfunc", "view",
        },
        "great_expectations": {"validation"},
        "torch_fidelity": {"inception"},
        "ruamel": {"reading", "edits"}, "torchvision": {"grids"},
        "imagehash": {"duplicates"}, "lmdb": {"lsun"},
        "scipy": {"svhn", "coverage"}, "typer": set(), "dvc": set(),
        "psutil": {"monitoring", "memory"},
    }  # fmt: skip
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                library = name.split(".")[0]
                assert path.stem in homes.get(library, {path.stem}), f"{path} imports {library}"


def test_stages_do_not_import_each_other_and_the_library_not_the_pipeline():
    for stage in STAGES:
        others = {f"pipeline/{other}.py" for other in STAGES} - {f"pipeline/{stage}.py"}
        assert not code(stage) & others
    for path in (ROOT / "src").rglob("*.py"):
        assert "import pipeline" not in path.read_text()
        assert "from pipeline" not in path.read_text()


def test_importing_every_module_does_nothing_else(tmp_path):
    names = [
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for path in (ROOT / "src").rglob("*.py")
    ]
    names += [
        f"pipeline.{path.stem}"
        for path in (ROOT / "pipeline").glob("*.py")
        if path.stem != "__main__"
    ]
    script = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nimport pipeline, importlib\n"
    script += f"for name in {names!r}: importlib.import_module(name)\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_every_output_is_ignored_by_git_or_small_and_committed():
    for name, stage in STAGES.items():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
                ignored = (
                    subprocess.run(
                        ["git", "check-ignore", "-q", path], cwd=ROOT, check=False
                    ).returncode
                    == 0
                )
                assert ignored == options.get("cache", True), f"{name}: {path}"


def test_every_knob_has_a_comment_with_its_meaning():
    for number, line in enumerate(Path("params.yaml").read_text().splitlines(), 1):
        key = line.split("#")[0].strip()
        if key and not key.startswith("- ") and not key.endswith(":"):
            assert "#" in line, f"params.yaml line {number}: {line}"


def test_the_networks_are_artifacts_by_name():
    outs = {
        out if isinstance(out, str) else next(iter(out))
        for stage in STAGES
        for out in STAGES[stage].get("outs", [])
    }
    for name, artifact in GRAPH["artifacts"].items():
        assert artifact["path"] == f"models/{name}.safetensors" and artifact["path"] in outs
    assert set(GRAPH["artifacts"]) == {"generator", "discriminator"}


def test_make_experiments_shows_columns_that_exist():
    (columns,) = re.findall(r"^FIGURES := \^\((.*)\)\$\$$", (ROOT / "Makefile").read_text(), re.M)
    assert columns.startswith("Experiment|")  # without it no row has a name
    known = {"Experiment", *keys.leaves(reading.read_yaml(ROOT / "params.yaml"))}
    for metrics in GRAPH["metrics"]:
        known |= set(keys.leaves(json.loads((ROOT / metrics).read_text())))
    assert {column.replace("\\.", ".") for column in columns.split("|")} <= known


def test_what_dvc_shows_of_the_committed_metrics_fits_a_screen():
    """`dvc metrics diff` has a line for each value that it finds by keys."""
    shown = []
    for stage in STAGES.values():
        for path in (name for out in stage.get("metrics", []) for name in out):
            shown += _reached(json.loads((ROOT / path).read_text()))
    assert len(shown) <= 24, shown
    assert {"fid.mean", "fid.deviation", "precision.mean", "floor.fid", "ceiling.fid",
            "discriminator.test_accuracy", "trained_epoch"} <= set(shown)  # fmt: skip


def _reached(value, *keys):
    """The dotted names of what DVC takes for metrics: numbers and texts in no list."""
    if isinstance(value, dict):
        return [name for key, each in value.items() for name in _reached(each, *keys, key)]
    return [] if isinstance(value, list) or value is None else [".".join(keys)]
