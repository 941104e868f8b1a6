"""The rooms of `src/dcgan`, packages and ground files, and the imports between them.

    python docs/rooms.py --check                         # make lint runs it
    python docs/rooms.py --draw docs/images/rooms.png

The check compares the imports with the table `tool.rooms` in pyproject.toml, which says what each
room may import. import-linter is not used: its contracts list what is forbidden, or order rooms in
layers, so that a new arrow downwards passes. Here each arrow is written down once.
"""

import argparse
import ast
import sys
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = Path("src/dcgan")
MAX_ROOMS, MAX_FLOORS, MAX_ARROWS = 20, 6, 70

Arrows = Mapping[str, set[str]]  # by room, the rooms that it imports


def room(module: str) -> str:
    """The room of a module by its full name: `dcgan.raw.sources` lies in `raw`."""
    return module.split(".")[1]


def imported(path: Path, *, types: bool) -> set[str]:
    """Full names of what a file imports, in functions too.

    `from a import b` gives both a and a.b: what the name b stands for is not looked up.

    Args:
        path: the file.
        types: whether imports under `if TYPE_CHECKING` count.
    """
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: relative imports are not followed")
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        waiting += ast.iter_child_nodes(node)
    return names


def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """Which room imports which, in functions and for types too."""
    library = root / LIBRARY
    names = {
        path.stem
        for path in library.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    targets: dict[str, set[str]] = {name: set() for name in names - {"__init__"}}
    for path in sorted(library.rglob("*.py")):
        source = path.relative_to(library).parts[0].removesuffix(".py")
        if source != "__init__":
            modules = imported(path, types=True)
            targets[source] |= {room(name) for name in modules if name.startswith("dcgan.")}
    return {name: rooms - {name} for name, rooms in targets.items()}


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
    """What is wrong with the rooms, a line each: against the table, or beyond the limits."""
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
                f"{name} imports {target}, which pyproject.toml's tool.rooms does not allow:"
                " move the code, or the table"
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
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    rooms: dict[str, list[str]] = settings["tool"]["rooms"]
    return rooms


Spot = tuple[
    str, int
]  # a room on its own floor, or on a higher one: the line that leads down to it
ROOM_WIDTH, LINE_WIDTH, FLOOR_HEIGHT, BOX_HEIGHT = 1.7, 0.5, 1.6, 0.55


def lines(of: Arrows) -> dict[Spot, set[Spot]]:
    """Each spot with the spots one floor below that it leads to.

    All arrows to a room that come from two or more floors above it join one line: on each floor
    between, this line has one spot.
    """
    level = {name: number for number, names in enumerate(floors(of)) for name in names}
    below: dict[Spot, set[Spot]] = {(name, number): set() for name, number in level.items()}
    for source, targets in of.items():
        for target in targets:
            way = [(target, number) for number in range(level[source] - 1, level[target] - 1, -1)]
            for upper, lower in pairwise([(source, level[source]), *way]):
                below.setdefault(upper, set()).add(lower)
    return below


def places(below: Mapping[Spot, set[Spot]], of: Arrows) -> dict[Spot, float]:
    """Where each spot lies on its floor: near the mean of those that it is joined to."""
    level = {name: number for number, names in enumerate(floors(of)) for name in names}
    near: dict[Spot, list[Spot]] = {spot: sorted(lower) for spot, lower in below.items()}
    for spot, lower in sorted(below.items()):
        for each in sorted(lower):
            near[each].append(spot)
    width = {spot: ROOM_WIDTH if level[spot[0]] == spot[1] else LINE_WIDTH for spot in below}
    rows = [sorted(spot for spot in below if spot[1] == n) for n in range(max(level.values()) + 1)]
    x: dict[Spot, float] = {}
    for row in rows:
        x |= {spot: float(2 * i - len(row)) for i, spot in enumerate(row)}
    for sweep in range(60):
        for row in rows if sweep % 2 else reversed(rows):
            ideal = {s: sum(x[n] for n in near[s]) / len(near[s]) if near[s] else 0.0 for s in row}
            order = sorted(row, key=lambda spot: (ideal[spot], spot))
            start = 0.0
            for spot in order:
                x[spot] = start + width[spot] / 2
                start += width[spot]
            # The row as a whole lies where its spots want to be.
            shift = sum(ideal[spot] - x[spot] for spot in order) / len(order)
            for spot in order:
                x[spot] += shift
    return x


def draw(of: Arrows, path: Path) -> None:
    """Draw the rooms on their floors and the arrows between them; equal rooms give equal bytes.

    The PNG holds the arrows as text too, by which a test sees that it is not out of date.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Curve

    below = lines(of)
    x = places(below, of)
    level = {name: number for number, names in enumerate(floors(of)) for name in names}
    figure = Figure(figsize=(13, 9), layout="constrained")
    axis = figure.subplots()
    colours = {name: colormaps["tab20"](i % 20) for i, name in enumerate(sorted(level))}
    for (source, upper), spots in sorted(below.items()):
        is_room = level[source] == upper
        for place, (target, lower) in enumerate(sorted(spots, key=lambda spot: (x[spot], spot))):
            spread = (place + 1) / (len(spots) + 1) - 0.5 if is_room else 0.0
            start = x[source, upper] + spread * (ROOM_WIDTH - 0.5)
            top = upper * FLOOR_HEIGHT - (BOX_HEIGHT / 2 if is_room else 0)
            ends = level[target] == lower
            bottom = lower * FLOOR_HEIGHT + (BOX_HEIGHT / 2 if ends else 0)
            middle, end = (top + bottom) / 2, x[target, lower]
            points = [(start, top), (start, middle), (end, middle), (end, bottom)]
            curve = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
            axis.add_patch(
                FancyArrowPatch(
                    path=curve, arrowstyle="-|>" if ends else "-", mutation_scale=12,
                    color=colours[target], linewidth=1.6, shrinkA=0, shrinkB=0, zorder=1,
                )
            )  # fmt: skip
    for name, number in sorted(level.items()):
        box = (ROOM_WIDTH - 0.3, BOX_HEIGHT)
        corner = (x[name, number] - box[0] / 2, number * FLOOR_HEIGHT - box[1] / 2)
        axis.add_patch(
            FancyBboxPatch(
                corner, *box, boxstyle="round,pad=0,rounding_size=0.1",
                facecolor="white", edgecolor=colours[name], linewidth=2.5, zorder=2,
            )
        )  # fmt: skip
        axis.text(x[name, number], number * FLOOR_HEIGHT, name, ha="center", va="center",
                  fontsize=12, zorder=3)  # fmt: skip
    axis.set_xlim(min(x.values()) - 1.2, max(x.values()) + 1.2)
    axis.set_ylim(-0.6, max(level.values()) * FLOOR_HEIGHT + 0.6)
    axis.set_axis_off()
    figure.savefig(path, dpi=100, metadata={"Software": None, "Description": listed(of)})


def listed(of: Arrows) -> str:
    """The arrows as text, a room a line."""
    return "\n".join(f"{name}: {' '.join(sorted(of[name]))}" for name in sorted(of))


def main() -> None:
    """Check the rooms, or draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if something is wrong")
    parser.add_argument("--draw", type=Path, metavar="PNG", help="draw the rooms and arrows")
    options = parser.parse_args()
    of = arrows()
    if options.draw:
        draw(of, options.draw)
        return
    wrong = faults(of, table())
    for line in wrong:
        print(f"rooms: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"rooms: {len(of)} rooms, {len(floors(of))} floors, {sum(map(len, of.values()))} arrows")


if __name__ == "__main__":
    main()
