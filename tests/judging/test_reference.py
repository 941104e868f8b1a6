import numpy as np
import pytest

from dcgan.errors import DataError
from dcgan.judging import reference
from dcgan.judging.sample import Sample


def test_class_shares_add_up():
    assert reference.class_shares(Sample(np.zeros((4, 1)), np.array([0, 2, 2, 2])), 3) == [
        0.25,
        0,
        0.75,
    ]
    assert reference.class_shares(Sample(np.zeros((4, 1))), 0) is None


def test_features_survive_a_round_trip_and_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "test.npy"
    array = np.random.default_rng(0).normal(size=(5, 128)).astype(np.float32)
    reference.save_features(path, array, {"split": "test", "extractor_sha256": "ab"})
    assert (reference.load_features(path, "ab") == array).all()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        reference.load_features(path, "ab")
    with pytest.raises(DataError, match="run the stage"):
        reference.load_features(tmp_path / "validation.npy", "ab")


@pytest.mark.parametrize("description", [{"extractor_sha256": "a" * 64}, {}])
def test_features_of_another_extractor_are_never_compared(tmp_path, description):
    path = tmp_path / "test.npy"
    reference.save_features(path, np.zeros((5, 128), np.float32), description)
    with pytest.raises(
        DataError,
        match=f"test.npy: features of the extractor .*, expected those of {'b' * 16}: run ref",
    ):
        reference.load_features(path, "b" * 64)
