"""Figures of images that come from elsewhere."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from dcgan.config import sections
from dcgan.errors import ConfigError, DataError
from pipeline import judge
from tests.support.params import parsed

SIZE = 28


@pytest.fixture(scope="module")
def dataset() -> sections.Dataset:
    return parsed().dataset


def arrays(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, SIZE, SIZE), np.uint8)


@pytest.mark.parametrize("name", ["images", "arr_0"])
@pytest.mark.parametrize("last", [False, True])
def test_an_array_is_taken_with_channels_first_or_last(name, last, dataset, tmp_path):
    images = arrays(3)
    file = tmp_path / "x.npz"
    np.savez(file, **{name: images.transpose(0, 2, 3, 1) if last else images})
    np.testing.assert_array_equal(judge.of_array(file, dataset), images)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"images": arrays(2).astype(np.float32)}, "float32 2 x 1 x 28 x 28, expected uint8 N x 1"),
        ({"images": arrays(2)[:, :, :20]}, "uint8 2 x 1 x 20 x 28"),
        ({"images": arrays(0)}, "uint8 0 x 1"),
        ({"a": arrays(1), "b": arrays(1)}, "has the arrays a, b: name one of them images"),
        ({"images": np.array([{}], object)}, "is no .npz"),
    ],
)
def test_another_array_is_refused_in_a_line(held, said, dataset, tmp_path):
    np.savez(tmp_path / "x.npz", **held)
    with pytest.raises(DataError, match=re.escape(said)):
        judge.of_array(tmp_path / "x.npz", dataset)
    (tmp_path / "y.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"is no \.npz"):
        judge.of_array(tmp_path / "y.npz", dataset)


def test_a_folder_is_prepared_and_what_is_done_is_said(dataset, tmp_path, capsys):
    images = arrays(3)
    (tmp_path / "below").mkdir()
    for i, image in enumerate(images[:2]):
        Image.fromarray(image[0]).save(tmp_path / "below" / f"{i}.png")
    Image.fromarray(images[2, 0]).resize((56, 30)).convert("RGB").save(tmp_path / "wide.png")
    (tmp_path / "broken.png").write_bytes(b"none")
    found = judge.of_folder(tmp_path, dataset)
    assert found.shape == (3, 1, SIZE, SIZE)
    np.testing.assert_array_equal(found[:2], images[:2])
    said = capsys.readouterr().out
    assert "1 of 3: no square" in said and "left out: broken.png" in said
    with pytest.raises(ConfigError, match="is no folder and no file"):
        judge.of_folder(tmp_path / "nowhere", dataset)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no picture that can be used"):
        judge.of_folder(tmp_path / "empty", dataset)


def test_figures_are_shown_and_written_with_floor_ceiling_and_protocol(
    tmp_path, monkeypatch, capsys
):
    """Without an extractor of its own: one that gives each image's pixels of a row."""
    from dcgan.judging import reference
    from dcgan.judging.comparison import Real
    from dcgan.judging.sample import Sample

    draw = np.random.default_rng(1)

    def sample(images) -> Sample:
        return Sample(images[:, 0, 14, :8].astype(np.float32) + draw.normal(0, 0.1, 8))

    class Extractor:
        extract = staticmethod(sample)

        def description(self) -> dict[str, str]:
            return {"extractor": "pixels"}

    class Opened:
        extractor = Extractor()

        def real(self, split: str) -> Real:
            assert split == "validation"
            return Real.of(sample(arrays(60)), None, 1)

        def metrics(self) -> dict:
            return {"floor": {"fid": 0.1}, "ceiling": {"fid": 90.0}, "num_images": 60}

    monkeypatch.setattr(reference.Reference, "open", lambda *_: Opened())
    np.savez(tmp_path / "x.npz", images=arrays(50))
    judge.main(tmp_path / "x.npz", against="validation", out=tmp_path / "judge.json")
    said = capsys.readouterr().out
    assert "50 images against the 60 of validation" in said
    assert "floor and ceiling are of 60 images" in said
    found = json.loads((tmp_path / "judge.json").read_text())
    assert found["fid"] > 0 and found["protocol"]["images"] == 50
    assert found["protocol"]["extractor"] == "pixels" and found["floor"] == {"fid": 0.1}
