import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan import data, files
from dcgan.errors import DataError
from tests.support import shapes
from tests.support.prepared import write_prepared

CLASSES = tuple("abcdefghij")


def splits(size: int = 28) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """150 images to train, 50 for validation, 100 for the test."""
    images, labels = shapes.draw(300, size, 1, seed=0)
    edges = {"train": slice(0, 150), "validation": slice(150, 200), "test": slice(200, 300)}
    return {split: (images[part], labels[part]) for split, part in edges.items()}


def write(
    folder: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]], **settings: object
) -> dict:
    return write_prepared(folder, parts, name="fake", classes=CLASSES, image_size=28, **settings)


@pytest.fixture
def prepared(tmp_path):
    write(tmp_path / "prepared", splits())
    return tmp_path / "prepared"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# The prepared folder


def test_what_was_written_is_read_back(prepared):
    for split, (images, labels) in splits().items():
        part = data.open_split(prepared, split, verify=True)
        np.testing.assert_array_equal(part.images, images)
        np.testing.assert_array_equal(part.labels, labels)


def test_the_files_are_those_that_numpy_writes(tmp_path, prepared):
    for split, arrays in splits().items():
        for kind, array in zip(("images", "labels"), arrays, strict=True):
            np.save(tmp_path / "plain.npy", array)
            assert (tmp_path / "plain.npy").read_bytes() == (
                prepared / f"{split}.{kind}.npy"
            ).read_bytes()


def test_only_the_chosen_positions_are_written_in_their_order_and_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "PIECE_BYTES", 7 * 28 * 28)
    parts = splits()
    chosen = {"train": np.arange(149, -1, -2), "validation": np.array([4]), "test": np.arange(100)}
    manifest = write(tmp_path, parts, positions=chosen)
    assert manifest["splits"]["validation"]["per_class"] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    for split, (images, labels) in parts.items():
        part = data.open_split(tmp_path, split, verify=True)
        np.testing.assert_array_equal(part.images, images[chosen[split]])
        np.testing.assert_array_equal(part.labels, labels[chosen[split]])


def test_images_are_mapped_from_the_disk_and_read_only(prepared):
    images = data.open_split(prepared, "train").images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_a_manifest_of_an_earlier_version_knows_no_licence(prepared):
    path = prepared / "manifest.json"
    older = json.loads(path.read_text())
    del older["licence"], older["drawings"]
    path.write_text(json.dumps(older))
    manifest = data.read_manifest(prepared)
    assert (manifest["licence"], manifest["drawings"]) == ("unknown", False)


def test_the_manifest_counts_and_hashes_what_is_there(prepared):
    manifest = data.read_manifest(prepared)
    assert manifest["classes"][9] == "j"
    assert (manifest["image_size"], manifest["channels"]) == (28, 1)
    assert manifest["splits"]["validation"] == {"count": 50, "per_class": [5] * 10}
    assert set(manifest["files"]) == set(contents(prepared)) - {"manifest.json"}
    for name, described in manifest["files"].items():
        assert described["sha256"] == files.sha256(prepared / name)


def test_the_data_hash_changes_with_the_data_and_with_nothing_else(tmp_path, prepared):
    digests = {
        data.data_sha256(data.read_manifest(prepared)),
        data.data_sha256(write(tmp_path / "same", splits())),
    }
    assert len(digests) == 1
    for split in data.SPLITS:
        for kind in (0, 1):
            changed = splits()
            changed[split][kind][0] ^= 1
            digests.add(data.data_sha256(write(tmp_path / "other", changed)))
    assert len(digests) == 7


@pytest.mark.holds("R-72")
@pytest.mark.parametrize("file", ["train.images.npy", "train.labels.npy"])
def test_verify_finds_one_wrong_bit(prepared, file):
    flip_last_bit(prepared / file)
    data.open_split(prepared, "train")
    with pytest.raises(DataError, match=f"{file}: sha256 is"):
        data.open_split(prepared, "train", verify=True)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "cannot be read"),
        (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "cannot be read"),
        (
            lambda path: np.save(path, np.zeros((150, 1, 28, 27), np.uint8)),
            "holds uint8 150 x 1 x 28 x 27, the manifest says",
        ),
        (lambda path: np.save(path, np.zeros((150, 1, 28, 28), np.uint16)), "holds uint16"),
    ],
)
def test_a_prepared_file_that_is_not_what_the_manifest_says_is_refused(prepared, damage, complaint):
    damage(prepared / "train.images.npy")
    with pytest.raises(DataError, match=complaint):
        data.open_split(prepared, "train")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dataset": 1}'])
def test_a_damaged_manifest_is_refused(prepared, text):
    (prepared / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        data.open_split(prepared, "train")


# Between bytes and floats


def test_all_256_values_survive_the_round_trip_and_fill_the_range():
    values = torch.arange(256, dtype=torch.uint8)
    floats = data.to_float(values)
    assert floats.dtype == torch.float32
    assert (floats.min(), floats.max()) == (-1, 1)
    assert torch.equal(data.to_uint8(floats), values)
    assert torch.equal(data.to_float(values.numpy()), floats)


def test_values_outside_the_range_are_clamped():
    assert data.to_uint8(torch.tensor([-9.0, -1.001, 1.001, 9.0])).tolist() == [0, 0, 255, 255]


def test_neither_conversion_changes_its_input():
    floats = torch.tensor([-0.5, 0.5])
    data.to_uint8(floats)
    assert floats.tolist() == [-0.5, 0.5]
    images = np.array([3], np.uint8)
    data.to_float(images)
    assert images.tolist() == [3]


def test_a_sketch_is_the_smallest_digests_each_once():
    digests = [f"{number:064x}" for number in range(200, 0, -1)] * 2
    short = [digest[: data.SKETCH_DIGITS] for digest in sorted(set(digests))]
    assert data.sketch(digests) == sorted(set(short))[: data.SKETCH]
