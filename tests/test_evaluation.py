import pytest

from dcgan import evaluation
from dcgan.errors import NoCheckpoint


def test_the_lowest_validation_fid_is_chosen_and_of_equals_the_first():
    rows = [
        {"epoch": 1, "fid_raw": 9.0, "fid_ema": 5.0},
        {"epoch": 2, "fid_raw": 4.0, "fid_ema": 7.0},
        {"epoch": 3, "fid_raw": 8.0, "fid_ema": 4.0},
    ]
    assert evaluation.choose(rows) == (1, "raw")
    assert evaluation.choose(rows[::2]) == (1, "ema")


def test_counts_are_named_as_people_say_them():
    assert [evaluation.count_name(count) for count in (10_000, 50_000, 64, 1500)] == ["10k", "50k", "64", "1500"]


def test_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(NoCheckpoint, match="run train"):
        evaluation.epochs(tmp_path)
    for name in ("epoch-0002", "epoch-0010", "epoch-0001"):
        (tmp_path / name).mkdir()
    assert [path.name for path in evaluation.epochs(tmp_path)] == ["epoch-0001", "epoch-0002", "epoch-0010"]
