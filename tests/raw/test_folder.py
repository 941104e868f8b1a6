import hashlib
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from dcgan.errors import DataError
from dcgan.raw import downloads, folder
from dcgan.raw.dataset import Unreadable
from tests.raw.given import raw_of, read_all
from tests.support.tiny import encoded, pictures, section, write_tree


def pack(source, target, **options):
    folder.pack(source, target, **{"class_folders": True, "at_least": 1, **options})
    return json.loads((target / "images.json").read_text())


def names(listed):
    return [image["name"] for image in listed["images"]]


def contents(target):
    with zipfile.ZipFile(target / "images.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_images_are_known_by_their_suffix_and_other_files_are_counted(tmp_path):
    images = ["a.png", "b.JPG", "c.jpeg", "d.WebP", "e.bmp", "f.gif", "g.tif", "h.tiff"]
    others = ["notes.txt", "png", "x.png.bak", "y.svg"]
    hidden = [".DS_Store", "._a.png", ".png", ".git/x.png", "Thumbs.db", "sub/thumbs.DB"]
    source = write_tree(
        tmp_path / "source", {name: name.encode() for name in images + others + hidden}
    )
    listed = pack(source, tmp_path / "raw")
    assert listed == {
        "classes": [],
        "ignored": 4,
        "images": [{"name": name, "class": None} for name in images],
    }
    assert list(contents(tmp_path / "raw")) == [
        f"{number:07d}{Path(name).suffix.lower()}" for number, name in enumerate(images)
    ]
    assert list(contents(tmp_path / "raw").values()) == [name.encode() for name in images]


@pytest.mark.parametrize(
    ("paths", "classes"),
    [
        (["b/x.png", "a/deep/er/y.png", "a/z.png"], ["a", "b"]),
        (["a/x.png", "a/deeper/y.png"], []),  # one folder is no class
        (["a/x.png", "b/y.png", "z.png"], []),  # an image beside them
        (["a/x.png", "b/y.txt"], []),  # no image in the second
        (["a/x.png", "b/y.png", "readme.txt"], ["a", "b"]),
        (["Cat/x.png", "cat/y.png"], ["Cat", "cat"]),
    ],
)
def test_folders_are_classes_under_the_written_rule(tmp_path, paths, classes):
    source = write_tree(tmp_path / "source", {path: b"x" for path in paths})
    listed = pack(source, tmp_path / "raw")
    assert listed["classes"] == classes
    for image in listed["images"]:
        assert image["class"] == (classes.index(image["name"].split("/")[0]) if classes else None)
    unlabelled = pack(source, tmp_path / "raw", class_folders=False)
    assert unlabelled["classes"] == []
    assert {image["class"] for image in unlabelled["images"]} == {None}


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
    source = write_tree(tmp_path / "source", {name: name for name in awkward})
    listed = pack(source, tmp_path / "raw")
    assert names(listed) == [awkward[name] for name in sorted(awkward)]
    assert list(contents(tmp_path / "raw").values()) == sorted(awkward)
    assert len(set(names(listed))) == len(awkward)
    assert (tmp_path / "raw" / "images.json").read_bytes().isascii()


def test_links_to_files_are_read_and_links_to_folders_are_not_followed(tmp_path):
    write_tree(tmp_path / "outside", {"x.png": b"outside"})
    source = write_tree(tmp_path / "source", {"a.png": b"inside"})
    (source / "file.png").symlink_to(tmp_path / "outside" / "x.png")
    (source / "folder").symlink_to(tmp_path / "outside")
    (source / "loop").symlink_to(source)
    (source / "up.png").symlink_to("..")  # a folder, whatever its name
    listed = pack(source, tmp_path / "raw")
    assert names(listed) == ["a.png", "file.png"]
    assert list(contents(tmp_path / "raw").values()) == [b"inside", b"outside"]
    assert listed["ignored"] == 0


def test_what_cannot_be_read_is_listed_with_the_reason_and_no_bytes(tmp_path):
    source = write_tree(tmp_path / "source", {"good.png": b"x"})
    (source / "gone.png").symlink_to("nowhere")
    (source / "itself.png").symlink_to("itself.png")
    os.mkfifo(source / "pipe.png")
    with open(source / "large.png", "wb") as file:
        file.truncate((64 << 20) + 1)
    with open(source / "largest.png", "wb") as file:
        file.truncate(64 << 20)
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
    assert [len(content) for content in contents(tmp_path / "raw").values()] == [
        0,
        1,
        0,
        0,
        64 << 20,
        0,
    ]


def test_files_and_folders_without_rights_are_named(tmp_path):
    source = write_tree(tmp_path / "source", {"a.png": b"x", "b.png": b"x"})
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
        write_tree(source, {"locked/c.png": b"x"})
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
    paths = [f"{number % 3}/{number}.png" for number in range(30)]
    first = write_tree(tmp_path / "first", {path: path.encode() for path in paths})
    second = write_tree(tmp_path / "second", {path: path.encode() for path in reversed(paths)})
    os.utime(second / paths[0], (1, 1))
    (second / paths[0]).chmod(0o600)
    pack(first, tmp_path / "a")
    pack(second, tmp_path / "b")
    for name in ("images.zip", "images.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # The same on every machine and after every upgrade of Python.
    digest = hashlib.sha256((tmp_path / "a" / "images.zip").read_bytes()).hexdigest()
    assert digest == "e0e9cf42bebc0f3c3054e629c0ed0237d778e3d4a81da6271ddabc3d36664f2d"


def test_memory_is_that_of_one_image(tmp_path):
    source = write_tree(
        tmp_path / "source", {f"{number}.png": bytes(1 << 20) for number in range(40)}
    )
    tracemalloc.start()
    try:
        pack(source, tmp_path / "raw")
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_a_folder_without_images_is_refused_with_what_is_needed(tmp_path):
    source = write_tree(tmp_path / "source", {"notes.txt": b"x", ".hidden.png": b"x"})
    with pytest.raises(
        DataError, match=r"^0 images found in .*/source \(1 other files\): need at least 21"
    ) as caught:
        downloads.fetch(tmp_path / "raw", section("folder", source))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="/none: the folder cannot be read"):
        downloads.fetch(tmp_path / "raw", section("folder", tmp_path / "none"))
    assert not (tmp_path / "raw").exists()


def test_a_folder_gives_files_by_their_names_and_its_folders_as_classes(tmp_path):
    png = [encoded(image, "PNG") for image in pictures(3)[0]]
    source = write_tree(
        tmp_path / "source",
        {"b/1.png": png[0], "a/x/2.PNG": png[1], "a/3.png": png[2], "a/notes.txt": b""},
    )
    raw = raw_of(tmp_path, "folder", source)
    assert [raw.pool.name(index) for index in range(3)] == ["a/3.png", "a/x/2.PNG", "b/1.png"]
    assert read_all(raw.pool) == [png[2], png[1], png[0]]
    assert (raw.pool.labels.tolist(), raw.classes, raw.ignored, raw.test) == (
        [0, 0, 1],
        ("a", "b"),
        1,
        None,
    )
    raw = raw_of(tmp_path, "folder", source, class_folders=False)
    assert (raw.pool.labels, raw.classes) == (None, ())


def test_images_that_cannot_be_read_are_told_one_by_one(tmp_path):
    good = encoded(pictures(1)[0][0], "PNG")
    source = write_tree(tmp_path / "source", {"empty.png": b"", "good.png": good})
    (source / "gone.png").symlink_to("nowhere")
    pool = raw_of(tmp_path, "folder", source).pool
    with pytest.raises(Unreadable, match="is empty"):
        pool.read(0)
    with pytest.raises(Unreadable, match="is a broken link"):
        pool.read(1)
    assert pool.read(2) == good
