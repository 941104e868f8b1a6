from pathlib import Path

import pytest

from dcgan import files
from dcgan.config import trained
from dcgan.errors import DataError
from dcgan.training import trajectory

SETTINGS = {"seed": 1, "generator": {"z_dim": 100}, "discriminator": {"init": "glorot"}}
TRAINING = {
    "format": 1, "fingerprint": "a1b2-5", "dataset": "toys", "data_sha256": "0" * 64, "seed": 1,
    "epochs": 5, "device": "cpu", "precision": "float32", "settings": SETTINGS,
}  # fmt: skip


def write(folder: Path, content: object) -> Path:
    files.write_json(folder / "run.json", content)
    return folder / "run.json"


def test_what_a_training_noted_is_read(tmp_path):
    assert trained.read(write(tmp_path, TRAINING)) == TRAINING


def test_the_format_is_the_one_that_the_training_writes():
    assert trained.FORMAT == trajectory.RUN_FORMAT


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([], "has no settings of its training"),
        ("x", "has no settings of its training"),
        ({key: TRAINING[key] for key in TRAINING if key != "settings"}, "has no settings of its"),
        ({**TRAINING, "settings": [1]}, "has no settings of its training"),
        ({**TRAINING, "format": 2}, "format is 2, expected 1"),
        ({**TRAINING, "format": None}, "format is None, expected 1"),
        ({**TRAINING, "settings": {}}, "has no settings.generator.z_dim"),
        ({**TRAINING, "settings": {**SETTINGS, "discriminator": 7}}, "has no settings.discr"),
        ({**TRAINING, "fingerprint": None}, "has no fingerprint"),
        ({**TRAINING, "epochs": "5"}, "has no epochs"),
        ({"format": 1, "settings": SETTINGS}, "has no fingerprint"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, bad, words):
    with pytest.raises(DataError, match=rf"run\.json: {words}.*: run train again"):
        trained.read(write(tmp_path, bad))


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"run\.json: missing: run the stage"):
        trained.read(tmp_path / "run.json")
