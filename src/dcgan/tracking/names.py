"""Names that MLflow takes, and those that it gives a meaning of its own."""

import hashlib
import re
from pathlib import PurePosixPath

NOTE = "mlflow.note.content"  # the tag that MLflow shows as a run's description
SHA256 = "weights_sha256"  # the tag of a logged model that says which weights it is
RUN_ID = "{run_id}"  # in a description: the run's own id, which MLflow gives it when it is sent
KEY, FILE = r"\w .:-", r"\w .@,()~+=-"  # what MLflow allows in a name between slashes


def safe(name: str, allowed: str = KEY, limit: int = 200) -> str:
    """The name as MLflow takes it; it may contain folders, but does not lead out of its own.

    A changed name ends in a hash of the original, so that two different names stay different.

    Args:
        name: of a metric, a parameter, a tag; or of a file.
        allowed: KEY or FILE, the characters that stay.
        limit: characters, at least 20.
    """
    parts = [re.sub(rf"[^{allowed}]", "_", part) for part in name.split("/")]
    same = "/".join("_" if part.strip(" .") == "" else part for part in parts)
    if same == name and len(name) <= limit:
        return name
    suffix = PurePosixPath(same).suffix[:10]
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8]
    return f"{same.removesuffix(suffix)[: limit - 9 - len(suffix)]}-{digest}{suffix}"


def of_run(dataset: str, fingerprint: str) -> str:
    """The name of a training's run: the column `mlflow_run` of `dvc exp show`.

    Args:
        dataset: name of the data set.
        fingerprint: 16 digits, then `-` and the number of epochs, which the name keeps.
    """
    return f"{dataset}-{fingerprint[:8]}{fingerprint[16:]}"
