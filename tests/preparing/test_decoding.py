"""Decoding goes on where it stopped, and takes no more memory for more images."""

import io

import numpy as np
import pytest
from PIL import Image

from dcgan import data
from dcgan.errors import DataError
from dcgan.preparing import preparation
from dcgan.raw.dataset import Raw
from tests.support import memory
from tests.support.given_records import (
    REASONS,
    Given,
    contents,
    dataset,
    drawn,
    given,
    run,
    with_bad,
)


def test_what_pillow_warns_of_is_not_printed(tmp_path, recwarn):
    file = io.BytesIO()
    Image.fromarray(drawn(1)[0]).save(
        file, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0"
    )
    run(
        with_bad({4: file.getvalue()}),
        tmp_path,
        test_size=10,
        validation_size=10,
        on_bad_image="skip",
    )
    assert not [warning for warning in recwarn if "PIL" in warning.filename]
    with pytest.warns(UserWarning, match="EXIF"):
        Image.open(file).getexif()


def prepare_many(folder):
    """A thousand images of 49 kB, in shards of a hundred."""
    data.SHARD_IMAGES = 100  # of this process, which ends with it
    image = np.arange(128 * 128 * 3, dtype=np.uint32).astype(np.uint8).reshape(128, 128, 3)
    raw = Raw(Given([image] * 1000), None, ())
    run(raw, folder, image_size=128, channels=3, test_size=100, validation_size=100)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    assert memory.peak(prepare_many, tmp_path) < 10_000_000


@pytest.mark.parametrize("dies_in", ["pool", "test"])
def test_a_killed_run_goes_on_with_the_first_shard_that_is_not_done(tmp_path, monkeypatch, dies_in):
    monkeypatch.setattr(data, "SHARD_IMAGES", 30)
    bad = {5: b"", 100: b"<html>"}

    def raw() -> Raw:
        made = given()
        for position, item in bad.items():
            made.pool.items[position] = item
        return made

    first = raw()
    getattr(first, dies_in).dies_at = 70
    with pytest.raises(SystemError):
        run(first, tmp_path, on_bad_image="skip")
    assert not (tmp_path / "prepared").exists()
    # A kill of the machine may also cut a file short.
    with open(sorted((tmp_path / "scratch/here").glob("facts-*"))[-1], "r+b") as file:
        file.truncate(100)
    second = raw()
    seen: list[tuple[int, int]] = []
    report, _ = preparation.prepare(
        second,
        tmp_path / "prepared",
        tmp_path / "scratch/here",
        dataset(on_bad_image="skip"),
        7,
        lambda *now: seen.append(now),
    )
    done = {"pool": (30, 0), "test": (200, 30)}[dies_in]
    assert sorted(second.pool.reads) == list(range(done[0], 200))
    assert sorted(second.test.reads) == list(range(done[1], 100))
    assert seen[-1] == (300, 300)
    whole = run(raw(), tmp_path / "whole", on_bad_image="skip")
    assert report == whole
    assert [name.partition(" (")[0] for name in report["bad_first"]] == ["image 5", "image 100"]
    assert contents(tmp_path / "prepared") == contents(tmp_path / "whole/prepared")


def test_a_refused_run_goes_on_where_it_stopped_when_bad_images_are_to_be_skipped(tmp_path):
    with pytest.raises(DataError):
        run(with_bad(), tmp_path, test_size=10, validation_size=10)
    raw = with_bad()
    assert (
        run(raw, tmp_path, test_size=10, validation_size=10, on_bad_image="skip")["bad_first"]
        == REASONS
    )
    assert not raw.pool.reads


def test_every_image_is_read_once(tmp_path):
    raw = given()
    run(raw, tmp_path, duplicates="near")
    assert set(raw.pool.reads.values()) == set(raw.test.reads.values()) == {1}
