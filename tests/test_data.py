import json
import mmap
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


def test_a_shard_is_the_file_that_numpy_writes(tmp_path):
    images = splits()["train"][0]
    shard = data.write_shard(tmp_path / "shard.npy", images)
    np.save(tmp_path / "plain.npy", images)
    assert (tmp_path / "plain.npy").read_bytes() == (tmp_path / "shard.npy").read_bytes()
    assert shard.sha256 == files.sha256(tmp_path / "shard.npy")


def sharded(folder: Path, images: np.ndarray, size: int, rows: np.ndarray) -> data.Split:
    """Some rows of images that lie in shards of `size`, as the train split."""
    shards = [
        data.write_shard(folder / data.shard_name(number), images[start : start + size])
        for number, start in enumerate(range(0, len(images), size))
    ]
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64))
    held = {"train": (rows, np.zeros(len(rows), np.int64)), "validation": nothing, "test": nothing}
    data.write_prepared(folder, shards, held, name="fake", classes=(), image_size=28)
    return data.open_split(folder, "train", verify=True)


@pytest.mark.parametrize("size", [7, 50, 300])
def test_rows_of_several_shards_are_those_of_one_array(tmp_path, size):
    images = np.concatenate([images for images, _ in splits().values()])
    rows = np.random.default_rng(0).permutation(300)[:120] // 2 + 90  # not from the first shards
    held, expected = sharded(tmp_path, images, size, rows).images, images[rows]
    assert (held.shape, held.dtype, len(held)) == (expected.shape, expected.dtype, 120)
    assert held.nbytes == expected.nbytes
    indices = (
        3, -1, slice(10, 40), slice(None, None, -3), [5, 5, 119], np.array([0, 7]), rows < 130,
        (slice(5, 9), slice(None), 3),
    )  # fmt: skip
    for index in indices:
        np.testing.assert_array_equal(held[index], expected[index])
    np.testing.assert_array_equal(np.array(held), expected)
    np.testing.assert_array_equal(np.stack(list(held)), expected)
    some = np.array([4, 100, 4])
    np.testing.assert_array_equal(held.subset(some)[1:], expected[some][1:])
    out = np.zeros((3, 1, 28, 28), np.uint8)
    np.take(held, some, axis=0, out=out, mode="clip")
    np.testing.assert_array_equal(out, expected[some])
    with pytest.raises(IndexError):
        held[120]


def test_only_the_shards_of_a_split_are_opened(tmp_path):
    images = np.concatenate([images for images, _ in splits().values()])
    sharded(tmp_path, images, 50, np.array([120, 199]))
    for number in (0, 1, 4, 5):
        (tmp_path / data.shard_name(number)).unlink()
    held = data.open_split(tmp_path, "train", verify=True).images
    np.testing.assert_array_equal(held, images[[120, 199]])


def test_of_more_images_than_fit_into_memory_no_neighbours_are_read_along(tmp_path, monkeypatch):
    images = np.concatenate([images for images, _ in splits().values()])
    sharded(tmp_path, images, 100, np.arange(300))
    asked = []

    class Map(mmap.mmap):
        def madvise(self, option):
            asked.append(option)

    monkeypatch.setattr("mmap.mmap", Map)
    for memory, expected in ((None, 0), (300 * 784, 0), (300 * 784 - 1, 3)):
        asked.clear()
        held = data.open_split(tmp_path, "train", memory=memory).images
        np.testing.assert_array_equal(held, images)
        assert asked == [mmap.MADV_RANDOM] * expected


def test_a_row_that_no_shard_has_is_refused(tmp_path):
    images = splits()["test"][0]
    with pytest.raises(DataError, match=r"train\.rows\.npy: 0 to 100, and there are 100 images"):
        sharded(tmp_path, images, 50, np.array([0, 100]))


def test_a_bank_is_a_part_of_each_class_and_all_of_few_images(monkeypatch, prepared):
    split = data.open_split(prepared, "train")
    assert data.bank(split, 7) is split
    monkeypatch.setattr(data, "BANK", 40)
    bank = data.bank(split, 7)
    assert np.bincount(bank.labels).tolist() == [4] * 10
    assert len(bank.images) == 40
    expected = {image.tobytes(): label for image, label in zip(*splits()["train"], strict=True)}
    assert [expected[image.tobytes()] for image in bank.images] == bank.labels.tolist()
    assert not np.array_equal(data.bank(split, 8).images, bank.images)


def test_images_are_copies_of_what_is_on_the_disk(prepared):
    images = data.open_split(prepared, "train").images
    images[0][:] = 0
    assert images[0].any()


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
@pytest.mark.parametrize("file", ["images-00000.npy", "train.rows.npy", "train.labels.npy"])
def test_verify_finds_one_wrong_bit(prepared, file):
    flip_last_bit(prepared / file)
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
    damage(prepared / "images-00000.npy")
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
