import gzip
import hashlib
import json
import struct

import numpy as np
import pytest

from dcgan.errors import DataError
from dcgan.raw import catalog, downloads, records
from dcgan.raw.mnist import FASHION_MNIST, IDX_NAMES
from tests.raw.given import (
    IMAGES,
    LABELS,
    copy_of,
    fashion,
    fetch_from,
    mirror,
    pin,
    raw_of,
    tree,
)
from tests.support.idx_source import write_letters
from tests.support.tiny import (
    section,
)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_give_grey_images_and_labels_of_both_splits(tmp_path, idx_source, name):
    raw = raw_of(tmp_path, name, idx_source)
    assert (len(raw.pool), len(raw.test), raw.said()) == (200, 100, [])
    assert raw.classes == catalog.DATA_SETS[name].classes
    assert np.bincount(raw.pool.labels).tolist() == [20] * 10
    assert raw.pool.labels.dtype == np.int64
    image = raw.pool.read(199)
    assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
    assert raw.pool.name(17) == "train-images-idx3-ubyte[17]"
    assert raw.test.name(0) == "t10k-images-idx3-ubyte[0]"


@pytest.mark.holds("R-67")
def test_a_label_that_one_of_both_files_lacks_is_refused(tmp_path, idx_source):
    dataset = section("mnist", idx_source)
    downloads.fetch(tmp_path / "raw", dataset)
    path = tmp_path / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    manifest[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "raw" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        DataError, match="t10k-labels-idx1-ubyte: has label 10, which train-labels-idx1-ubyte lacks"
    ):
        records.open_raw(tmp_path / "raw", dataset, seed=1)


@pytest.mark.slow
def test_fashion_mnist_is_where_we_say_it_is(tmp_path):
    downloads.fetch(tmp_path / "raw", fashion(None))
    assert {
        name: pin((tmp_path / "raw" / name).read_bytes()) for name in IDX_NAMES
    } == FASHION_MNIST.pins


def test_the_uncompressed_bytes_are_pinned_on_their_own(tmp_path, server, pins):
    server.files[f"{LABELS}.gz"] = gzip.compress(struct.pack(">2I", 0x801, 100) + bytes(100))
    with pytest.raises(DataError, match=f"{LABELS}: sha256 is"):
        fetch_from([mirror(server)], tmp_path / "raw", pins)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (
            LABELS,
            struct.pack(">2I", 0x801, 99) + bytes(99),
            "99 labels, t10k-images-idx3-ubyte has 100 images",
        ),
        (LABELS, struct.pack(">2I", 0x801, 100) + bytes(99), "has 107 bytes, its header"),
        (
            LABELS,
            struct.pack(">2I", 0x801, 100) + bytes(101),
            "holds more than the expected 108 bytes",
        ),
        (LABELS, struct.pack(">4I", 0x803, 100, 1, 1) + bytes(100), "has 3 dimensions, expected 1"),
        (
            IMAGES,
            struct.pack(">4I", 0x803, *[2**32 - 1] * 3) + bytes(100),
            "has 116 bytes, its header",
        ),
        (IMAGES, b"", "begins with nothing"),
    ],
)
def test_files_of_ones_own_must_be_idx_files_that_fit_together(
    tmp_path, idx_source, name, content, complaint
):
    source = copy_of(idx_source, tmp_path / "source")
    (source / f"{name}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=complaint) as caught:
        downloads.fetch(tmp_path / "raw", fashion(str(source)))
    assert "-part-" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_other_labels_are_classes_named_by_their_numbers_and_this_is_said(tmp_path):
    write_letters(tmp_path / "source", labels=(3, 1, 26))
    raw = raw_of(tmp_path, "mnist", tmp_path / "source")
    assert raw.classes == ("1", "3", "26")
    assert raw.pool.labels.tolist() == [1, 0, 2] * 2
    assert raw.test.labels.tolist() == [1, 0, 2]
    assert raw.said() == [
        "the labels are 1 to 26, not 0 to 9: 3 classes, those that occur, named by their numbers"
    ]
    # With fewer than ten of the usual labels too: a class without images is refused later.
    write_letters(tmp_path / "few", labels=(0, 1))
    assert raw_of(tmp_path, "fashion_mnist", tmp_path / "few").classes == ("0", "1")


@pytest.mark.parametrize("place", ["raw", "MNIST/raw"])
def test_files_lie_where_torchvision_keeps_them_or_have_kaggles_names(tmp_path, place):
    write_letters(tmp_path / "plain", labels=(0, 1))
    write_letters(tmp_path / "given" / place, labels=(0, 1))
    write_letters(tmp_path / "given" / "FashionMNIST/raw", labels=(5, 6))
    path = tmp_path / "given" / place / IDX_NAMES[0]
    content = gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
    path.with_name("train-images.idx3-ubyte").write_bytes(content)
    path.with_name(f"{path.name}.gz").unlink()
    raw_of(tmp_path / "a", "mnist", tmp_path / "plain")
    raw_of(tmp_path / "b", "mnist", tmp_path / "given")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
