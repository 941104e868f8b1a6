import hashlib
from dataclasses import replace

import numpy as np
import pytest

from dcgan.errors import DataError
from dcgan.raw import catalog, downloads
from dcgan.raw.cifar10 import CIFAR10
from tests.raw.given import raw_of, read_all, serve
from tests.support.tiny import (
    pictures,
    section,
    write_cifar,
    write_tree,
)


def test_cifar_images_come_in_the_order_of_their_files_with_their_colours(tmp_path):
    write_cifar(tmp_path / "source", each=4)
    raw = raw_of(tmp_path, "cifar10", tmp_path / "source")
    assert (len(raw.pool), len(raw.test)) == (20, 4)
    expected = np.concatenate([pictures(4, seed)[0] for seed in range(5)])
    assert (np.stack(read_all(raw.pool)) == expected).all()
    assert (np.stack(read_all(raw.test)) == pictures(4, 5)[0]).all()
    assert raw.pool.labels.tolist() == [0, 1, 2, 3] * 5
    assert raw.pool.name(7) == "data_batch_2.bin[3]"
    assert raw.classes[3] == "cat"
    with pytest.raises(IndexError):
        raw.pool.read(20)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "has 0 bytes, expected a multiple of 3073"),
        (bytes(3072), "has 3072 bytes, expected a multiple of 3073"),
        (bytes(3073) + b"\x0a" + bytes(3072), "label 1 is 10, expected 0 to 9"),
    ],
)
def test_cifar_files_of_another_size_or_with_other_labels_are_refused(tmp_path, content, complaint):
    source = write_tree(
        tmp_path / "source", {**write_cifar(tmp_path / "tar"), "data_batch_3.bin": content}
    )
    with pytest.raises(DataError, match=rf"data_batch_3\.bin: {complaint}"):
        downloads.fetch(tmp_path / "raw", section("cifar10", source))


def test_cifar_files_of_another_size_than_the_publishers_are_refused(tmp_path, monkeypatch):
    write_cifar(tmp_path / "source")
    server = serve(tmp_path / "source")
    (name,) = server.files
    digests = {name: f"md5:{hashlib.md5(server.files[name]).hexdigest()}"}
    monkeypatch.setitem(
        catalog.DATA_SETS, "cifar10", replace(CIFAR10, mirrors=(server.url,), digests=digests)
    )
    with pytest.raises(DataError, match=r"data_batch_1\.bin: has 12292 bytes, expected 30730000"):
        downloads.fetch(tmp_path / "raw", section("cifar10", None))
    server.close()


@pytest.mark.parametrize(
    "name", ["cifar-10-batches-py/data_batch_1", "cifar-10-python.tar.gz", "data_batch_1"]
)
def test_cifar_as_pickles_is_refused_with_the_version_to_get(tmp_path, name):
    source = write_tree(tmp_path / "source", {name: b"pickle"})
    with pytest.raises(DataError, match=r"pickles, which are never loaded.*cifar-10-binary\.tar"):
        downloads.fetch(tmp_path / "raw", section("cifar10", source))
