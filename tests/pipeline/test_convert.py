"""A copy in ArrayRecord files: a training reads the same images from it, and is the same."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan import data, files
from dcgan.errors import ConfigError, DataError
from dcgan.training import feeding
from pipeline import convert
from tests.support import shapes


@pytest.fixture
def prepared(tmp_path, monkeypatch) -> Path:
    """data/prepared with three shards of forty images, in the working directory."""
    monkeypatch.chdir(tmp_path)
    images, labels = shapes.draw(120, 28, 1, seed=0)
    shards = [
        data.write_shard(convert.PREPARED / data.shard_name(number), images[40 * number :][:40])
        for number in range(3)
    ]
    rows = np.random.default_rng(0).permutation(120)
    held = {
        split: (rows[part], labels[rows[part]])
        for split, part in zip(
            data.SPLITS, (slice(80), slice(80, 100), slice(100, 120)), strict=True
        )
    }
    names = [str(number) for number in range(10)]
    data.write_prepared(
        convert.PREPARED, shards, held, name="fashion_mnist", classes=names, image_size=28
    )
    return convert.PREPARED


def test_the_copy_has_the_same_images_labels_and_batches(prepared, tmp_path, capsys):
    convert.main(to=tmp_path / "copy")
    assert "120 images" in capsys.readouterr().out
    assert len(list((tmp_path / "copy").glob("images-*.array_record"))) == 3
    for split in data.SPLITS:
        before, after = (
            data.open_split(folder, split, verify=True, memory=1, open_shard=opens)
            for folder, opens in ((prepared, None), (tmp_path / "copy", convert.RecordShard))
        )
        np.testing.assert_array_equal(np.array(before.images), np.array(after.images))
        np.testing.assert_array_equal(before.labels, after.labels)
        assert before.images.nbytes == after.images.nbytes
    batches = [
        torch.cat(list(feeding.batches(
            data.open_split(folder, "train", open_shard=opens).images, range(7),
            steps_per_epoch=5, batch_size=16, seed=3, device=torch.device("cpu"),
        )))
        for folder, opens in ((prepared, None), (tmp_path / "copy", convert.RecordShard))
    ]  # fmt: skip
    assert torch.equal(*batches)


def test_the_data_keep_their_name_so_that_a_training_goes_on(prepared, tmp_path):
    convert.main(to=tmp_path / "copy")
    before, after = (data.read_manifest(folder) for folder in (prepared, tmp_path / "copy"))
    assert data.data_sha256(before) == data.data_sha256(after)
    assert before["splits"] == after["splits"]


def opened(folder, **options):
    return data.open_split(folder, "train", open_shard=convert.RecordShard, **options)


def test_data_prepared_says_itself_how_it_is_read(prepared, tmp_path):
    assert convert.open_shards() is None
    convert.main(to=tmp_path / "copy")
    prepared.rename(tmp_path / "before")
    prepared.symlink_to(tmp_path / "copy")
    assert convert.open_shards() is convert.RecordShard


def test_a_damaged_copy_is_found(prepared, tmp_path):
    convert.main(to=tmp_path / "copy")
    path = tmp_path / "copy/images-00001.array_record"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"images-00001\.array_record: sha256 is"):
        opened(tmp_path / "copy", verify=True)
    with pytest.raises(DataError, match=r"images-00001\.array_record: cannot be read"):
        opened(tmp_path / "copy")
    path.write_bytes((tmp_path / "copy/images-00000.array_record").read_bytes())
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    manifest["files"][path.name]["shape"][0] = 41
    files.write_json(tmp_path / "copy/manifest.json", manifest)
    with pytest.raises(DataError, match="it has 40 images, the manifest says 41"):
        opened(tmp_path / "copy")


def test_other_stages_say_that_they_want_the_original(prepared, tmp_path):
    convert.main(to=tmp_path / "copy")
    with pytest.raises(DataError, match=r"images-00000\.array_record: is of a copy that the stage"):
        data.open_split(tmp_path / "copy", "test")


def test_damaged_images_are_not_copied(prepared, tmp_path):
    path = prepared / data.shard_name(2)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"images-00002\.npy: sha256 is"):
        convert.main(to=tmp_path / "copy")
    assert not (tmp_path / "copy/manifest.json").exists()


def test_the_folder_itself_and_a_missing_package_are_refused(prepared, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="is data/prepared itself"):
        convert.main(to=prepared)
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    with pytest.raises(ConfigError, match="pip install array_record"):
        convert.main(to=tmp_path / "copy")
