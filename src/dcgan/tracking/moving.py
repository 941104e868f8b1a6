"""A local store that was moved or copied with its folder: MLflow keeps absolute paths in it.

The artifacts lie beside the database, so what it says of another folder `.mlflow/artifacts` means
the one that is there now.
"""

import contextlib
import re
import sqlite3
from pathlib import Path

# Where MLflow keeps addresses of artifacts, by table.
COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
OTHER = re.compile(r"(file://.*?/\.mlflow/artifacts)(?=/|$)")


def follow(database: Path, artifacts: Path, timeout: float) -> list[str]:
    """Let the database say where its artifacts are now.

    Args:
        database: the sqlite file of the store.
        artifacts: the folder beside it.
        timeout: seconds that another writer may hold the store.

    Returns:
        The addresses that were there before; none where nothing has moved.
    """
    here = artifacts.absolute().as_uri()
    with (
        contextlib.closing(sqlite3.connect(database, timeout=timeout)) as store,
        store,  # one transaction
    ):
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
        if "experiments" not in tables:  # a new file
            return []
        places = store.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        found = {match[1] for (place,) in places if place and (match := OTHER.match(place))}
        left = sorted(found - {here})
        for old in left:
            for table in COLUMNS.keys() & tables:
                for column in COLUMNS[table]:
                    store.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608  # names of ours
                        f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
        return left
