import errno
import hashlib
import itertools
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import features

from dcgan.errors import DataError
from dcgan.raw import packing
from dcgan.raw.dataset import FORMATS, SUFFIXES
from tests.raw.given import raw_of
from tests.support import memory
from tests.support.tiny import animated, encoded, pictures, write_tree


def picture(number, kind="PNG"):
    """The bytes of an image of its own for each number, alike on every machine if it is a PPM."""
    return encoded(np.full((4, 4, 3), number, np.uint8), kind)


def pack(source, target, on_part=lambda parts, images: None):
    """What the lists of all parts say together."""
    packing.pack(source, target, target.with_name(f"{target.name}-kept"), on_part)
    listed = json.loads((target / "images.json").read_text())
    parts = [
        json.loads((target / packing.list_name(number)).read_text())["images"]
        for number in range(listed.pop("parts"))
    ]
    return {"images": list(itertools.chain(*parts)), **listed}


def names(listed):
    return [image["name"] for image in listed["images"]]


def contents(target):
    """The images of all zips, by part and name."""
    found = {}
    for path in sorted(target.glob("images-*.zip")):
        with zipfile.ZipFile(path) as archive:
            found |= {name: archive.read(name) for name in archive.namelist()}
    return found


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
            {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
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
    assert (tmp_path / "raw" / "images-00000.json").read_bytes().isascii()


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
    for name in ("raw", "raw-kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
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
    for name in ("images-00000.zip", "images-00000.json", "images.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # The same on every machine and after every upgrade of Python.
    digest = hashlib.sha256((tmp_path / "a" / "images-00000.zip").read_bytes()).hexdigest()
    assert digest == "198198b9e3e719e8e046eb6d552728b9a618062bedc7b8734e6b9ba9e2a2ba0c"


def test_memory_is_that_of_one_image(tmp_path):
    source = write_tree(
        tmp_path / "source", {f"{number}.png": picture(1) + bytes(1 << 20) for number in range(40)}
    )
    assert memory.peak(packing.pack, source, tmp_path / "raw", tmp_path / "kept") < 5 << 20


def test_a_suffix_is_one_of_an_image_or_one_of_another_file():
    assert not set(SUFFIXES) & {*packing.NOT_IMAGES, *packing.CONVERT}
    assert all(suffix == suffix.lower() for suffix in (*packing.NOT_IMAGES, *packing.CONVERT))


def in_parts(monkeypatch, files):
    monkeypatch.setattr(packing, "PART_FILES", files)


def test_a_large_folder_is_packed_in_parts_that_have_its_images_in_the_same_order(
    tmp_path, monkeypatch
):
    images = {f"{number // 4}/{number:02d}": picture(number) for number in range(11)}
    source = write_tree(tmp_path / "source", {**images, "1/words": b"none", "notes.txt": b""})
    whole = pack(source, tmp_path / "whole")
    in_parts(monkeypatch, 4)
    told = []
    cut = pack(source, tmp_path / "cut", lambda parts, images: told.append((parts, images)))
    assert cut == whole
    assert whole["left_out"] == {".txt": 1, "without suffix": 1}
    assert told == [(1, 4), (2, 8), (3, 11)]
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [
        *(f"images-0000{part}.{kind}" for part in range(3) for kind in ("json", "zip")),
        "images.json",
    ]


def test_a_part_takes_no_more_bytes_than_it_may(tmp_path, monkeypatch):
    large = picture(1) + bytes(1000)
    source = write_tree(tmp_path / "source", {f"{number}.png": large for number in range(5)})
    monkeypatch.setattr(packing, "PART_BYTES", 2 * len(large))
    pack(source, tmp_path / "raw")
    assert len(list((tmp_path / "raw").glob("*.zip"))) == 3
    monkeypatch.setattr(packing, "PART_BYTES", 1)  # an image more is in a part in any case
    pack(source, tmp_path / "again")
    assert len(list((tmp_path / "again").glob("*.zip"))) == 5


@pytest.mark.holds("R-54")
def test_a_killed_packing_goes_on_with_the_part_that_it_was_at(tmp_path, monkeypatch):
    in_parts(monkeypatch, 2)
    images = {f"{number}.png": picture(number) for number in range(7)}
    source = write_tree(tmp_path / "source", images)
    expected = pack(source, tmp_path / "expected")

    class Killed(BaseException):
        pass

    def killed(parts, images):
        if parts == 2:
            raise Killed

    with pytest.raises(Killed):
        pack(source, tmp_path / "raw", killed)
    assert not (tmp_path / "raw").exists()
    looked_at = []
    examine = packing._examine
    monkeypatch.setattr(
        packing, "_examine", lambda path: (looked_at.append(path.name), examine(path))[1]
    )
    # What has changed since is packed again, with all of its part.
    (source / "1.png").write_bytes(picture(99))
    os.utime(source / "1.png", (1, 1))
    again = pack(source, tmp_path / "raw")
    assert looked_at == ["0.png", "1.png", "4.png", "5.png", "6.png"]
    changed = hashlib.sha256(picture(99)).hexdigest()
    assert [image["sha256"] for image in again["images"]] == [
        changed if image["name"] == "1.png" else image["sha256"] for image in expected["images"]
    ]


def test_a_part_without_its_mark_is_packed_again(tmp_path, monkeypatch):
    # As a process that was killed between the files of a part leaves it.
    source = write_tree(tmp_path / "source", {"a.png": picture(1)})
    pack(source, tmp_path / "raw")
    (tmp_path / "raw-kept" / "images-00000.json.done").unlink()
    (tmp_path / "raw-kept" / "images-00000.json").write_text("{")
    assert names(pack(source, tmp_path / "again")) == ["a.png"]


def test_where_the_disk_has_no_second_names_the_parts_are_copied(tmp_path, monkeypatch):
    source = write_tree(tmp_path / "source", {"a.png": picture(1)})

    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    pack(source, tmp_path / "raw")
    assert list(contents(tmp_path / "raw").values()) == [picture(1)]
