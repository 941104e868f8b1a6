"""The rooms of `src/dcgan`, packages and ground files, and the imports between them.

`python docs/rooms.py --check` compares the imports with the table `tool.rooms` in pyproject.toml, which says what each room may
import; `make lint` runs it.

import-linter is not used: its contracts list what is forbidden or order rooms in layers, so that a new arrow downwards passes.
Here each arrow is written down once.
"""

import ast
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = Path("src/dcgan")
MAX_ROOMS, MAX_FLOORS, MAX_ARROWS = 20, 6, 70

Arrows = Mapping[str, set[str]]  # by room, the rooms that it imports


def room(module: str) -> str:
    """The room of a module by its full name: `dcgan.raw.sources` lies in `raw`."""
    return module.split(".")[1]


def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """Which room imports which, in functions and for types too."""
    library = root / LIBRARY
    names = {
        path.stem
        for path in library.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    found: dict[str, set[str]] = {name: set() for name in names - {"__init__"}}
    for path in sorted(library.rglob("*.py")):
        here = path.relative_to(library).parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found[here] |= {room(module) for module in modules if module.startswith("dcgan.")}
    return {name: targets - {name} for name, targets in found.items()}


def floors(of: Arrows) -> list[list[str]]:
    """Rooms by floor: 0 imports none, each other lies one above the highest that it imports.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    level: dict[str, int] = {}
    waiting = dict(of)
    while waiting:
        ready = [name for name, targets in waiting.items() if targets <= set(level)]
        if not ready:
            raise ValueError(f"rooms import each other in a circle: {', '.join(sorted(waiting))}")
        for name in ready:
            level[name] = 1 + max((level[target] for target in waiting.pop(name)), default=-1)
    return [
        sorted(name for name, at in level.items() if at == floor)
        for floor in range(max(level.values()) + 1)
    ]


def faults(of: Arrows, allowed: Mapping[str, list[str]]) -> list[str]:
    """What is wrong with the rooms, a line each; none: they are as the table says and within the limits."""
    lines = []
    for name in sorted(set(of) | set(allowed)):
        if name not in allowed:
            lines.append(
                f"{name}: not in pyproject.toml's tool.rooms: add it with the rooms that it imports"
            )
            continue
        targets = of.get(name, set())
        for target in sorted(targets - set(allowed[name])):
            lines.append(
                f"{name} imports {target}, which pyproject.toml's tool.rooms does not allow: move the code, or the table"
            )
        for target in sorted(set(allowed[name]) - targets):
            lines.append(
                f"{name} does not import {target}: take it out of pyproject.toml's tool.rooms"
            )
    try:
        num_floors = len(floors(of))
    except ValueError as error:
        return [*lines, str(error)]
    counts = {"rooms": len(of), "floors": num_floors, "arrows": sum(map(len, of.values()))}
    for what, most in (("rooms", MAX_ROOMS), ("floors", MAX_FLOORS), ("arrows", MAX_ARROWS)):
        if counts[what] > most:
            lines.append(f"{counts[what]} {what}: must be at most {most}")
    return lines


def table(root: Path = ROOT) -> dict[str, list[str]]:
    """What each room may import."""
    rooms: dict[str, list[str]] = tomllib.loads((root / "pyproject.toml").read_text())["tool"][
        "rooms"
    ]
    return rooms


def main() -> None:
    """Check the rooms."""
    of = arrows()
    wrong = faults(of, table())
    for line in wrong:
        print(f"rooms: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"rooms: {len(of)} rooms, {len(floors(of))} floors, {sum(map(len, of.values()))} arrows")


if __name__ == "__main__":
    main()
