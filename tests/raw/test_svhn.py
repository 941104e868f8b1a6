import numpy as np
import pytest
from scipy.io import savemat

from dcgan.errors import DataError
from dcgan.raw import downloads
from tests.raw.given import raw_of, read_all
from tests.support.tiny import pictures, section, write_svhn


def test_svhn_images_come_with_label_10_as_the_digit_0(tmp_path):
    write_svhn(tmp_path / "source")
    raw = raw_of(tmp_path, "svhn", tmp_path / "source")
    assert (np.stack(read_all(raw.pool)) == pictures(12, 0)[0]).all()
    assert (np.stack(read_all(raw.test)) == pictures(11, 1)[0]).all()
    assert raw.pool.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert raw.test.name(3) == "test_32x32.mat[3]"


def svhn_values(**changes):
    images, _ = pictures(5)
    return {
        "X": images.transpose(1, 2, 3, 0),
        "y": np.arange(1, 6, dtype=np.uint8)[:, None],
        **changes,
    }


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (svhn_values(y=np.full((5, 1), 11, np.uint8)), "label 0 is 11, expected 1 to 10"),
        (
            svhn_values(y=np.array([[1], [2], [0], [3], [4]], np.uint8)),
            "label 2 is 0, expected 1 to 10",
        ),
        (svhn_values(y=np.full((5, 1), -1, np.int8)), "label 0 is -1"),
        (svhn_values(y=np.ones((5, 1))), "labels are float64, expected integers"),
        (svhn_values(y=np.ones((4, 1), np.uint8)), "y is 4 x 1, expected 5 x 1"),
        (svhn_values(X=np.zeros((32, 32, 3, 5))), "X is double 32 x 32 x 3 x 5"),
        (svhn_values(X=np.zeros((5, 32, 32, 3), np.uint8)), "X is uint8 5 x 32 x 32 x 3"),
        ({"y": np.ones((5, 1), np.uint8)}, "X is nothing missing"),
        ({"X": svhn_values()["X"]}, "y is missing"),
    ],
)
def test_matlab_files_of_another_shape_or_with_other_labels_are_refused(
    tmp_path, values, complaint
):
    write_svhn(tmp_path / "source")
    savemat(tmp_path / "source" / "test_32x32.mat", values)
    with pytest.raises(DataError, match=rf"test_32x32\.mat: {complaint}"):
        downloads.fetch(tmp_path / "raw", section("svhn", tmp_path / "source"))
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("keep", [0, 50, 127, 200, 2000, -5])
def test_cut_matlab_files_are_refused(tmp_path, keep):
    write_svhn(tmp_path / "source")
    path = tmp_path / "source" / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train_32x32\.mat: "):
        downloads.fetch(tmp_path / "raw", section("svhn", tmp_path / "source"))
