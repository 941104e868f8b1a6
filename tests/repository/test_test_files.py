"""Each module has its test file, and no test file takes anything from another."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.imports import ROOT

LIBRARY, TESTS = ROOT / "src/dcgan", ROOT / "tests"


def untested(library: Path, tests: Path) -> list[str]:
    """Modules, `judging/sample.py`, without a test in `judging/test_sample.py`."""
    modules = (path.relative_to(library) for path in library.rglob("*.py"))
    return sorted(
        module.as_posix()
        for module in modules
        if module.stem != "__init__"
        and not has_a_test(tests / module.with_name(f"test_{module.name}"))
    )


def has_a_test(path: Path) -> bool:
    return path.is_file() and re.search(r"^def test_\w+\(", path.read_text(), re.M) is not None


def imported(path: Path) -> Iterator[str]:
    """Names of modules, and of what is taken from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def borrowing(tests: Path) -> list[str]:
    """Files that import a test file."""
    return sorted(
        path.name
        for path in tests.rglob("*.py")
        if any(name.rpartition(".")[2].startswith("test_") for name in imported(path))
    )


def test_each_module_of_the_library_has_its_test_file():
    assert untested(LIBRARY, TESTS) == []


def test_no_test_file_imports_from_another():
    assert borrowing(TESTS) == []


def test_a_module_without_a_test_and_a_borrowed_one_are_found(tmp_path):
    for name in ("lib/room/__init__.py", "lib/room/one.py", "lib/room/two.py", "lib/ground.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "tests/room").mkdir(parents=True)
    (tmp_path / "tests/room/test_one.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "tests/room/test_two.py").write_text("import pytest\n")
    (tmp_path / "tests/test_one.py").write_text("from tests.room.test_one import test_it\n")
    assert untested(tmp_path / "lib", tmp_path / "tests") == ["ground.py", "room/two.py"]
    assert borrowing(tmp_path / "tests") == ["test_one.py"]
