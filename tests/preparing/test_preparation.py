import io
import json
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image

from dcgan import data, files
from dcgan.config import reading, sections
from dcgan.errors import ConfigError, DataError, EnvironmentProblem
from dcgan.preparing import preparation
from dcgan.raw import catalog, downloads, idx, links, records
from dcgan.raw.dataset import Raw
from tests.support.given_records import (
    BAD,
    REASONS,
    Given,
    classes,
    contents,
    dataset,
    drawn,
    given,
    run,
    with_bad,
)
from tests.support.tiny import encoded, pictures, write_tree


def bytes_of(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


# The arrays


def test_the_arrays_of_fashion_mnist_are_those_of_the_version_before(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for part, count, salt in (("train", 60, 1), ("t10k", 20, 2)):
        numbers = np.arange(count * 784, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(salt)
        pixels, labels = (
            (numbers >> np.uint64(13)).astype(np.uint8),
            (np.arange(count) % 10).astype(np.uint8),
        )
        (raw / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 0x803, count, 28, 28) + pixels.tobytes()
        )
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 0x801, count) + labels.tobytes()
        )
    files.write_json(
        raw / "manifest.json", {path.name: files.sha256(path) for path in sorted(raw.iterdir())}
    )
    settings = dataset(validation_size=17)
    preparation.prepare(
        records.open_raw(raw, settings, 999),
        tmp_path / "prepared",
        tmp_path / "scratch",
        settings,
        999,
    )
    manifest = files.read_json(tmp_path / "prepared/manifest.json")
    assert (
        data.data_sha256(manifest)
        == "a2ee8bb689f158211e9ab7975884a6b5314097b4908d40002ed2aa0743e9892f"
    )
    # What the manifest has held since the first version.
    files.write_json(
        tmp_path / "older.json",
        {
            key: manifest[key]
            for key in manifest.keys() - {"licence", "drawings", "own_folder", "sketch", "source"}
        },
    )
    assert (
        files.sha256(tmp_path / "older.json")
        == "1d48cea3cf386b0262f60c417eed0d8aa321bb21e903771dc08430b89d1772e6"
    )


def test_the_source_is_the_publisher_or_a_hash_of_ones_own_images(
    tmp_path, idx_source, monkeypatch
):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    settings = dataset(source=str(idx_source))
    downloads.fetch(tmp_path / "raw", settings)
    raw = records.open_raw(tmp_path / "raw", settings, 7)
    published = dataset(source=None)
    assert preparation._source(raw, published) == catalog.of(published).mirrors[0]
    own = preparation._source(raw, settings)
    assert own.startswith("own files of fashion_mnist, sha256 of their sha256s ")
    assert str(idx_source) not in own
    folders = []
    for name in ("one", "two"):  # other names, the same pictures
        images = {
            f"{name}-{n}.png": encoded(image, "PNG") for n, image in enumerate(pictures(3)[0])
        }
        tree = write_tree(tmp_path / name, images)
        taken = dataset(name="folder", source=str(tree), test_size=20)
        downloads.fetch(tmp_path / f"raw-{name}", taken)
        opened = records.open_raw(tmp_path / f"raw-{name}", taken, 7)
        folders.append(preparation._source(opened, taken))
    assert folders[0] == folders[1] and folders[0].startswith("images of one's own, sha256 of")
    assert (
        preparation._source(opened, dataset(name="fake", test_size=20))
        == "drawn by the stage prepare"
    )


def test_prepared_images_are_the_source_images_with_their_labels(tmp_path, idx_source):
    raw, prepared = tmp_path / "raw", tmp_path / "prepared"
    settings = dataset(source=str(idx_source))
    downloads.fetch(raw, settings)
    report = run(records.open_raw(raw, settings, 7), tmp_path)
    assert report["num_images"] == {"train": 150, "validation": 50, "test": 100}
    images, labels = (
        idx.read(raw / "train-images-idx3-ubyte"),
        idx.read(raw / "train-labels-idx1-ubyte"),
    )
    source = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    for split, count in (("train", 150), ("validation", 50)):
        part = data.open_split(prepared, split)
        assert part.images.shape == (count, 1, 28, 28)
        for image, label in zip(part.images, part.labels, strict=True):
            assert source.pop(image.tobytes()) == label
    assert not source
    test = data.open_split(prepared, "test", verify=True)
    np.testing.assert_array_equal(test.images[:, 0], idx.read(raw / "t10k-images-idx3-ubyte"))
    np.testing.assert_array_equal(test.labels, idx.read(raw / "t10k-labels-idx1-ubyte"))


def test_preparing_twice_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        run(given(), tmp_path / name)
    assert contents(tmp_path / "first/prepared") == contents(tmp_path / "second/prepared")


def test_the_manifest_says_what_is_known_of_the_data_set(tmp_path):
    for name, source in (("fashion_mnist", None), ("svhn", None)):
        run(given(), tmp_path / name, name=name, source=source)
        manifest = data.read_manifest(tmp_path / name / "prepared")
        assert manifest["licence"] == catalog.DATA_SETS[name].licence
        assert manifest["drawings"] == (name == "fashion_mnist")


def test_the_data_hash_changes_with_the_data_and_with_nothing_else(tmp_path):
    digests = []
    for name, seed, size in (("a", 7, 28), ("b", 7, 28), ("c", 8, 28), ("d", 7, 32)):
        run(given(), tmp_path / name, seed, image_size=size)
        digests.append(data.data_sha256(data.read_manifest(tmp_path / name / "prepared")))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_files_and_pixels_give_the_wanted_size_and_channels(tmp_path, channels):
    def png(image: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    items = [*drawn(20, size=40, channels=3), *map(png, drawn(20, seed=1, size=50, channels=1))]
    raw = Raw(Given(items, classes(40)), None, tuple("abcdefghij"))
    run(raw, tmp_path, channels=channels, validation_size=10, test_size=10)
    manifest = data.read_manifest(tmp_path / "prepared")
    assert (manifest["channels"], manifest["image_size"]) == (channels, 28)
    for split, count in (("train", 20), ("validation", 10), ("test", 10)):
        images = data.open_split(tmp_path / "prepared", split).images
        assert images.shape == (count, channels, 28, 28)
        assert manifest["splits"][split] == {"count": count, "per_class": [count // 10] * 10}


def test_the_test_split_is_held_out_where_there_is_none_and_nothing_is_in_two_splits(tmp_path):
    raw = given(200, None)
    run(raw, tmp_path, test_size=30, validation_size=20)
    parts = [data.open_split(tmp_path / "prepared", split) for split in data.SPLITS]
    assert [len(part.images) for part in parts] == [150, 20, 30]
    assert set().union(*(bytes_of(part.images) for part in parts)) == bytes_of(
        np.stack(raw.pool.items)
    )


def test_images_without_labels_get_zeros_and_no_classes(tmp_path):
    raw = Raw(Given(drawn(100)), None, ())
    run(raw, tmp_path, test_size=30, validation_size=20)
    manifest = data.read_manifest(tmp_path / "prepared")
    assert manifest["classes"] == []
    for split, count in (("train", 50), ("validation", 20), ("test", 30)):
        labels = data.open_split(tmp_path / "prepared", split).labels
        assert (labels.dtype, labels.tolist()) == (np.int64, [0] * count)
        assert manifest["splits"][split] == {"count": count, "per_class": [count]}


def test_too_few_images_name_the_parameter(tmp_path):
    for changes, key in (
        ({"test_size": 100}, "test_size"),
        ({"test_size": 10, "validation_size": 90}, "validation_size"),
    ):
        with pytest.raises(ConfigError, match=rf"dataset\.{key} = "):
            run(Raw(Given(drawn(100)), None, ()), tmp_path, **changes)


def test_at_most_max_images_are_used_in_their_order_and_the_choice_depends_on_the_seed(tmp_path):
    chosen = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        raw = given(200)
        report = run(raw, tmp_path / name, seed, max_images=80, validation_size=20)
        assert report["num_images"] == {"train": 60, "validation": 20, "test": 100}
        chosen.append(sorted(raw.pool.reads))
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0] != list(range(80))
    train = data.open_split(tmp_path / "a/prepared", "train").images
    positions = {image.tobytes(): position for position, image in enumerate(given().pool.items)}
    in_train = [positions[image.tobytes()] for image in train]
    assert in_train == sorted(in_train)


def test_max_images_does_not_count_the_test_images_that_are_held_out(tmp_path):
    report = run(given(200, None), tmp_path, max_images=100, test_size=40, validation_size=20)
    assert report["num_images"] == {"train": 80, "validation": 20, "test": 40}


# Combinations of attributes


PAIR = ("none", "Male", "Smiling", "Male+Smiling")


def labelled(pool: Sequence[int], test: Sequence[int]) -> Raw:
    """Records of CelebA with these labels."""
    parts = [
        Given(drawn(len(part), seed), np.array(part)) for seed, part in enumerate((pool, test))
    ]
    return Raw(*parts, PAIR)


CELEBA = {"name": "celeba", "attributes": ["Male", "Smiling"], "validation_size": 8}


def test_combinations_of_attributes_are_classes_that_pass_validation(tmp_path):
    from dcgan import validation

    run(labelled([0, 1, 2, 3, 3] * 8, [3, 2, 1, 0, 0]), tmp_path, **CELEBA)
    manifest = data.read_manifest(tmp_path / "prepared")
    assert (manifest["dataset"], manifest["classes"]) == ("celeba", list(PAIR))
    assert {name: split["per_class"] for name, split in manifest["splits"].items()} == {
        "train": [6, 6, 7, 13], "validation": [2, 2, 1, 3], "test": [2, 1, 1, 1],
    }  # fmt: skip
    report = validation.validate(
        validation.statistics(tmp_path / "prepared", manifest),
        manifest,
        reading.load(sections.AllParams).expectations,
    )
    of_labels = [
        entry
        for entry in report["expectations"]
        if entry["column"] in ("label", "class_count and class_expected")
    ]
    assert len(of_labels) == 5 and all(entry["success"] for entry in of_labels)


@pytest.mark.parametrize(
    ("pool", "test", "place", "names"),
    [
        ([0, 1, 3] * 8, [0, 1, 2, 3], "outside the test split", "Smiling"),
        ([0, 1, 2, 3] * 8, [1, 2, 2], "in the test split", "none or Male+Smiling"),
        ([0, 1, 2] * 20 + [3], [0, 1, 2, 3], "in validation", "Male+Smiling"),
    ],
)
def test_a_combination_that_no_image_has_is_refused_by_name_in_one_line(
    tmp_path, pool, test, place, names
):
    raw = labelled(pool, test)
    with pytest.raises(DataError) as caught:
        run(raw, tmp_path, **CELEBA)
    assert str(caught.value) == (
        f"params.yaml: dataset.attributes: no image {place} has the combination {names}:"
        " each split needs some of each; choose other attributes, or use more images"
    )
    assert bool(raw.pool.reads) == (
        place == "in validation"
    )  # the others are seen before anything is decoded
    assert not (tmp_path / "prepared").exists()


def test_a_combination_whose_images_are_all_bad_or_copies_is_refused(tmp_path):
    raw = labelled([0, 1, 2, 3] * 8, [0, 1, 2, 3])
    raw.test.items[2] = b""
    with pytest.raises(DataError, match="no image in test has the combination Smiling:"):
        run(raw, tmp_path / "bad", on_bad_image="skip", **CELEBA)
    raw = labelled([0, 1, 2] * 10 + [3, 3], [0, 1, 2, 3])
    raw.pool.items[30:] = [raw.test.items[3]] * 2
    with pytest.raises(DataError, match=r"no image in train has the combination Male\+Smiling:"):
        run(raw, tmp_path / "copies", duplicates="exact", **CELEBA)


# Bad images


def test_bad_images_are_refused_by_name_and_reason_in_one_line(tmp_path):
    with pytest.raises(DataError) as caught:
        run(with_bad(), tmp_path, test_size=10, validation_size=10)
    assert str(caught.value) == (
        f"4 of 100 images are unreadable: {', '.join(REASONS)};"
        " repair or remove them, or set dataset.on_bad_image to skip"
    )
    assert not (tmp_path / "prepared").exists()


@pytest.mark.holds("R-63")
def test_ten_bad_images_are_named_at_most(tmp_path):
    with pytest.raises(
        DataError, match=r"^30 of 100 images .*photo 9\.png \(no bytes\), \.\.\.; repair"
    ) as caught:
        run(
            with_bad({position: b"" for position in range(30)}),
            tmp_path,
            test_size=10,
            validation_size=10,
        )
    assert str(caught.value).count("no bytes") == 10


def test_bad_images_are_left_out_where_that_is_wanted_and_reported(tmp_path):
    raw = with_bad()
    report = run(raw, tmp_path, test_size=10, validation_size=10, on_bad_image="skip")
    assert (report["bad"], report["bad_first"]) == (4, REASONS)
    assert report["num_images"] == {"train": 76, "validation": 10, "test": 10}
    images = np.concatenate(
        [data.open_split(tmp_path / "prepared", split).images for split in data.SPLITS]
    )
    assert bytes_of(images) == {
        item.tobytes() for position, item in enumerate(raw.pool.items) if position not in BAD
    }


def test_labels_stay_with_their_images_where_some_are_bad(tmp_path):
    raw = with_bad()
    raw.pool.labels, raw.classes = classes(100), tuple("abcdefghij")
    run(raw, tmp_path, test_size=10, validation_size=10, on_bad_image="skip")
    label_of = {
        item.tobytes(): position % 10
        for position, item in enumerate(raw.pool.items)
        if position not in BAD
    }
    for split in data.SPLITS:
        part = data.open_split(tmp_path / "prepared", split)
        assert [label_of[image.tobytes()] for image in part.images] == part.labels.tolist()


def test_bad_images_of_the_test_split_count_too(tmp_path):
    raw = given()
    raw.test.items[5] = b""
    with pytest.raises(DataError, match=r"1 of 300 images are unreadable: image 5 \(no bytes\)"):
        run(raw, tmp_path)
    assert run(raw, tmp_path, on_bad_image="skip")["num_images"]["test"] == 99


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (
            Raw(Given([]), None, ()),
            "0 images outside the test split: need at least 1; unreadable: none",
        ),
        (
            Raw(Given([b"", b""]), None, ()),
            r"0 images outside .* unreadable: image 0 \(no bytes\), image 1",
        ),
        (Raw(Given(drawn(5)), Given([b""]), ()), "0 images in the test split"),
    ],
)
def test_no_image_left_is_refused(tmp_path, raw, complaint):
    with pytest.raises(DataError, match=complaint):
        run(raw, tmp_path, on_bad_image="skip", test_size=1)


# Duplicates


def with_copies() -> Raw:
    """200 images for the pool, of which 190 .. 193 copy others, and two that look like others."""
    raw = given()
    pool, test = raw.pool.items, raw.test.items
    pool[190], pool[191], pool[192], pool[193] = pool[0], pool[1], pool[1], test[5]
    pool[194], pool[195] = (pool[2] * 0.9).astype(np.uint8), (test[7] * 0.9).astype(np.uint8)
    return raw


def test_copies_are_kept_where_nothing_else_is_said(tmp_path):
    report = run(with_copies(), tmp_path)
    assert report["duplicates"] == {"exact": 0, "near": 0, "dropped_from": "train and validation"}
    assert report["num_images"] == {"train": 150, "validation": 50, "test": 100}


def test_exact_copies_are_dropped_from_the_pool_and_the_test_split_stays(tmp_path):
    raw = with_copies()
    report = run(raw, tmp_path, duplicates="exact")
    assert report["duplicates"] == {"exact": 4, "near": 0, "dropped_from": "train and validation"}
    assert report["num_images"] == {"train": 146, "validation": 50, "test": 100}
    parts = {split: data.open_split(tmp_path / "prepared", split).images for split in data.SPLITS}
    used = np.concatenate([parts["train"], parts["validation"]])
    assert len(bytes_of(used)) == len(used)
    assert not bytes_of(used) & bytes_of(parts["test"])
    np.testing.assert_array_equal(parts["test"][:, 0], np.stack(raw.test.items))


def test_near_copies_are_dropped_too(tmp_path):
    raw = with_copies()
    report = run(raw, tmp_path, duplicates="near", near_bits=4, validation_size=10)
    assert report["duplicates"]["exact"] == 4
    assert report["duplicates"]["near"] == 196 - report["num_images"]["train"] - 10
    used = bytes_of(
        np.concatenate(
            [
                data.open_split(tmp_path / "prepared", split).images
                for split in ("train", "validation")
            ]
        )
    )
    assert not used & bytes_of(np.stack([raw.pool.items[194], raw.pool.items[195]]))
    assert len(used) > 20


def test_the_picture_shows_what_stays_beside_what_goes(tmp_path):
    raw = with_copies()
    settings = dataset(duplicates="exact")
    picture = preparation.prepare(raw, tmp_path / "prepared", tmp_path / "scratch", settings, 7)[1]
    assert picture.shape == (4 * 30 + 2, 2 * 30 + 2, 3)
    for row, position in enumerate((0, 1, 1)):
        for column in (2, 32):
            tile = picture[2 + 30 * row : 30 + 30 * row, column : column + 28, 0]
            np.testing.assert_array_equal(tile, raw.pool.items[position])


def test_a_pool_of_nothing_but_test_images_is_refused(tmp_path):
    raw = Raw(Given(drawn(20)), Given(drawn(20)), ())
    with pytest.raises(DataError, match="0 images are left"):
        run(raw, tmp_path, duplicates="exact")


# Restart


def test_two_processes_do_not_share_a_resume_folder(tmp_path):
    (tmp_path / "scratch").mkdir()
    with (
        filelock.FileLock(tmp_path / "scratch/here.lock"),
        pytest.raises(EnvironmentProblem, match="another process prepares the same data"),
    ):
        run(given(), tmp_path)


def test_another_split_of_the_same_images_decodes_nothing_and_has_the_same_shards(tmp_path):
    run(given(), tmp_path)
    before = data.read_manifest(tmp_path / "prepared")
    again = given()
    report = run(again, tmp_path, seed=8, validation_size=30)
    assert report["num_images"] == {"train": 170, "validation": 30, "test": 100}
    assert not again.pool.reads and not again.test.reads
    after = data.read_manifest(tmp_path / "prepared")
    same = {name for name, file in before["files"].items() if after["files"].get(name) == file}
    assert same == {"images-00000.npy", "images-00001.npy", "test.rows.npy", "test.labels.npy"}


def test_the_shards_have_two_names_and_keep_their_rights(tmp_path):
    for _ in range(2):
        run(given(), tmp_path)
        for name in ("images-00000.npy", "images-00001.npy"):
            kept, shown = (tmp_path / place / name for place in ("scratch/here", "prepared"))
            assert kept.samefile(shown)
            shown.chmod(0o444)  # as DVC does with cache.type hardlink
    run(given(), tmp_path)
    assert shown.stat().st_mode & 0o777 == 0o444
    assert not list((tmp_path / "prepared").glob(".part*"))


def test_where_the_disk_has_no_second_names_shards_are_copied(tmp_path, monkeypatch):
    def none(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    run(given(), tmp_path / "linked")
    monkeypatch.setattr(links.os, "link", none)
    run(given(), tmp_path)
    assert contents(tmp_path / "prepared") == contents(tmp_path / "linked/prepared")
    assert not list((tmp_path / "prepared").glob(".part*"))


def test_a_shard_that_is_damaged_is_decoded_again(tmp_path):
    run(given(), tmp_path)
    before = contents(tmp_path / "prepared")
    kept = tmp_path / "scratch/here/images-00001.npy"
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.unlink()  # its other name is of the same file
    kept.write_bytes(content)
    again = given()
    run(again, tmp_path)
    assert not again.pool.reads and len(again.test.reads) == 100
    assert contents(tmp_path / "prepared") == before


def test_what_other_data_left_is_deleted_and_what_is_in_use_stays(tmp_path):
    scratch = tmp_path / "scratch"
    for name in ("prepare-old", "prepare-used", "weights"):
        (scratch / name).mkdir(parents=True)
    with filelock.FileLock(scratch / "prepare-used.lock"):
        preparation.prepare(given(), tmp_path / "prepared", scratch / "prepare-now", dataset(), 7)
        left = {path.name for path in scratch.iterdir()}
    assert left == {"prepare-now", "prepare-used", "prepare-used.lock", "weights"}


def test_files_of_earlier_data_do_not_stay_in_the_prepared_folder(tmp_path):
    (tmp_path / "prepared").mkdir()
    for name in ("train.images.npy", "images-00007.npy"):
        (tmp_path / "prepared" / name).write_bytes(b"old")
    run(given(), tmp_path)
    manifest = data.read_manifest(tmp_path / "prepared")
    assert set(contents(tmp_path / "prepared")) == {*manifest["files"], "manifest.json"}


def test_the_report_is_json_and_the_same_for_the_same_images(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts = {
            json.dumps(run(with_copies(), tmp_path / name, duplicates="near"), allow_nan=False)
            for name in "ab"
        }
    assert len(texts) == 1
    assert json.loads(texts.pop())["left_out"] == {".txt": 3}
