"""The picture of a search."""

import numpy as np
from PIL import Image

from dcgan.reports import search


def test_a_picture_has_a_panel_for_the_trials_and_one_for_each_value(tmp_path):
    trials = [
        {"trial": i, "state": state, "fid": 9.0 - i, "lr": 10.0**-i, "loss": loss}
        for i, (state, loss) in enumerate(
            [("complete", "hinge"), ("pruned", "minimax"), ("complete", "minimax")]
        )
    ]
    for keys in ([], ["lr"], ["lr", "loss"]):
        path = tmp_path / f"{len(keys)}.png"
        search.draw(trials, keys, path)
        with Image.open(path) as image:
            assert image.width == 360 * (1 + len(keys))
            assert np.asarray(image.convert("L")).std() > 5
    search.draw(trials[1:2], ["lr"], tmp_path / "none-to-the-end.png")


def test_the_same_trials_give_the_same_bytes(tmp_path):
    trials = [{"trial": 0, "state": "complete", "fid": 5.0, "lr": 0.001}]
    for name in "ab":
        search.draw(trials, ["lr"], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
