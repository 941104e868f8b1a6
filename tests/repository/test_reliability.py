"""docs/reliability.md and the markers of the tests say the same."""

import ast
import re
from pathlib import Path

from tests.support.imports import ROOT

TABLE = ROOT / "docs/reliability.md"
TESTS = ROOT / "tests"
ROW = re.compile(r"^\| (R-\d+) \| (.+?) \| (.*) \|$", re.M)
# Every number of the list, but for those that it leaves free.
NUMBERS = [
    f"R-{number:02d}"
    for number in [*range(1, 36), *range(40, 48), *range(50, 106)]
]  # fmt: skip


def rows() -> dict[str, str]:
    """What stands beside each number."""
    found = ROW.findall(TABLE.read_text())
    assert len({number for number, _, _ in found}) == len(found)
    return {number: shown for number, _, shown in found}


def in_table() -> set[tuple[str, str]]:
    return {
        (number, test)
        for number, shown in rows().items()
        for test in re.findall(r"`tests/([\w/]+\.py::\w+)`", shown)
    }


def marked(folder: Path) -> set[tuple[str, str]]:
    """Numbers and tests of all markers below a folder."""
    found = set()
    for path in folder.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.holds":
                    test = f"{path.relative_to(folder)}::{node.name.removeprefix('test_')}"
                    found |= {(ast.literal_eval(number), test) for number in mark.args}
    return found


def test_every_number_is_in_the_table_with_a_test_or_a_reason():
    assert list(rows()) == NUMBERS
    for number, shown in rows().items():
        without_tests = re.sub(r"`[\w/]+\.py::\w+`|<br>", "", shown).strip()
        assert "::" in shown or len(without_tests) > 5, number


def test_the_table_and_the_markers_say_the_same():
    assert in_table() == marked(TESTS)


def test_a_marker_that_the_table_lacks_is_found(tmp_path):
    (tmp_path / "test_x.py").write_text(
        '@pytest.mark.holds("R-99", "R-01")\ndef test_y():\n    pass\n'
    )
    assert marked(tmp_path) == {("R-99", "test_x.py::y"), ("R-01", "test_x.py::y")}
    assert not marked(tmp_path) <= in_table()


def test_the_promise_stands_word_for_word_in_the_readme():
    promise = " ".join(
        line.removeprefix("> ") for line in TABLE.read_text().splitlines() if line.startswith("> ")
    )
    assert promise.startswith("Same code, lock file") and len(promise) > 300
    assert promise in " ".join((ROOT / "README.md").read_text().split())
