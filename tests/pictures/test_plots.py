import numpy as np
import pytest
from PIL import Image

from dcgan.pictures import plots


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
        {"epoch": i, "fid_raw": 9 / i, "fid_ema": 9 / i, "vendi_raw": 50 / i, "vendi_ema": 50 / i,
         "collapsed_raw": int(i == 2), "collapsed_ema": 0} for i in (1, 2, 3)
    ]  # fmt: skip
    images = np.arange(10 * 3 * 8 * 8).astype(np.uint8).reshape(10, 3, 8, 8)
    for run in ("a", "b"):
        plots.training_curves(history, tmp_path / run / "curves.png")
        plots.by_epoch(rows, {"fid": 0.1, "vendi": 52.0}, 2, "ema", tmp_path / run / "epochs.png")
        plots.pairs(
            images, images[:, :, ::-1], ("generated", "train"), list("0123456789"), "title",
            tmp_path / run / "pairs.png",
        )  # fmt: skip
        plots.confusion(
            np.eye(3) * 5 + 1, ["x", "y", "z"], "title", tmp_path / run / "confusion.png"
        )
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert Image.open(path).size[0] >= 700


@pytest.mark.parametrize(
    "names",
    [
        ["\u76f4\u526a", "Ba$$in_\\alpha$", "na\u00efve dir"],
        ["$", "", " ", "a" * 200, "\u05d0\u05d1", "b\nc"],
        [f"class {number}" for number in range(200)],
    ],
)
def test_class_names_of_all_kinds_are_drawn(tmp_path, names):
    plots.confusion(np.eye(len(names)), names, "title", tmp_path / "confusion.png")
    assert Image.open(tmp_path / "confusion.png").size[0] >= 700
    plots.note(names[1], tmp_path / "note.png")


def test_an_axis_keeps_to_the_points_where_real_images_are_far_away(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(plots, "_save", lambda figure, path: seen.update({path.name: figure}))
    row = {"epoch": 1, "vendi_raw": 40.0, "vendi_ema": 41.0, "collapsed_raw": 0, "collapsed_ema": 0}
    for name, ema in (("near", 2.0), ("far", 200.0)):
        rows = [{**row, "fid_raw": ema + 1, "fid_ema": ema}]
        plots.by_epoch(rows, {"fid": 1.0, "vendi": 42.0}, 0, "ema", tmp_path / name)
    lowest = {name: figure.axes[0].get_ylim()[0] for name, figure in seen.items()}
    assert lowest["near"] <= 1 and lowest["far"] > 50
    (text,) = seen["far"].axes[0].texts
    assert text.get_text() == "real images: 1, below this range"


def test_without_an_average_there_is_one_line(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: seen.append(figure))
    same = {"fid_raw": 9.0, "fid_ema": 9.0, "vendi_raw": 9.0, "vendi_ema": 9.0}
    row = {"epoch": 1, **same, "collapsed_raw": 0, "collapsed_ema": 0}
    plots.by_epoch([row], {"fid": 8.0, "vendi": 9.0}, 0, "raw", tmp_path / "a")
    labels = [text.get_text() for text in seen[0].axes[0].get_legend().get_texts()]
    assert labels == ["generated images", "real images: 8", "chosen: 9"]


def test_a_share_below_one_percent_is_blank_and_no_number_is_0(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: seen.append(figure))
    plots.confusion(np.array([[996, 4], [10, 990]]), ["a", "b"], "title", tmp_path / "a")
    assert [text.get_text() for text in seen[0].axes[0].texts] == ["100", "1", "99"]
