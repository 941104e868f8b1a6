import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan import data, downloads, files, idx
from dcgan.errors import ConfigError, DataError

SETTINGS = {"name": "fashion_mnist", "image_size": 28, "validation_size": 50, "seed": 7}


@pytest.fixture(scope="module")
def raw(tmp_path_factory, idx_source):
    folder = tmp_path_factory.mktemp("data") / "raw"
    downloads.fetch(folder, str(idx_source))
    return folder


@pytest.fixture
def prepared(tmp_path, raw):
    data.prepare(raw, tmp_path / "prepared", **SETTINGS)
    return tmp_path / "prepared"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# The IDX reader


def test_an_idx_file_gives_its_numbers(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "images").write_bytes(struct.pack(">4I", 0x803, 2, 3, 4) + images.tobytes())
    (tmp_path / "labels").write_bytes(struct.pack(">2I", 0x801, 2) + b"\x05\x09")
    np.testing.assert_array_equal(idx.read(tmp_path / "images"), images)
    assert idx.read(tmp_path / "labels").tolist() == [5, 9]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "begins with nothing"),
        (b"\x00\x00\x08", "expected an IDX header"),
        (struct.pack(">4I", 0x803, 2, 3, 4)[:11], "expected an IDX header"),
        (struct.pack(">4I", 0x804, 2, 3, 4) + bytes(24), "begins with 00000804"),
        (struct.pack(">4I", 0xD03, 2, 3, 4) + bytes(96), "begins with 00000d03"),
        (b"<html>not found</html>", "begins with 3c68746d"),
        (struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(24), "4294967295 x 4294967295 x 4294967295"),
        (struct.pack(">4I", 0x803, 2, 3, 4) + bytes(23), "has 39 bytes"),
        (struct.pack(">4I", 0x803, 2, 3, 4) + bytes(25), "has 41 bytes"),
        (struct.pack(">4I", 0x803, 0, 28, 28), "is empty"),
    ],
)
def test_a_bad_idx_file_is_refused_without_allocating_what_it_claims(tmp_path, content, complaint):
    (tmp_path / "bad").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=complaint):
            idx.read(tmp_path / "bad")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_labels_of_another_number_than_images_are_refused(tmp_path):
    (tmp_path / "images").write_bytes(struct.pack(">4I", 0x803, 2, 1, 1) + bytes(2))
    (tmp_path / "labels").write_bytes(struct.pack(">2I", 0x801, 3) + bytes(3))
    with pytest.raises(DataError, match="3 labels, images has 2"):
        idx.check_pair(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(DataError, match="swapped"):
        idx.check_pair(tmp_path / "labels", tmp_path / "images")


# The split


def test_validation_is_balanced_and_disjoint_and_nothing_is_lost():
    labels = np.repeat(np.arange(10), [30, 40, 50, 60, 70, 30, 40, 50, 60, 70])
    train, validation = data.split_validation(labels, 100, seed=1)
    assert np.bincount(labels[validation]).tolist() == [10] * 10
    assert sorted([*train, *validation]) == list(range(500))


def test_a_size_that_does_not_divide_gives_the_first_classes_one_more():
    _, validation = data.split_validation(np.repeat(np.arange(3), 9), 8, seed=1)
    assert np.bincount(np.repeat(np.arange(3), 9)[validation]).tolist() == [3, 3, 2]


def test_the_split_depends_on_the_seed_alone():
    labels = np.arange(500) % 10
    first, again, other = (data.split_validation(labels, 100, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_validation_part_that_would_empty_a_class_is_refused():
    with pytest.raises(ConfigError, match=r"dataset\.validation_size = 20: takes 10 images of class 1, which has 10"):
        data.split_validation(np.repeat([0, 1], [30, 10]), 20, seed=1)


# The prepared folder


def test_prepared_images_are_the_source_images_with_their_labels(raw, prepared):
    images, labels = idx.read(raw / "train-images-idx3-ubyte"), idx.read(raw / "train-labels-idx1-ubyte")
    source = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    for split, count in (("train", 150), ("validation", 50)):
        part = data.open_split(prepared, split)
        assert part.images.shape == (count, 1, 28, 28)
        for image, label in zip(part.images, part.labels, strict=True):
            assert source.pop(image.tobytes()) == label
    assert not source
    test = data.open_split(prepared, "test")
    np.testing.assert_array_equal(test.images[:, 0], idx.read(raw / "t10k-images-idx3-ubyte"))
    np.testing.assert_array_equal(test.labels, idx.read(raw / "t10k-labels-idx1-ubyte"))


def test_images_are_mapped_from_the_disk_and_read_only(prepared):
    images = data.open_split(prepared, "train").images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_preparing_twice_gives_the_same_bytes(tmp_path, raw, prepared):
    data.prepare(raw, tmp_path / "again", **SETTINGS)
    assert contents(tmp_path / "again") == contents(prepared)


def test_the_manifest_counts_and_hashes_what_is_there(prepared):
    manifest = data.read_manifest(prepared)
    assert manifest["classes"][9] == "Ankle boot"
    assert (manifest["image_size"], manifest["channels"]) == (28, 1)
    assert manifest["splits"]["validation"] == {"count": 50, "per_class": [5] * 10}
    assert set(manifest["files"]) == set(contents(prepared)) - {"manifest.json"}
    for name, described in manifest["files"].items():
        assert described["sha256"] == files.sha256(prepared / name)


def test_the_data_hash_changes_with_the_data_and_with_nothing_else(tmp_path, raw, prepared):
    digests = {data.data_sha256(data.read_manifest(prepared))}
    for name, change in (("same", {}), ("seed", {"seed": 8}), ("size", {"image_size": 32})):
        digests.add(data.data_sha256(data.prepare(raw, tmp_path / name, **{**SETTINGS, **change})))
    assert len(digests) == 3


def test_images_of_another_size_are_resized(tmp_path, raw, prepared):
    data.prepare(raw, tmp_path / "large", **{**SETTINGS, "image_size": 56})
    large, plain = data.open_split(tmp_path / "large", "test").images, data.open_split(prepared, "test").images
    assert large.shape == (100, 1, 56, 56)
    means = large.reshape(100, 1, 28, 2, 28, 2).mean(axis=(3, 5))
    assert abs(means - plain).mean() < 8


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 28, 14))
    assert 120 < data.resize(stripes, 7).mean() < 135
    assert data.resize(stripes, 7).std() < 20


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_raw_file_with_one_wrong_bit_is_refused(tmp_path, raw, file):
    for path in raw.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    flip_last_bit(tmp_path / file)
    with pytest.raises(DataError, match=f"{file}: sha256 is"):
        data.prepare(tmp_path, tmp_path / "prepared", **SETTINGS)
    assert not (tmp_path / "prepared").exists()


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
        (lambda path: np.save(path, np.zeros((150, 1, 28, 27), np.uint8)), "holds uint8 150 x 1 x 28 x 27, the manifest says"),
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


# Pictures


def test_tiles_lie_in_rows_two_pixels_apart():
    images = np.stack([np.full((1, 3, 4), value, np.uint8) for value in (10, 20, 30, 40, 50)])
    grid = data.tile(images, columns=3)
    assert grid.shape == (2 * (3 + 2) + 2, 3 * (4 + 2) + 2, 3)
    assert grid[2:5, 2:6].ravel().tolist() == [10] * 36
    assert grid[7:10, 8:12].ravel().tolist() == [50] * 36
    assert not grid[:, :2].any()


def test_a_png_holds_the_pixels_and_equal_pixels_give_equal_bytes(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for name in ("a.png", "b.png"):
        data.save_png(tmp_path / name, image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
