import numpy as np
import pytest
from PIL import Image

from dcgan.config import edits, reading
from dcgan.errors import DataError
from dcgan.raw import survey
from tests.support import strangers
from tests.support.given_records import dataset
from tests.support.imports import ROOT


def look(folder, **keys):
    wanted = dataset(**{"name": "folder", "source": str(folder), "test_size": 30, **keys})
    found = survey.look(folder, str(folder), wanted)
    return found, survey.lines(found, wanted)


def values(found):
    size = survey.side(found)
    recipe = reading.read_yaml(ROOT / "recipes" / f"{survey.NETWORKS[size][0]}.yaml")
    return survey.values(found, recipe, size)


def test_a_look_says_what_will_be_used_cropped_and_left_out(tmp_path):
    strangers.mixed(tmp_path, 200)
    _found, lines = look(tmp_path / "pictures")
    text = "\n".join(lines)
    assert lines[0].startswith("203 images: ") and " PNG" in lines[0] and " JPEG" in lines[0]
    for part in (
        "classes: disc, square, triangle (3)", "left out: 1 image beside the folders",
        "1 .txt: no images", "loop leads to a folder in which it lies", "1 of 203 are unreadable",
        "are no squares: the central square is taken", "are in colour: made grey",
        "may have transparent pixels: white under them",
    ):  # fmt: skip
        assert part in text, part
    assert len(lines) <= 12


def test_large_folders_are_looked_at_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "LOOKED_AT", 30)
    strangers.sorted_classes(tmp_path)
    found, lines = look(tmp_path)
    assert found.looked_at == 30
    assert lines[0] == "300 images (30 of them looked at): 30 PNG"


@pytest.mark.parametrize(
    ("size", "mode", "expected"),
    [
        ((28, 28), "L", {"image_size": 28, "channels": 1, "fit": "crop", "enlarge": "twice"}),
        ((36, 36), "RGB", {"image_size": 32, "channels": 3, "fit": "crop"}),
        ((300, 200), "RGB", {"image_size": 64, "channels": 3, "fit": "pad"}),
        ((10, 10), "L", {"image_size": 28, "enlarge": "bilinear"}),
    ],
)
def test_the_values_fit_the_pictures_and_are_allowed(tmp_path, size, mode, expected):
    for number in range(200):
        Image.new(mode, size).save(tmp_path / f"{number}.png")
    found, _ = look(tmp_path)
    overlay = values(found)
    assert expected.items() <= overlay["dataset"].items()
    assert overlay["dataset"] | {"crop": None, "source": str(tmp_path)} == overlay["dataset"]
    assert overlay["dataset"]["test_size"] == overlay["dataset"]["validation_size"] == 50
    assert overlay["evaluate"]["num_samples"] == 500
    batches = 100 // overlay["batch_size"] or 1
    assert 4000 <= overlay["epochs"] * batches < 4500
    reading.parse(edits.merge(reading.read_yaml(ROOT / "params.yaml"), overlay))


def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="is no folder: give the folder"):
        look(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"0 images found in .* \(other files: 1 \.txt\)"):
        look(tmp_path)
    strangers.put(tmp_path, 0, 50)
    with pytest.raises(DataError, match="50 images: a training needs at least 100"):
        values(look(tmp_path)[0])


def test_a_class_that_cannot_be_split_is_said_before_anything_is_written(tmp_path):
    strangers.put(tmp_path / "many", 0, 120)
    strangers.put(tmp_path / "rare", 1, 1)
    found, lines = look(tmp_path)
    assert "class rare: has 1 image, needs at least 3" in "\n".join(lines)
    with pytest.raises(DataError, match="class rare"):
        values(found)


def test_sixteen_bits_animations_and_wrong_suffixes_are_counted(tmp_path):
    Image.fromarray(np.full((30, 30), 4000, np.uint16)).save(tmp_path / "deep.png")
    image = strangers.shape(0, 0, 30)
    image.save(tmp_path / "two.gif", save_all=True, append_images=[strangers.shape(1, 0, 30)])
    image.save(tmp_path / "named.jpg", format="PNG")
    text = "\n".join(look(tmp_path)[1])
    assert "1 of 3 have more than 8 bits" in text and "1 of 3 have several frames" in text
    assert "1 of 3 are of another format" in text
