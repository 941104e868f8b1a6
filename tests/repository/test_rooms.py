"""The rooms of src/dcgan are as their table says, and each kind of fault is noticed."""

import pytest
from PIL import Image

from docs import rooms

ALLOWED = {"ground": [], "middle": ["ground"], "top": ["ground", "middle"]}


def planted(**changes: set[str]) -> dict[str, set[str]]:
    """Rooms as ALLOWED has them, with changes."""
    return {name: set(targets) for name, targets in ALLOWED.items()} | changes


def test_the_rooms_are_as_the_table_says_and_within_the_limits():
    assert rooms.faults(rooms.arrows(), rooms.table()) == []
    assert rooms.faults(planted(), ALLOWED) == []


@pytest.mark.parametrize(("changes", "message"), [
    ({"ground": {"middle"}}, "ground imports middle, which pyproject.toml's tool.rooms does not"),
    ({"top": {"ground"}}, "top does not import middle: take it out"),
    ({"attic": {"top"}}, "attic: not in pyproject.toml's tool.rooms: add it"),
    ({"ground": {"top"}}, "rooms import each other in a circle: ground, middle, top"),
])  # fmt: skip
def test_what_the_table_does_not_have_is_found(changes, message):
    assert any(line.startswith(message) for line in rooms.faults(planted(**changes), ALLOWED))


@pytest.mark.parametrize(("limit", "message"), [
    ("MAX_ROOMS", "3 rooms: must be at most 2"),
    ("MAX_FLOORS", "3 floors: must be at most 2"),
    ("MAX_ARROWS", "3 arrows: must be at most 2"),
])  # fmt: skip
def test_one_too_many_is_found(limit, message, monkeypatch):
    monkeypatch.setattr(rooms, limit, 2)
    assert rooms.faults(planted(), ALLOWED) == [message]


def test_imports_are_read_in_functions_and_for_types(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("""
from typing import TYPE_CHECKING
from dcgan.raw import idx
if TYPE_CHECKING:
    import dcgan.data
else:
    import dcgan.rng
def function():
    import dcgan.files as other
""")
    without_types = {
        "typing",
        "typing.TYPE_CHECKING",
        "dcgan.raw",
        "dcgan.raw.idx",
        "dcgan.rng",
        "dcgan.files",
    }
    assert rooms.imported(path, types=False) == without_types
    assert rooms.imported(path, types=True) == without_types | {"dcgan.data"}
    path.write_text("from . import idx")
    with pytest.raises(ValueError, match="relative imports are not followed"):
        rooms.imported(path, types=True)


def test_a_room_lies_above_all_that_it_imports():
    assert rooms.floors(planted()) == [["ground"], ["middle"], ["top"]]
    level = {name: n for n, names in enumerate(rooms.floors(rooms.arrows())) for name in names}
    for name, targets in rooms.arrows().items():
        assert all(level[target] < level[name] for target in targets)


def test_the_drawing_is_the_same_again_and_its_lines_are_the_arrows(tmp_path):
    for name in ("a.png", "b.png"):
        rooms.draw(planted(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    # The arrow from top to ground passes the middle floor.
    assert rooms.lines(planted()) == {
        ("ground", 0): set(), ("middle", 1): {("ground", 0)}, ("ground", 1): {("ground", 0)},
        ("top", 2): {("middle", 1), ("ground", 1)},
    }  # fmt: skip


def test_the_committed_drawing_shows_the_arrows_of_today():
    with Image.open(rooms.ROOT / "docs/images/rooms.png") as drawing:
        drawn = drawing.text["Description"]
    assert drawn == rooms.listed(rooms.arrows()), (
        "run python docs/rooms.py --draw docs/images/rooms.png"
    )
    assert drawn != rooms.listed(planted())
