import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcgan.errors import DataError
from dcgan.raw import readers
from dcgan.raw.dataset import Unreadable
from tests.raw.given import raw_of
from tests.support.tiny import (
    encoded,
    pictures,
    write_celeba,
    write_cifar,
    write_lsun,
    write_svhn,
    write_tree,
)


@pytest.mark.parametrize("name", ["cifar10", "svhn", "celeba", "lsun", "folder"])
def test_eight_threads_read_what_one_reads(tmp_path, name):
    source = tmp_path / "source"
    if name == "folder":
        write_tree(
            source,
            {
                f"{number}.png": encoded(image, "PNG")
                for number, image in enumerate(pictures(40)[0])
            },
        )
    else:
        {"cifar10": write_cifar, "svhn": write_svhn, "celeba": write_celeba, "lsun": write_lsun}[
            name
        ](source)
    pool = raw_of(tmp_path, name, source).pool
    alone = [np.asarray(pool.read(index)).tobytes() for index in range(len(pool))]
    order = list(range(len(pool))) * 50
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda index: np.asarray(pool.read(index)).tobytes(), order))
    assert together == [alone[index] for index in order]


def test_images_of_several_files_are_counted_through_and_named_by_their_file():
    parts = [
        (f"{name}.bin", np.full((count, 2, 2), count, np.uint8), np.full(count, count))
        for name, count in (("a", 3), ("b", 1))
    ]
    records = readers.ArrayRecords(parts)
    assert (len(records), records.labels.tolist()) == (4, [3, 3, 3, 1])
    assert [records.name(index) for index in (2, 3)] == ["a.bin[2]", "b.bin[0]"]
    assert [int(records.read(index)[0, 0]) for index in (2, 3)] == [3, 1]
    for index in (-1, 4):
        with pytest.raises(IndexError):
            records.read(index)


def test_an_image_without_bytes_in_the_zip_is_unreadable(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("0", b"good")
        archive.writestr("1", b"")
    opened = readers.OpenZip(tmp_path / "images.zip")
    records = readers.ZipRecords(opened, [("a.png", "0"), ("b.png", "1")])
    assert (records.read(0), records.name(0), records.labels) == (b"good", "a.png", None)
    with pytest.raises(Unreadable, match="is empty"):
        records.read(1)


def test_a_file_that_is_missing_or_no_zip_is_refused_by_its_path(tmp_path):
    with pytest.raises(DataError, match=r"none\.bin: cannot be read"):
        readers.size_of(tmp_path / "none.bin")
    (tmp_path / "images.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"images\.zip: is no zip file"):
        readers.OpenZip(tmp_path / "images.zip")
