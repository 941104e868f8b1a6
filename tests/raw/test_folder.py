import hashlib
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import features

from dcgan.errors import DataError
from dcgan.raw import downloads, folder
from dcgan.raw.dataset import FORMATS, SUFFIXES, Unreadable
from tests.raw.given import raw_of, read_all, tree
from tests.support.tiny import animated, encoded, pictures, section, write_tree


def picture(number, kind="PNG"):
    """The bytes of an image of its own for each number, alike on every machine if it is a PPM."""
    return encoded(np.full((4, 4, 3), number, np.uint8), kind)


def pack(source, target):
    folder.pack(source, target)
    return json.loads((target / "images.json").read_text())


def names(listed):
    return [image["name"] for image in listed["images"]]


def contents(target):
    with zipfile.ZipFile(target / "images.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.holds("R-62")
def test_images_are_known_by_their_content_and_other_files_are_counted_by_suffix(tmp_path):
    kinds = {"a.png": "PNG", "b.JPG": "WEBP", "c.jfif": "JPEG", "d.part": "GIF", "e": "PPM"}
    images = {name: picture(number, kind) for number, (name, kind) in enumerate(kinds.items())}
    others = ["notes.txt", "more.TXT", "png", "x.png.bak", "y.svg", "list.csv"]
    hidden = [".DS_Store", "._a.png", ".png", ".git/x.png", "Thumbs.db", "sub/desktop.INI"]
    source = write_tree(
        tmp_path / "source", {**images, **{name: b"words" for name in others + hidden}}
    )
    # Not looked into, whatever it holds.
    write_tree(source, {"image.txt": picture(9)})
    assert pack(source, tmp_path / "raw") == {
        "images": [
            {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in images.items()
        ],
        "left_out": {".txt": 3, "without suffix": 1, ".bak": 1, ".svg": 1, ".csv": 1},
        "not_followed": {},
    }
    assert contents(tmp_path / "raw") == {
        f"{number:07d}{suffix}": content
        for number, (suffix, content) in enumerate(
            zip([".png", ".jpg", ".jfif", "", ""], images.values(), strict=True)
        )
    }
    raw = raw_of(tmp_path, "folder", source)
    assert raw.said()[-1] == (
        "left out: 1 .bak, 1 .csv, 1 .svg, 3 .txt, 1 without suffix: no images"
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_of_the_list_is_recognised_without_a_suffix(tmp_path, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = pictures(1)[0][0]
    source = write_tree(tmp_path / "source", {"image": encoded(image, kind)})
    assert names(pack(source, tmp_path / "raw")) == ["image"]


def test_what_an_images_name_promises_and_its_bytes_do_not_keep_is_listed(tmp_path):
    source = write_tree(
        tmp_path / "source",
        {
            "good.png": picture(1),
            "page.jpg": b"<html>",
            "empty.gif": b"",
            "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "any.bmp": bytes(18),  # any bytes might be TGA, which has no signature
        },
    )
    problems = {
        image["name"]: image.get("problem") for image in pack(source, tmp_path / "raw")["images"]
    }
    nothing = f"begins no readable {', '.join(FORMATS)}"
    assert problems == {
        "good.png": None, "page.jpg": nothing, "script.png": nothing, "any.bmp": nothing,
        "empty.gif": "is empty",
    }  # fmt: skip


def test_a_damaged_image_is_still_an_image_and_prepare_says_how(tmp_path):
    large = picture(1, "BMP")
    large = large[:18] + (30_000).to_bytes(4, "little") * 2 + large[26:]  # 900 million pixels
    source = write_tree(tmp_path / "source", {"a.png": picture(2)[:60], "large": large})
    listed = pack(source, tmp_path / "raw")
    assert names(listed) == ["a.png", "large"]
    assert not any("problem" in image for image in listed["images"])


def test_animations_are_images(tmp_path):
    source = write_tree(tmp_path / "source", {"a.gif": animated(pictures(2)[0])})
    assert names(pack(source, tmp_path / "raw")) == ["a.gif"]


def test_pictures_that_are_not_read_are_told_with_a_way(tmp_path):
    source = write_tree(tmp_path / "source", {"a.png": picture(1), "b.heic": b"ftypheic"})
    said = raw_of(tmp_path, "folder", source).said()
    assert said[-2:] == [
        "to use .heic, save them as PNG or JPEG", "left out: 1 .heic: no images"
    ]  # fmt: skip


@pytest.mark.holds("R-65")
def test_awkward_names_are_kept_apart_sorted_by_bytes_and_shown_in_one_line(tmp_path):
    awkward = {
        b"A.png": "A.png",
        b"a.png": "a.png",
        b"new\nline.png": r"new\nline.png",
        b"tab\there.png": r"tab\there.png",
        b"back\\nslash.png": r"back\\nslash.png",
        "\N{GRINNING FACE}.png".encode(): "\N{GRINNING FACE}.png",
        b"latin-\xe4.png": r"latin-\xe4.png",
        "soft-\u00ad.png".encode(): r"soft-\u00ad.png",
        b"soft-\xad.png": r"soft-\xad.png",
        b"x" * 251 + b".png": "x" * 251 + ".png",
    }
    source = write_tree(
        tmp_path / "source", {name: picture(number) for number, name in enumerate(sorted(awkward))}
    )
    listed = pack(source, tmp_path / "raw")
    assert names(listed) == [awkward[name] for name in sorted(awkward)]
    assert list(contents(tmp_path / "raw").values()) == [
        picture(number) for number in range(len(awkward))
    ]
    assert len(set(names(listed))) == len(awkward)
    assert (tmp_path / "raw" / "images.json").read_bytes().isascii()


@pytest.mark.holds("R-65")
def test_links_to_files_and_folders_are_followed_except_for_loops(tmp_path):
    write_tree(tmp_path / "outside", {"x.png": picture(1), "deep/y.png": picture(2)})
    source = write_tree(tmp_path / "source", {"a.png": picture(3), "b/c.png": picture(4)})
    (source / "file.png").symlink_to(tmp_path / "outside" / "x.png")
    (source / "folder").symlink_to(tmp_path / "outside")
    (source / "again").symlink_to(tmp_path / "outside" / "deep")  # two names, both followed
    (source / "loop").symlink_to(source)
    (source / "b" / "up.png").symlink_to("..")  # a folder, whatever its name
    (source / "gone").symlink_to("nowhere")
    (tmp_path / "outside" / "back").symlink_to(source)
    listed = pack(source, tmp_path / "raw")
    assert names(listed) == [
        "a.png", "again/y.png", "b/c.png", "file.png", "folder/deep/y.png", "folder/x.png",
    ]  # fmt: skip
    assert list(contents(tmp_path / "raw").values()) == [
        picture(number) for number in (3, 2, 4, 1, 2, 1)
    ]
    loop = "leads to a folder in which it lies"
    assert listed["not_followed"] == {
        "loop": loop, "b/up.png": loop, "folder/back": loop, "gone": "leads nowhere"
    }  # fmt: skip
    (source / "file.png").unlink()  # more than one image beside the folders
    (source / "folder").unlink()
    assert raw_of(tmp_path, "folder", source, class_folders=False).notes[-1] == (
        f"links that are not followed: b/up.png {loop}, gone leads nowhere, loop {loop}"
    )


def test_many_links_are_told_in_one_line(tmp_path):
    source = write_tree(tmp_path / "source", {"a.png": picture(1)})
    for number in range(30):
        (source / f"link {number:02d}").symlink_to("nowhere")
    (note,) = raw_of(tmp_path, "folder", source).notes[1:]
    assert note.endswith("link 09 leads nowhere, and 20 more")


def test_the_source_may_be_a_link_itself(tmp_path):
    source = write_tree(tmp_path / "source", {"a/x.png": picture(1)})
    (tmp_path / "link").symlink_to(source)
    assert pack(tmp_path / "link", tmp_path / "raw") == pack(source, tmp_path / "raw")


def test_what_cannot_be_read_is_listed_with_the_reason_and_no_bytes(tmp_path):
    source = write_tree(tmp_path / "source", {"good.png": picture(1)})
    os.mkfifo(source / "pipe")  # without an image's suffix it is none
    (source / "gone.png").symlink_to("nowhere")
    (source / "itself.png").symlink_to("itself.png")
    os.mkfifo(source / "pipe.png")
    with open(source / "large.png", "wb") as file:
        file.truncate((64 << 20) + 1)
    largest = picture(2) + bytes((64 << 20) - len(picture(2)))
    (source / "largest.png").write_bytes(largest)
    with open(source / "weights", "wb") as file:
        file.truncate((64 << 20) + 1)
    listed = pack(source, tmp_path / "raw")
    problems = {image["name"]: image.get("problem") for image in listed["images"]}
    assert problems == {
        "gone.png": "is a broken link",
        "good.png": None,
        "itself.png": "cannot be read (Too many levels of symbolic links)",
        "large.png": "has more than 64 MiB",
        "largest.png": None,
        "pipe.png": "is no regular file",
    }
    assert listed["left_out"] == {"without suffix": 2}
    assert [len(content) for content in contents(tmp_path / "raw").values()] == [
        0,
        len(picture(1)),
        0,
        0,
        64 << 20,
        0,
    ]


@pytest.mark.holds("R-65")
def test_files_and_folders_without_rights_are_named(tmp_path):
    source = write_tree(tmp_path / "source", {"a.png": picture(1), "b.png": picture(2)})
    (source / "b.png").chmod(0)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw").chmod(0o777)
    me = os.geteuid()
    nobody = me or 65534  # root ignores rights, so it becomes somebody else, who must get this far
    if not me:
        for path in (
            tmp_path,
            *(
                parent
                for parent in tmp_path.parents
                if parent.owner() == "root" and parent != Path("/")
            ),
        ):
            path.chmod(path.stat().st_mode | 0o555)
    os.seteuid(nobody)
    try:
        listed = pack(source, tmp_path / "raw")
        os.seteuid(me)
        write_tree(source, {"locked/c.png": picture(3)})
        (source / "locked").chmod(0)
        os.seteuid(nobody)
        with pytest.raises(
            DataError, match=r"/locked: the folder cannot be read \(Permission denied\)"
        ):
            pack(source, tmp_path / "raw")
    finally:
        os.seteuid(me)
        (source / "locked").chmod(0o755)
    assert [image.get("problem") for image in listed["images"]] == [
        None,
        "cannot be read (Permission denied)",
    ]


def test_the_zip_depends_on_names_and_bytes_alone(tmp_path):
    # A PPM has the same bytes on every machine and with every Pillow.
    images = {f"{number % 3}/{number}.png": picture(number, "PPM") for number in range(30)}
    paths = list(images)
    first = write_tree(tmp_path / "first", images)
    second = write_tree(tmp_path / "second", {path: images[path] for path in reversed(paths)})
    os.utime(second / paths[0], (1, 1))
    (second / paths[0]).chmod(0o600)
    pack(first, tmp_path / "a")
    pack(second, tmp_path / "b")
    for name in ("images.zip", "images.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # The same on every machine and after every upgrade of Python.
    digest = hashlib.sha256((tmp_path / "a" / "images.zip").read_bytes()).hexdigest()
    assert digest == "198198b9e3e719e8e046eb6d552728b9a618062bedc7b8734e6b9ba9e2a2ba0c"


def test_memory_is_that_of_one_image(tmp_path):
    source = write_tree(
        tmp_path / "source", {f"{number}.png": picture(1) + bytes(1 << 20) for number in range(40)}
    )
    tracemalloc.start()
    try:
        pack(source, tmp_path / "raw")
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


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


def test_a_suffix_is_one_of_an_image_or_one_of_another_file():
    assert not set(SUFFIXES) & {*folder.NOT_IMAGES, *folder.CONVERT}
    assert all(suffix == suffix.lower() for suffix in (*folder.NOT_IMAGES, *folder.CONVERT))
