import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from dcgan.errors import DataError
from dcgan.pictures import gif as render
from dcgan.pictures import grids, plots


def frame(level: int, size: int = 20) -> Image.Image:
    return Image.fromarray(np.full((size, size, 3), level, np.uint8))


def test_a_gif_has_every_frame_in_order_and_holds_the_last_one(tmp_path):
    render.gif(
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
    render.gif(
        [Image.new("RGB", (20, 20), colour) for colour in colours], tmp_path / "a.gif", frame_ms=100
    )
    with Image.open(tmp_path / "a.gif") as image:
        found = [each.convert("RGB").getpixel((3, 3)) for each in ImageSequence.Iterator(image)]
    assert np.abs(np.array(found) - np.array(colours)).max() < 12


def test_a_gif_of_one_frame_works_and_of_none_or_mixed_sizes_is_refused(tmp_path):
    render.gif([frame(9)], tmp_path / "a.gif", frame_ms=100)
    assert Image.open(tmp_path / "a.gif").size == (20, 20)
    for frames in ([], [frame(1), frame(1, size=30)]):
        with pytest.raises(DataError, match="expected at least one frame and one size"):
            render.gif(frames, tmp_path / "b.gif", frame_ms=100)
    assert not (tmp_path / "b.gif").exists()


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in "ab":
        render.gif(
            [
                render.labelled(np.zeros((20, 80, 3), np.uint8), "epoch 1"),
                frame(3).resize((80, 44)),
            ],
            tmp_path / name,
            frame_ms=50,
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_a_walk_visits_its_points_and_closes_without_a_jump(distribution):
    points = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    path = render.walk(points, 10, distribution)
    assert path.shape == (40, 16)
    torch.testing.assert_close(path[::10], points)
    steps = (path - path.roll(1, 0)).norm(dim=1)
    assert steps.max() < 4 * steps.min()
    if distribution == "normal":
        longest, shortest = points.norm(dim=1).max(), points.norm(dim=1).min()
        assert (path.norm(dim=1) > 0.8 * shortest).all()
        assert (path.norm(dim=1) < 1.2 * longest).all()


def test_grids_are_read_enlarged_and_put_side_by_side(tmp_path):
    grid = grids.tile(
        np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8), columns=2
    )
    grids.save_png(tmp_path / "a.png", grid)
    assert np.array_equal(render.read(tmp_path / "a.png"), grid)
    assert render.read(tmp_path / "a.png", 2).shape == (2 * grid.shape[0], 2 * grid.shape[1], 3)
    both = render.beside(grid, "left", grid, "right")
    assert both.shape == (grid.shape[0] + render.LABEL_HEIGHT, 2 * grid.shape[1] + 12, 3)
    (tmp_path / "b.png").write_bytes(b"<html>")
    for name in ("b.png", "none.png"):
        with pytest.raises(DataError, match="cannot be read as PNG"):
            render.read(tmp_path / name)


def test_plots_of_the_same_numbers_are_the_same_bytes(tmp_path):
    names = (
        "loss_d",
        "loss_g",
        "d_real",
        "d_fake_before",
        "d_fake_after",
        "grad_norm_d",
        "grad_norm_g",
    )
    history = [{"epoch": 1, "step": i, **{name: 0.1 * i + 0.1 for name in names}} for i in range(5)]
    rows = [
        {"epoch": i, **{f"{key}_{w}": value / i for key, value in (("fid", 9.0), ("vendi", 50.0)) for w in ("raw", "ema")},
         "collapsed_raw": int(i == 2), "collapsed_ema": 0} for i in (1, 2, 3)
    ]  # fmt: skip
    images = np.arange(10 * 3 * 8 * 8).astype(np.uint8).reshape(10, 3, 8, 8)
    for run in ("a", "b"):
        plots.training_curves(history, tmp_path / run / "curves.png")
        plots.by_epoch(rows, {"fid": 0.1, "vendi": 52.0}, 2, "ema", tmp_path / run / "epochs.png")
        plots.pairs(
            images, images[:, :, ::-1], ("generated", "train"), tmp_path / run / "pairs.png"
        )
        plots.confusion(
            np.eye(3) * 5 + 1, ["x", "y", "z"], "title", tmp_path / run / "confusion.png"
        )
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert Image.open(path).size[0] >= 700
