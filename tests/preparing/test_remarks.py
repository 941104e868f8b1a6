"""Folders as people have them: what is done with them is said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dcgan import data
from dcgan.config import sections
from dcgan.errors import DataError, UserError
from dcgan.preparing import preparation, remarks
from dcgan.raw import downloads, records
from tests.support import strangers
from tests.support.given_records import dataset


def prepared(folder: Path, place: Path, **keys: object) -> tuple[dict, np.ndarray]:
    """The report, and all prepared images of a folder."""
    wanted: sections.Dataset = dataset(
        **{"name": "folder", "source": str(folder), "test_size": 30, "validation_size": 30, **keys}
    )
    downloads.fetch(place / "raw", wanted)
    raw = records.open_raw(place / "raw", wanted, 7)
    report, _ = preparation.prepare(raw, place / "prepared", place / "scratch", wanted, 7)
    parts = [data.open_split(place / "prepared", split).images for split in data.SPLITS]
    return report, np.concatenate(parts)


def many(save: Callable[[int], None]) -> None:
    for number in range(100):
        save(number)


def said(report: dict, *parts: str) -> bool:
    return any(all(part in note for part in parts) for note in report["notes"])


def test_damaged_metadata_and_other_suffixes_are_used_and_counted(tmp_path):
    folder = tmp_path / "given"
    strangers.put(folder, 0, 100)
    shape, text = strangers.shape(1, 0, 64), PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 2_000_000, zip=True)
    shape.save(folder / "exif.jpg", dpi=(72, 72), exif=b"Exif\0\0garbage!")
    shape.save(folder / "text.png", pnginfo=text)
    shape.save(folder / "webp.jpg", format="WEBP")
    shape.save(folder / "grey.pgm")
    shape.save(folder / "two.gif", save_all=True, append_images=[strangers.shape(2, 0, 64)])
    report, images = prepared(folder, tmp_path)
    assert (len(images), report["bad"]) == (105, 0)
    assert said(report, "2 of 105 images have damaged or very long metadata")
    assert said(report, "1 image is of another format than the name says")
    assert said(report, "1 image has several frames")
    assert said(report, "no labels, because")


@pytest.mark.parametrize(
    ("keys", "words", "green"),
    [
        ({}, "33 % of their area is cut off; other ways: pad and stretch", False),
        ({"fit": "pad", "background": "black"}, "padded with black", True),
        ({"fit": "stretch"}, "stretched to squares", True),
        ({"crop": 32}, "dataset.crop = 32 cuts 83 % of the area", False),
    ],
)
def test_wide_pictures(tmp_path, keys, words, green):
    folder = tmp_path / "given"
    folder.mkdir()

    def save(number: int) -> None:
        image = Image.new("RGB", (96, 64), (90, 90, 90))
        image.paste(strangers.shape(0, number, 64, "RGB"), (16, 0))
        image.paste((20, 230, 20), (0, 0, 8, 64))
        image.save(folder / f"{number}.png")

    many(save)
    report, images = prepared(folder, tmp_path, channels=3, **keys)
    assert said(report, words)
    assert bool((images[:, 1].astype(int) - images[:, 0] > 100).any()) == green


def test_transparent_ground_small_pictures_and_lost_colours(tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()

    def save(number: int) -> None:
        image = Image.new("RGBA", (24, 24), (0, 0, 0, 0))
        image.paste(strangers.shape(0, number, 12, "RGB").convert("RGBA"), (6, 6))
        image.save(folder / f"{number}.png")

    many(save)
    keys = {"image_size": 48, "enlarge": "nearest", "background": "grey"}
    report, images = prepared(folder, tmp_path, **keys)
    assert said(report, "100 of 100 images have transparent pixels: grey lies under them")
    assert said(report, "100 of 100 images are smaller than 48 x 48: enlarged, nearest pixels")
    assert said(report, "in colour: made grey, because dataset.channels is 1")
    assert (images[:, :, :12] == 128).all()


def test_twelve_bits_in_sixteen_fill_the_range(tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()

    def save(number: int) -> None:
        pixels = np.asarray(strangers.shape(0, number, 28), np.uint16) * 16
        Image.fromarray(pixels).save(folder / f"{number}.png")

    many(save)
    report, images = prepared(folder, tmp_path)
    assert said(report, "100 of 100 images have more than 8 bits: 4095 becomes 255")
    assert images.max() > 250
    first = images.copy()
    report, images = prepared(folder, tmp_path / "other", max_value=65535.0)
    assert said(report, "65535 becomes 255") and images.max() < 20 < first.max()


@pytest.mark.parametrize(
    ("keys", "advice"),
    [
        ({"image_size": 100}, "set dataset.enlarge to bilinear"),
        ({"crop": 178}, "set dataset.crop to null"),
    ],
)
def test_pictures_that_are_all_bad_for_one_reason_get_the_parameter_named(tmp_path, keys, advice):
    strangers.sorted_classes(tmp_path / "given")
    with pytest.raises(DataError, match=rf"300 of 300 images are unreadable: .*; {advice}"):
        prepared(tmp_path / "given", tmp_path, **keys)


def test_pictures_that_are_bad_for_many_reasons_are_to_be_repaired():
    assert remarks.advice(["a (no bytes)", "b (too small: ...)"]) == "repair or remove them"


def test_a_file_that_comes_goes_or_is_renamed_puts_no_learnt_image_into_the_test_split(tmp_path):
    folder = tmp_path / "given"
    strangers.sorted_classes(folder)

    def splits(place: str) -> dict[str, set[bytes]]:
        prepared(folder, tmp_path / place)
        return {
            split: {
                image.tobytes()
                for image in data.open_split(tmp_path / place / "prepared", split).images
            }
            for split in data.SPLITS
        }

    before = splits("before")
    strangers.shape(0, 5000).save(folder / "a" / "new.png")
    (folder / "b" / "00007.png").rename(folder / "b" / "renamed.png")
    (folder / "c" / "00003.png").unlink()
    after = splits("after")
    lost = before["test"] - after["test"]
    assert len(lost) <= 1 and not after["test"] & (before["train"] | before["validation"])


def test_limits_on_images_leave_the_test_images_and_take_all_classes(tmp_path):
    strangers.sorted_classes(tmp_path / "given")
    prepared(tmp_path / "given", tmp_path / "all")
    report, _ = prepared(tmp_path / "given", tmp_path / "some", max_images=120)
    tested = [
        data.open_split(tmp_path / place / "prepared", "test").images for place in ("all", "some")
    ]
    np.testing.assert_array_equal(*tested)
    train = data.read_manifest(tmp_path / "some/prepared")["splits"]["train"]["per_class"]
    assert report["num_images"]["train"] + report["num_images"]["validation"] == 120
    assert min(train) > 15


def test_too_few_images_for_what_is_held_out_are_refused_before_decoding(tmp_path):
    strangers.put(tmp_path / "given", 0, 50)
    with pytest.raises(
        UserError, match=r"test_size \+ dataset\.validation_size = 60: must be less"
    ):
        prepared(tmp_path / "given", tmp_path)
