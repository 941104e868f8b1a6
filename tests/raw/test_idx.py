import struct
import tracemalloc

import numpy as np
import pytest

from dcgan.errors import DataError
from dcgan.raw import idx


def test_an_idx_file_gives_its_numbers(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "images").write_bytes(struct.pack(">4I", 0x803, 2, 3, 4) + images.tobytes())
    (tmp_path / "labels").write_bytes(struct.pack(">2I", 0x801, 2) + b"\x05\x09")
    np.testing.assert_array_equal(idx.read(tmp_path / "images"), images)
    assert idx.read(tmp_path / "labels").tolist() == [5, 9]


@pytest.mark.holds("R-66")
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "begins with nothing"),
        (b"\x00\x00\x08", "expected an IDX header"),
        (struct.pack(">4I", 0x803, 2, 3, 4)[:11], "expected an IDX header"),
        (struct.pack(">4I", 0x804, 2, 3, 4) + bytes(24), "begins with 00000804"),
        (struct.pack(">4I", 0xD03, 2, 3, 4) + bytes(96), "begins with 00000d03"),
        (b"<html>not found</html>", "begins with 3c68746d"),
        (
            struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(24),
            "4294967295 x 4294967295 x 4294967295",
        ),
        (struct.pack(">4I", 0x803, 2, 3, 4) + bytes(23), "has 39 bytes"),
        (struct.pack(">4I", 0x803, 2, 3, 4) + bytes(25), "has 41 bytes"),
        (struct.pack(">4I", 0x803, 0, 28, 28), "is empty"),
    ],
)
def test_a_bad_idx_file_is_refused_without_allocating_what_it_claims(tmp_path, content, complaint):
    (tmp_path / "bad").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=complaint):
            idx.read(tmp_path / "bad")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.holds("R-66")
def test_labels_of_another_number_than_images_are_refused(tmp_path):
    (tmp_path / "images").write_bytes(struct.pack(">4I", 0x803, 2, 1, 1) + bytes(2))
    (tmp_path / "labels").write_bytes(struct.pack(">2I", 0x801, 3) + bytes(3))
    with pytest.raises(DataError, match="3 labels, images has 2"):
        idx.check_pair(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(DataError, match="swapped"):
        idx.check_pair(tmp_path / "labels", tmp_path / "images")
