"""Which of the project's files a stage runs: its import closure, found without running it."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# They cannot change an output: what they make goes to MLflow and to the terminal.
TRACKING = ("tracking", "outbox", "sending", "journal", "monitoring", "store", "provenance")
EXEMPT = {f"src/dcgan/{name}.py" for name in (*TRACKING, "progress", "bundle", "model_card", "run_page", "serving")}


def module_file(name: str) -> Path | None:
    """The project's file for a module's full name, or None for a library's."""
    base = ROOT / "src" if name.split(".")[0] == "dcgan" else ROOT
    path = base.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file() and name.split(".")[0] in ("dcgan", "pipeline"):
            return candidate
    return None


def imported(path: Path) -> set[Path]:
    """The project's files that one file imports, in functions too, under TYPE_CHECKING not."""
    found = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not followed"
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            # Importing a.b runs a/__init__.py too.
            parts = name.split(".")
            found |= {module_file(".".join(parts[: i + 1])) for i in range(len(parts))}
    return {path for path in found if path}


def closure(path: Path) -> set[str]:
    """Everything that running a file can import of the project, as paths from the root; exempt files are not followed."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in seen or str(current.relative_to(ROOT)) in EXEMPT:
            continue
        seen.add(current)
        waiting += imported(current)
    return {str(path.relative_to(ROOT)) for path in seen}
