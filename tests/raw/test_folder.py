import hashlib

import numpy as np
import pytest

from dcgan import files
from dcgan.errors import DataError
from dcgan.raw import downloads, packing
from dcgan.raw.dataset import Unreadable
from tests.raw.given import raw_of, read_all, tree
from tests.support.tiny import encoded, section, write_tree


def picture(number, kind="PNG"):
    """The bytes of an image of its own for each number, alike on every machine if it is a PPM."""
    return encoded(np.full((4, 4, 3), number, np.uint8), kind)


def test_pictures_that_are_not_read_are_told_with_a_way(tmp_path):
    source = write_tree(tmp_path / "source", {"a.png": picture(1), "b.heic": b"ftypheic"})
    said = raw_of(tmp_path, "folder", source).said()
    assert said[-2:] == [
        "to use .heic, save them as PNG or JPEG", "left out: 1 .heic: no images"
    ]  # fmt: skip


@pytest.mark.holds("R-65")
def test_a_folder_without_images_is_refused_with_what_is_needed(tmp_path):
    source = write_tree(tmp_path / "source", {"notes.txt": b"x", ".hidden.png": b"x"})
    with pytest.raises(
        DataError, match=r"^0 images found in .*/source \(other files: 1 \.txt\): need at"
    ) as caught:
        downloads.fetch(tmp_path / "raw", section("folder", source))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="/none: the folder cannot be read"):
        downloads.fetch(tmp_path / "raw", section("folder", tmp_path / "none"))
    (tmp_path / "pictures.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"/pictures\.zip: is a file, expected the folder .*unpack"):
        downloads.fetch(tmp_path / "raw", section("folder", tmp_path / "pictures.zip"))
    assert not (tmp_path / "raw").exists()


def test_a_folder_gives_its_folders_as_classes_and_its_images_by_digest(tmp_path):
    images = {
        f"{name}/{number}.png": picture(10 * place + number)
        for place, name in enumerate(("b", "a/x", "a"))
        for number in range(3)
    }
    source = write_tree(tmp_path / "source", {**images, "a/notes.txt": b""})
    raw = raw_of(tmp_path, "folder", source)
    expected = sorted(images, key=lambda name: hashlib.sha256(images[name]).digest())
    assert [raw.pool.name(index) for index in range(9)] == expected
    assert read_all(raw.pool) == [images[name] for name in expected]
    assert raw.pool.digests == [hashlib.sha256(images[name]).digest() for name in expected]
    assert raw.pool.labels.tolist() == [("a", "b").index(name[0]) for name in expected]
    assert (raw.classes, raw.left_out, raw.test) == (("a", "b"), {".txt": 1}, None)


def test_other_keys_mean_other_classes_and_splits_and_the_same_files(tmp_path):
    images = {
        f"{split}/{name}/{number}.png": picture(hash_ + number)
        for hash_, split, name in ((0, "train", "a"), (5, "train", "b"), (10, "test", "a"),
                                   (15, "test", "b"))
        for number in range(4)
    }  # fmt: skip
    source = write_tree(tmp_path / "source", images)
    pooled = raw_of(tmp_path, "folder", source)
    before = tree(tmp_path / "raw")
    split = raw_of(tmp_path, "folder", source, test_size=0)
    unlabelled = raw_of(tmp_path, "folder", source, class_folders=False)
    assert tree(tmp_path / "raw") == before
    assert (len(pooled.pool), pooled.test, pooled.classes) == (16, None, ("a", "b"))
    assert (len(split.pool), len(split.test), split.classes) == (8, 8, ("a", "b"))
    assert {split.test.name(index).split("/")[0] for index in range(8)} == {"test"}
    assert split.test.labels.tolist() == [
        "ab".index(split.test.name(index).split("/")[1]) for index in range(8)
    ]
    assert (len(unlabelled.pool), unlabelled.pool.labels, unlabelled.classes) == (16, None, ())


def test_other_names_of_the_files_change_nothing_that_is_read(tmp_path):
    images = {f"{name}/{number}.png": picture(ord(name) + number)
              for name in "ab" for number in range(5)}  # fmt: skip
    first = raw_of(tmp_path / "1", "folder", write_tree(tmp_path / "first", images))
    renamed = {f"{name[0]}/moved/{9 - int(name[2])}": content for name, content in images.items()}
    second = raw_of(tmp_path / "2", "folder", write_tree(tmp_path / "second", renamed))
    assert read_all(first.pool) == read_all(second.pool)
    assert first.pool.labels.tolist() == second.pool.labels.tolist()
    assert first.pool.digests == second.pool.digests


def test_images_that_cannot_be_read_are_told_one_by_one(tmp_path):
    source = write_tree(tmp_path / "source", {"empty.png": b"", "good.png": picture(1)})
    (source / "gone.png").symlink_to("nowhere")
    pool = raw_of(tmp_path, "folder", source).pool
    # They have no digest, and come first.
    assert [pool.name(index) for index in range(3)] == ["empty.png", "gone.png", "good.png"]
    with pytest.raises(Unreadable, match="is empty"):
        pool.read(0)
    with pytest.raises(Unreadable, match="is a broken link"):
        pool.read(1)
    assert pool.read(2) == picture(1)


def test_every_image_is_compared_with_its_digest_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "PART_FILES", 2)
    images = {f"{number}.{kind}": picture(number) for number, kind in enumerate(("png", "x") * 3)}
    source = write_tree(tmp_path / "source", {**images, "empty.png": b""})
    pool = raw_of(tmp_path, "folder", source).pool
    assert {pool.name(index): pool.read(index) for index in range(1, 7)} == images
    path = tmp_path / "raw/images-00001.zip"
    content = path.read_bytes()
    place = content.index(images["2.png"])
    path.write_bytes(content[: place + 9] + b"?" + content[place + 10 :])
    index = [pool.name(index) for index in range(7)].index("2.png")
    # An error, and not a picture that is left out.
    with pytest.raises(DataError, match=r"images-00001\.zip: sha256 of 2\.png in it is .* damaged"):
        pool.read(index)
    path.unlink()
    with pytest.raises(DataError, match=r"images-00001\.zip: cannot be read \(No such file"):
        pool.read(index)


def test_fewer_parts_than_before_leave_none_of_the_old_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "PART_FILES", 2)
    source = write_tree(tmp_path / "source", {f"{n}.png": picture(n) for n in range(6)})
    raw_of(tmp_path, "folder", source)
    assert (tmp_path / "raw/images-00002.zip").exists()
    for number in range(3):
        (source / f"{number}.png").unlink()
    raw = raw_of(tmp_path, "folder", source)
    assert (len(raw.pool), len(list((tmp_path / "raw").glob("images-*")))) == (3, 4)


def test_a_finished_download_keeps_no_parts_of_this_or_of_another_folder(tmp_path):
    left = files.scratch("packing-of-another-folder")
    left.mkdir(parents=True)
    raw_of(tmp_path, "folder", write_tree(tmp_path / "source", {"a.png": picture(1)}))
    assert not list(files.scratch().glob("packing-*"))
