import numpy as np
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
            images, images[:, :, ::-1], ("generated", "train"), tmp_path / run / "pairs.png"
        )
        plots.confusion(
            np.eye(3) * 5 + 1, ["x", "y", "z"], "title", tmp_path / run / "confusion.png"
        )
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert Image.open(path).size[0] >= 700
