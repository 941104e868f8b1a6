"""What README, docs and the packages' docstrings say of the code's names is so."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator

import pytest

from dcgan.config import keys, reading
from docs import rooms
from pipeline.__main__ import COMMANDS
from tests.support import documents
from tests.support.imports import ROOT

LIBRARY = ROOT / rooms.LIBRARY
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob(".ci/*"),
                 ROOT / "CONTRIBUTING.md", ROOT / "Makefile", ROOT / "Dockerfile",
                 *ROOT.glob(".github/workflows/*"))
)  # fmt: skip
TABLE = rooms.table()
PACKAGES = {name for name in TABLE if (LIBRARY / name).is_dir()}


def members(body: Iterable[ast.stmt], prefix: str) -> Iterator[str]:
    """Full names of what a module or a class defines."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield f"{prefix}.{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from members(node.body, f"{prefix}.{node.name}")
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = (part for target in targets for part in ast.walk(target))
            yield from (f"{prefix}.{part.id}" for part in parts if isinstance(part, ast.Name))


def known() -> set[str]:
    """Names that a document may use: `training/step`, `training/step.py`, `training/step.Batch.z`.

    And keys of params.yaml.
    """
    names = set(keys.leaves(reading.read_yaml(ROOT / "params.yaml")))
    for folder in (LIBRARY, ROOT / "pipeline"):
        for path in folder.rglob("*.py"):
            start = LIBRARY if folder == LIBRARY else ROOT
            module = path.relative_to(start).with_suffix("").as_posix()
            names |= {module, f"{module}.py"}
            names |= set(members(ast.parse(path.read_text()).body, module))
    return names


def unknown(text: str, names: Collection[str]) -> list[str]:
    """Names in backquotes with a slash or a dot that are neither in `names` nor a file.

    The front of a name may be left out: `step.alternating`, `Batch.z`, `coverage.py`.
    """
    quoted = re.findall(r"`([A-Za-z_]\w*(?:[/.]\w+)+)`", text)
    return [
        name
        for name in quoted
        if not (ROOT / name).exists()
        and name not in names
        and not any(each.endswith((f"/{name}", f".{name}")) for each in names)
    ]


def missing(name: str, text: str) -> list[str]:
    """Files of the repository that a document names, by their path or in a link, and that are not.

    Args:
        name: of the document, for what its links start from.
        text: what it says.
    """
    paths = re.findall(
        r"(?<![\w/])(?:src|tests|pipeline|bench|docs|docker|\.ci)/"
        r"[\w/.-]+\.(?:py|md|png|gif|sh|yaml)\b",
        text,
    )
    links = re.findall(r"\]\(([\w/.-]+)\)", text)
    return [
        *(path for path in paths if not (ROOT / path).exists()),
        *(link for link in links if not (ROOT / name).parent.joinpath(link).exists()),
    ]


def tree(text: str) -> tuple[set[str], set[str]]:
    """Packages and single files of the library in the tree of README.md."""
    below = text.split("src/dcgan/ ")[1].split("\ntests/")[0]
    packages = set(re.findall(r"^  (\w+)/ ", below, re.MULTILINE))
    (files,) = re.findall(r"^  ((?:\w+, )+\w+)  ", below, re.MULTILINE)
    return packages, set(files.split(", "))


def docstring(package: str) -> str:
    """The head of a package, in one line."""
    head = ast.get_docstring(ast.parse((LIBRARY / package / "__init__.py").read_text()))
    return " ".join(str(head).split())


def test_each_name_in_the_architecture_is_one_of_the_code():
    names = known()
    assert unknown(ARCHITECTURE, names) == []
    assert unknown("`training/walk.py`, `step.Step`, `Batch.y`", names) == [
        "training/walk.py", "step.Step", "Batch.y",
    ]  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_path_in_a_document_exists(name):
    assert missing(name, (ROOT / name).read_text()) == []


def test_a_path_that_does_not_exist_is_found():
    text = "`tests/test_training.py`, [here](step.md)"
    assert missing("docs/sweep.md", text) == ["tests/test_training.py", "step.md"]


def test_the_tree_in_the_readme_has_every_package_and_every_single_file():
    assert tree(README) == (PACKAGES, set(TABLE) - PACKAGES)
    assert tree(README.replace("  judging/ ", "  figures/ "))[0] != PACKAGES


def test_the_table_of_rooms_has_every_room_and_the_file_that_its_head_names():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (?:`(\w+)\.py` )?\|$", ARCHITECTURE, re.MULTILINE)
    assert {room for room, _ in rows} == set(TABLE)
    for room, first in rows:
        if room in PACKAGES:
            assert re.search(r"Read `(\w+)` first", docstring(room)).group(1) == first, room


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_says_which_packages_it_knows(package):
    said = re.search(r"Knows (.+?)\.(?: |$)", docstring(package)).group(1)
    assert set(re.findall(r"`(\w+)`", said)) == PACKAGES & set(TABLE[package])


def test_the_head_of_the_library_names_the_ground_files():
    head = str(ast.get_docstring(ast.parse((LIBRARY / "__init__.py").read_text())))
    assert set(re.findall(r"`(\w+)`", head)) == set(TABLE) - PACKAGES


TYPED = sorted({
    command
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
    for command in documents.commands(path)
})  # fmt: skip


def test_documents_have_commands():
    assert len(TYPED) > 40
    assert "make repro" in TYPED and "dvc exp show" in TYPED


def test_every_command_of_ours_in_a_document_exists_with_its_options():
    helps: dict[str, str] = {}
    for command in TYPED:
        name, *rest = documents.pipeline_words(command) or [""]
        if not name or name == "…":
            continue
        assert name in COMMANDS, command
        # The options of these two are those of dvc.
        if name in ("run", "repro"):
            continue
        which = " ".join([name, rest[0]] if name in ("recipe", "sweep") else [name])
        if which not in helps:
            helps[which] = subprocess.run(
                [sys.executable, "-m", "pipeline", *which.split(), "--help"],
                cwd=ROOT, capture_output=True, text=True, check=True,
                env={**os.environ, "COLUMNS": "200"},
            ).stdout  # fmt: skip
        for word in rest:
            if word.startswith("-"):
                assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", helps[which]), command


def test_every_make_target_in_a_document_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {command.split()[1] for command in TYPED if command.startswith("make ")}
    assert len(named) > 4 and named <= targets
