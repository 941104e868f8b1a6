"""Which of the project's files a stage runs: its import closure, found without running it."""

from collections.abc import Sequence
from pathlib import Path

from docs import rooms

ROOT = Path(__file__).resolve().parents[2]
# They cannot change an output. `config` and `cli` read values that DVC tracks as params, or refuse;
# `errors` is what they refuse with. What the others make goes to MLflow, the registry and the
# terminal.
EXEMPT = (
    "src/dcgan/__init__.py", "src/dcgan/config", "src/dcgan/tracking", "src/dcgan/promotion",
    "src/dcgan/reports", "src/dcgan/errors.py", "src/dcgan/progress.py",
    "pipeline/__init__.py", "pipeline/cli.py", "pipeline/data_docs.py", "pipeline/launcher.py",
    "pipeline/pools.py", "pipeline/processes.py", "pipeline/workspace.py",
)  # fmt: skip


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
    files = set()
    for name in rooms.imported(path, types=False):
        # Importing a.b runs a/__init__.py too.
        parts = name.split(".")
        files |= {module_file(".".join(parts[: i + 1])) for i in range(len(parts))}
    return {path for path in files if path}


def below(path: str, units: Sequence[str]) -> bool:
    """Whether a file, as a path from the root, is one of `units` or lies in one of them."""
    return any(path == unit or path.startswith(f"{unit}/") for unit in units)


def closure(path: Path, without: Sequence[str] = EXEMPT) -> set[str]:
    """Everything that running a file can import of the project, as paths from the root.

    Args:
        path: the file.
        without: files and folders that are left out, and not followed.
    """
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in seen or below(str(current.relative_to(ROOT)), without):
            continue
        seen.add(current)
        waiting += imported(current)
    return {str(path.relative_to(ROOT)) for path in seen}


def units(files: set[str]) -> set[str]:
    """What dvc.yaml names for these files: a package's folder, or a file outside of packages."""
    return {str(Path(*Path(file).parts[:3])) for file in files}
