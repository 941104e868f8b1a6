"""results/train/run.json: which training it was, and the settings that it had.

Whoever tells about a training reads them here, never in today's params.yaml.
"""

from pathlib import Path
from typing import Any

from dcgan import files
from dcgan.config import keys
from dcgan.errors import DataError

RUN = Path("results/train/run.json")
FORMAT = 1  # as training/trajectory.py writes it
# The keys that are read, and their types.
READ = (
    *((key, str) for key in ("fingerprint", "dataset", "data_sha256", "device", "precision")),
    ("epochs", int), ("settings.generator.z_dim", int), ("settings.discriminator.init", str),
)  # fmt: skip


def read(path: Path = RUN) -> dict[str, Any]:
    """The content of run.json.

    Returns:
        `fingerprint`, `dataset`, `data_sha256`, `seed`, `epochs`, `device`, `precision`, and under
        `settings` the sections of params.yaml with which the training ran.

    Raises:
        DataError: the file is missing, a key is missing or of another type, or the format is not
            1; a file of before there were formats has no settings.
    """
    training = files.read_json(path)
    if not isinstance(training, dict) or not isinstance(training.get("settings"), dict):
        raise DataError(f"{path}: has no settings of its training: run train again")
    if training.get("format") != FORMAT:
        raise DataError(
            f"{path}: format is {str(training.get('format'))[:20]}, expected {FORMAT}:"
            " run train again"
        )
    values = keys.leaves(training)
    for key, kind in READ:
        if not isinstance(values.get(key), kind):
            raise DataError(f"{path}: has no {key}: run train again")
    return training
