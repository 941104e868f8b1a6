"""Progress without a terminal: plain lines, far apart, with the rate."""

from types import SimpleNamespace

import pytest

from dcgan import progress


@pytest.fixture
def clock(monkeypatch):
    """The time that the bar sees, seconds; a test sets it."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_log_gets_a_plain_line_every_fifteen_seconds(clock, capsys):
    with progress.Bar("train") as bar:
        for now, done in ((100, 0), (114, 28), (115, 30), (129, 58), (130, 60)):
            clock.now = now
            bar.update(done, 100)
    assert capsys.readouterr().out.splitlines() == [
        "train: 30/100, 2.00 steps/s, 35 s left",
        "train: 60/100, 2.00 steps/s, 20 s left",
    ]


def test_the_rate_is_of_what_was_done_since_the_first_update(clock, capsys):
    bar = progress.Bar("train", unit="images", per_step=64)
    bar.update(500, 1000)  # of an earlier run
    assert bar.rate == 0
    clock.now += 20
    bar.update(510, 1000)
    assert bar.rate == 10 * 64 / 20
    assert capsys.readouterr().out == "train: 510/1000, 32 images/s, 980 s left\n"


def test_what_is_said_comes_at_once_and_as_it_is(capsys):
    progress.Bar("train").say("epoch 1/3: [loss_d] 0.5")
    assert capsys.readouterr().out == "epoch 1/3: [loss_d] 0.5\n"
