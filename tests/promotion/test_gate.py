"""The gate: three outcomes, and no way past it for a figure that is not a number."""

import itertools
import json
import math
import random
import statistics

import pytest

from dcgan.config import sections
from dcgan.judging.figures import FIGURES
from dcgan.promotion import gate
from dcgan.promotion.gate import Measured

FLOORS = {
    "max_kid": 1.0,
    "min_recall": 0.3,
    "min_class_share": 0.02,
    "min_probe": 0.8,
    "min_memorisation": 0.9,
}
GOOD = {"kid": 0.1, "recall": 0.5, "smallest_class_share": 0.08, "probe": 0.9, "memorisation": 1.2}
NOISE = (-0.1, 0.05, 0.0, 0.02, 0.03)


def limits(**changes: float | None) -> sections.Gate:
    return sections.Gate(**{"absolute": 0.0, "relative": 0.0, "z": 0.0, **FLOORS, **changes})


def figures(
    fid: float = 5.0,
    *,
    noise: tuple[float, ...] = NOISE,
    absent: tuple[str, ...] = (),
    **changes: float,
) -> Measured:
    values = {name: [value] for name, value in {**GOOD, **changes}.items() if name not in absent}
    return Measured(
        {"fid": [fid + step for step in noise], **values},
        dict.fromkeys(absent, "the data set has no labels"),
    )


def outcome(champion: Measured | None, challenger: Measured, **changes: float | None) -> str:
    return gate.decide(champion, challenger, limits(**changes)).outcome


def test_the_gain_must_exceed_the_largest_of_the_three_margins():
    for names in itertools.product((True, False), repeat=3):
        # Each margin is 0.5 here: 0.1 x 5, and with these draws of the challenger a standard error
        # of 0.1.
        absolute, relative, z = (
            value if on else 0.0 for value, on in zip((0.5, 0.1, 5.0), names, strict=True)
        )
        spread = math.sqrt(5) * 0.1 / math.sqrt(2.5)  # the deviation of -2 ... 2 is the root of 2.5
        champion = figures(5.0, noise=(0.0,) * 5)
        for gain, expected in (
            (0.51, "promoted"),
            (0.49, "cannot tell"),
            (-0.49, "cannot tell"),
            (-0.51, "refused"),
        ):
            challenger = figures(
                5.0 - gain, noise=tuple(spread * step for step in (-2, -1, 0, 1, 2))
            )
            decision = gate.decide(
                champion, challenger, limits(absolute=absolute, relative=relative, z=z)
            )
            without = "promoted" if gain > 0 else "refused"
            assert decision.outcome == (expected if any(names) else without), (names, gain)
            assert decision.numbers["gain"] == pytest.approx(gain)
            if any(names):
                assert decision.numbers["margin"] == pytest.approx(0.5)


def test_what_the_draws_have_in_common_cancels():
    noisy = (-2.0, 1.0, 0.0, 3.0, -2.0)
    champion, challenger = figures(5.0, noise=noisy), figures(4.9, noise=noisy)
    assert outcome(champion, challenger, z=2.0) == "promoted"
    # The same draws in another order have nothing in common, and the gap drowns.
    assert (
        outcome(champion, figures(4.9, noise=noisy[::-1][1:] + noisy[:1]), z=2.0) == "cannot tell"
    )


def test_equal_figures_are_a_tie_even_without_any_margin():
    assert outcome(figures(), figures()) == "cannot tell"
    assert outcome(figures(), figures(), absolute=0.05, relative=0.01, z=2.0) == "cannot tell"


def test_the_first_challenger_needs_the_floors_only():
    decision = gate.decide(None, figures(fid=1e6), limits())
    assert decision.outcome == "promoted" and "no champion" in decision.reasons[0]
    assert decision.numbers["champion"] is None
    assert outcome(None, figures(recall=0.1)) == "refused"


@pytest.mark.parametrize("name", GOOD)
def test_each_floor_alone_can_stop_a_challenger(name):
    key = gate.FLOORS[name]
    bad = FLOORS[key] + (0.01 if key.startswith("max") else -0.01)
    for champion in (None, figures(50.0)):
        assert outcome(champion, figures()) == "promoted"
        decision = gate.decide(champion, figures(**{name: bad}), limits())
        assert decision.outcome == "refused"
        assert key in decision.reasons[0] and not any(
            other in decision.reasons[0] for other in FLOORS if other != key
        )
        assert [floor["verdict"] for floor in decision.numbers["floors"]].count("failed") == 1
        # On the limit is within it, and null switches the floor off.
        assert outcome(champion, figures(**{name: FLOORS[key]})) == "promoted"
        assert outcome(champion, figures(**{name: bad}), **{key: None}) == "promoted"


@pytest.mark.parametrize("name", GOOD)
def test_a_figure_that_the_data_set_does_not_have_is_not_asked_for_and_a_missing_one_refuses(name):
    decision = gate.decide(figures(50.0), figures(absent=(name,)), limits())
    assert decision.outcome == "promoted"
    assert any("not asked for: the data set has no labels" in reason for reason in decision.reasons)
    whole = figures()
    missing = Measured({key: value for key, value in whole.values.items() if key != name})
    decision = gate.decide(figures(50.0), missing, limits())
    assert decision.outcome == "refused" and "missing" in decision.reasons[0]


@pytest.mark.holds("R-46")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_never_promotes_wherever_it_stands(bad):
    good = {name: list(values) for name, values in figures(1.0).values.items()}
    for name in good:
        for place in range(len(good[name])):
            values = {
                **good,
                name: [bad if i == place else value for i, value in enumerate(good[name])],
            }
            for champion in (None, figures(50.0)):
                decision = gate.decide(champion, Measured(values), limits(z=2.0))
                assert decision.outcome == "refused", (name, place)
                json.dumps(decision.numbers, allow_nan=False)
    for place in range(5):
        champion = Measured({"fid": [bad if i == place else 50.0 for i in range(5)]})
        assert outcome(champion, figures(1.0), z=2.0) == "cannot tell"
    assert outcome(Measured({"fid": []}), Measured({**good, "fid": []})) == "refused"
    assert outcome(Measured({}), figures(1.0)) == "cannot tell"
    # A single draw has no standard error.
    assert outcome(figures(50.0, noise=(0.0,)), figures(1.0, noise=(0.0,)), z=2.0) == "cannot tell"


def test_random_figures_are_judged_without_a_preference_for_either_side():
    draw = random.Random(0)
    seen = set()
    for _ in range(2000):
        first, second = (
            figures(draw.uniform(4, 6), noise=tuple(draw.gauss(0, 0.3) for _ in range(5)))
            for _ in range(2)
        )
        chosen = limits(
            absolute=draw.uniform(0, 0.5), relative=draw.uniform(0, 0.1), z=draw.uniform(0, 3)
        )
        forth, back = gate.decide(first, second, chosen), gate.decide(second, first, chosen)
        seen.add((forth.outcome, back.outcome))
        assert forth.numbers["gain"] == pytest.approx(-back.numbers["gain"])
        # Never both, and whom one way promotes the other way refuses.
        assert back.outcome == "refused" or forth.outcome != "promoted"
        if chosen.relative == 0 or forth.numbers["margin"] == back.numbers["margin"]:
            assert {forth.outcome, back.outcome} in ({"promoted", "refused"}, {"cannot tell"})
    assert {
        ("promoted", "refused"),
        ("refused", "promoted"),
        ("cannot tell", "cannot tell"),
    } <= seen


def test_a_better_challenger_is_never_judged_worse_than_a_worse_one():
    order = ["refused", "cannot tell", "promoted"]
    ranks = [
        order.index(outcome(figures(5.0), figures(6.0 - step / 50), absolute=0.2, z=1.0))
        for step in range(100)
    ]
    assert ranks == sorted(ranks) and set(ranks) == {0, 1, 2}


def test_the_side_of_a_limit_is_that_of_the_table_of_figures():
    sides = {"lower": "max_", "higher": "min_"}
    assert all(key.startswith(sides[FIGURES[name].better]) for name, key in gate.FLOORS.items())


def test_every_number_that_was_used_is_told():
    numbers = gate.decide(
        figures(5.0), figures(4.0), limits(absolute=0.05, relative=0.013, z=2.0)
    ).numbers
    assert numbers["champion"]["fid"]["mean"] == pytest.approx(5.0)
    assert numbers["challenger"]["fid"]["deviation"] == pytest.approx(statistics.stdev(NOISE))
    assert numbers["margins"] == pytest.approx(
        {"absolute": 0.05, "relative": 0.065, "noise": 0.0}, abs=1e-12
    )
    assert numbers["draws"] == 5
    assert {floor["key"]: floor["limit"] for floor in numbers["floors"]} == FLOORS
    assert all(floor["value"] == GOOD[floor["figure"]] for floor in numbers["floors"])
