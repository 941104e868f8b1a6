"""What the stage download tells."""

import numpy as np
import pytest
from ruamel.yaml import YAML

from dcgan.raw import packing
from pipeline import download
from tests.support.imports import ROOT
from tests.support.params import put
from tests.support.tiny import encoded, write_tree


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Run the stage on a folder, with some keys of `dataset`, and give its lines."""
    monkeypatch.chdir(tmp_path)

    def run(source, **changes):
        params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
        keys = {"name": "folder", "source": str(source), "test_size": 20, **changes}
        put(params, **{f"dataset__{key}": value for key, value in keys.items()})
        with open("params.yaml", "w") as file:
            YAML().dump(params, file)
        download.main()
        return capsys.readouterr().out.splitlines()

    return run


def images(*folders):
    return {
        f"{folder}/{number}.png": encoded(np.full((4, 4, 3), 20 * place + number, np.uint8), "PNG")
        for place, folder in enumerate(folders)
        for number in range(4)
    }


def test_it_says_what_a_user_counts_and_what_was_guessed(told, tmp_path):
    source = write_tree(tmp_path / "my pictures", {**images("cat", "dog"), "read me.txt": b"x"})
    assert told(source)[:-1] == [
        f"download: folder: 8 images from {source}",
        "download: classes: cat, dog (2)",
        "download: left out: 1 .txt: no images",
    ]
    assert told(source, class_folders=False)[1] == (
        "download: no labels, because dataset.class_folders is false"
    )


def test_a_test_split_is_counted_too(told, tmp_path):
    source = write_tree(tmp_path / "mine", images("train", "test"))
    assert told(source, test_size=0)[0].endswith(
        f": 8 images, 4 of them its own test split, from {source}"
    )


def test_what_prepare_will_refuse_is_said_and_the_download_is_good(told, tmp_path):
    source = write_tree(tmp_path / "mine", {**images("cat", "dog"), **images("owl")})
    (source / "owl/1.png").unlink()
    (source / "owl/2.png").unlink()
    lines = told(source)
    assert lines[1].startswith("download: prepare will refuse it: class owl: has 2 images")
    assert (tmp_path / "data/raw/images-00000.zip").exists()


def test_a_folder_of_several_parts_says_how_far_it_is(told, tmp_path, monkeypatch):
    source = write_tree(tmp_path / "mine", images("cat", "dog"))
    assert not [line for line in told(source) if "packed" in line]
    monkeypatch.setattr(packing, "PART_FILES", 3)
    assert [line for line in told(source) if "packed" in line] == [
        "download: 6 images packed, in 2 parts", "download: 8 images packed, in 3 parts",
    ]  # fmt: skip
