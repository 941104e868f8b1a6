import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from dcgan.errors import DataError
from dcgan.pictures import gif, grids
from tests.support.imports import ROOT


def frame(level: int, height: int = 20, width: int = 20) -> grids.Picture:
    return np.full((height, width, 3), level, np.uint8)


def test_a_gif_has_every_frame_in_order_and_holds_the_last_one(tmp_path):
    gif.gif(
        [frame(level) for level in (0, 100, 200, 255)],
        tmp_path / "a.gif",
        frame_ms=100,
        hold_ms=900,
    )
    with Image.open(tmp_path / "a.gif") as image:
        frames = [
            (np.asarray(each.convert("L"))[0, 0], each.info["duration"])
            for each in ImageSequence.Iterator(image)
        ]
        assert image.info["loop"] == 0
    assert [duration for _, duration in frames] == [100, 100, 100, 900]
    assert [level for level, _ in frames] == [0, 100, 200, 255]


def test_a_gif_keeps_colours(tmp_path):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    gif.gif([frame(0) + np.uint8(colour) for colour in colours], tmp_path / "a.gif", frame_ms=100)
    with Image.open(tmp_path / "a.gif") as image:
        pixels = [each.convert("RGB").getpixel((3, 3)) for each in ImageSequence.Iterator(image)]
    assert np.abs(np.array(pixels) - np.array(colours)).max() < 12


@pytest.mark.holds("R-74")
def test_a_gif_of_one_frame_works_and_of_none_or_mixed_sizes_is_refused(tmp_path):
    gif.gif([frame(9)], tmp_path / "a.gif", frame_ms=100)
    assert Image.open(tmp_path / "a.gif").size == (20, 20)
    for frames in ([], [frame(1), frame(1, width=30)]):
        with pytest.raises(DataError, match="expected at least one frame and one size"):
            gif.gif(frames, tmp_path / "b.gif", frame_ms=100)
    assert not (tmp_path / "b.gif").exists()


@pytest.mark.holds("R-74")
@pytest.mark.parametrize("count", [1, 2, 3, 299, 300, 301, 10_000])
def test_of_very_many_frames_some_are_shown_at_equal_distances(count):
    pixels = gif.MOST_PIXELS // 300
    chosen = gif.chosen(count, pixels)
    assert len(chosen) == min(count, 300)
    assert chosen[0] == 0 and chosen[-1] == count - 1
    assert len(set(chosen)) == len(chosen) and chosen == sorted(chosen)
    assert len(gif.chosen(10, 10 * gif.MOST_PIXELS)) == 2


@pytest.mark.holds("R-74")
def test_ten_thousand_frames_take_bounded_memory(tmp_path):
    """In a process of its own, whose peak is told."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT / "src")!r})
import numpy as np
from pathlib import Path
from dcgan.pictures import gif
noise = np.random.default_rng(0).integers(0, 256, (472, 448, 3), np.uint8)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
chosen = gif.chosen(10_000, 472 * 448)
frames = gif.Drawn(len(chosen), lambda i: noise ^ np.uint8(chosen[i] % 256))
gif.gif(frames, Path(sys.argv[1]), frame_ms=50)
print(len(chosen), peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.gif"], capture_output=True, text=True, check=True
    )
    count, mebibytes = map(int, done.stdout.split())
    assert count == 302 and mebibytes <= 200
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == count


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in "ab":
        gif.gif(
            [
                grids.labelled(np.zeros((20, 80, 3), np.uint8), "epoch 1"),
                frame(3, 44, 80),
            ],
            tmp_path / name,
            frame_ms=50,
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_a_walk_visits_its_points_and_closes_without_a_jump(distribution):
    points = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    path = gif.walk(points, 10, distribution)
    assert path.shape == (40, 16)
    torch.testing.assert_close(path[::10], points)
    steps = (path - path.roll(1, 0)).norm(dim=1)
    assert steps.max() < 4 * steps.min()
    if distribution == "normal":
        longest, shortest = points.norm(dim=1).max(), points.norm(dim=1).min()
        assert (path.norm(dim=1) > 0.8 * shortest).all()
        assert (path.norm(dim=1) < 1.2 * longest).all()
