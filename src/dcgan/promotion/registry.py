"""The registry: versions of one model a data set, read back before they count, and aliases that say which of them is in use.

mlflow is imported only when a store is opened.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dcgan.errors import DataError, EnvironmentProblem, NoCheckpoint, UserError
from dcgan.promotion import bundle
from dcgan.promotion import versions as stored
from dcgan.promotion.versions import Version as Version
from dcgan.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient


Kind = Literal["promoted", "rolled back"]
ROLLED_BACK = "rolled back: "  # begins the reason of a rollback; older notes have no other sign


@dataclass(frozen=True)
class Move:
    """One time that an alias was set to a version."""

    alias: str
    version: int
    before: int | None  # the version it was taken from; None: it did not exist
    reason: str
    at: str  # UTC, ISO 8601
    kind: Kind


def model_name(dataset: str) -> str:
    """The registered model of a data set; also its experiment's name."""
    return f"dcgan-{dataset}"


def register(folder: Path, *, dataset: str, fingerprint: str, tags: Mapping[str, str]) -> Version:
    """Upload a model folder to the run of its training, make a version of it, and read that back.

    The same generator of the same training is registered once: asked again, the version there is
    comes back, checked once more.

    Args:
        folder: from `serving.write_model`.
        dataset: names the model.
        fingerprint: of the training; a run is made where there is none.
        tags: of the version; fingerprint, generator_sha256 and manifest_sha256 are added.

    Raises:
        NoCheckpoint, DataError: `folder` is not as it should be.
        EnvironmentProblem: the store fails, or what it gives back is not what was sent.
    """
    sha256 = bundle.check(folder)
    own = {
        "fingerprint": fingerprint,
        "generator_sha256": bundle.manifest(folder)[bundle.GENERATOR],
        "manifest_sha256": sha256,
    }
    name, place = model_name(dataset), f"models/{sha256[:16]}"
    with stored.opened(f"register {name}") as client:
        if found := _registered(client, name, own):
            _read_back(client, found)
            return found
        with store.lock():
            run_id = _run(client, name, fingerprint)
        with tempfile.TemporaryDirectory() as checked:
            bundle.copy(folder, Path(checked))
            client.log_artifacts(run_id, checked, place)
        with store.lock():
            if found := _registered(client, name, own):  # by somebody else, meanwhile
                return found
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
            made = stored.of(
                client.create_model_version(name, source, run_id, tags={**tags, **own})
            )
        try:
            _read_back(client, made)
        except (UserError, OSError):
            client.delete_model_version(name, str(made.number))
            raise
        return made


def alias(dataset: str, name: str) -> Version | None:
    """The version that an alias, `champion` or `challenger`, points at; None where there is no such model or alias."""
    with stored.opened(f"read {model_name(dataset)}@{name}") as client:
        try:
            return stored.by_alias(client, model_name(dataset), name)
        except NoCheckpoint:
            return None


def set_alias(
    dataset: str,
    name: str,
    version: int,
    reason: str,
    *,
    expected: int | None,
    kind: Kind = "promoted",
) -> None:
    """Point an alias at a version, if it still points where the caller saw it, and read it back.

    The move is noted in a tag of the version first: a process killed in between leaves a note of a
    move that was not made, which a reader of `history` can see; the other way round a note would be
    missing.

    Args:
        dataset: names the model.
        name: of the alias.
        version: its new target.
        reason: why, for people.
        expected: the version that it points at now; None: it does not exist.
        kind: of the move.

    Raises:
        NoCheckpoint: there is no such version.
        EnvironmentProblem: somebody else moved it in between, or the store fails. Processes of one
            machine wait for each other; between machines nothing is locked: of two at the same
            instant the later stays, and the earlier may find that on reading back.
    """
    model = model_name(dataset)
    with stored.opened(f"set {model}@{name}") as client, store.lock():
        _expect(client, model, name, expected)
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        key = re.sub(r"[^\d]", "", at.partition("+")[0])
        note = json.dumps(
            {"alias": name, "before": expected, "reason": reason, "at": at, "kind": kind},
            sort_keys=True,
        )
        stored.by_number(client, model, version)
        client.set_model_version_tag(model, str(version), f"moved.{key}", note)
        client.set_registered_model_alias(model, name, str(version))
        _expect(client, model, name, version)


def versions(dataset: str) -> list[Version]:
    """All versions of a data set's model, newest first; none where there is no such model."""
    with stored.opened(f"list {model_name(dataset)}") as client:
        return stored.every(client, model_name(dataset))


def history(dataset: str, name: str = "champion") -> list[Move]:
    """Every move of an alias, newest first, as noted by `set_alias`; moves made by hand in MLflow are not noted.

    The first of them says where the alias stood before, if its version is the one that the alias
    points at.
    """
    moves = []
    for version in versions(dataset):
        for key, text in version.tags.items():
            if key.startswith("moved."):
                note = json.loads(text)
                if note["alias"] == name:
                    reason = note["reason"]
                    kind = "rolled back" if reason.startswith(ROLLED_BACK) else "promoted"
                    kind = note.get("kind", kind)
                    moves.append(
                        Move(name, version.number, note["before"], reason, note["at"], kind)
                    )
    return sorted(moves, key=lambda move: move.at, reverse=True)


def fetch(uri: str, folder: Path) -> Path:
    """Bring a model to a folder of its own, every sha256 checked.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/3`, `runs:/ID/path`, a model folder, or an exported
            generator (`models/generator.safetensors`; a discriminator beside it comes along).
        folder: where; empty, or not there yet. The networks are at `bundle.GENERATOR` and
            `bundle.DISCRIMINATOR` in it.

    Returns:
        `folder`.

    Raises:
        ConfigError: the address is of no known kind, or there is something at `folder`.
        NoCheckpoint: no such model, version, alias, run or file.
        DataError: something is damaged, or should not be there.
        EnvironmentProblem: the store fails.
    """
    with bundle.making(folder) as temporary:
        if not re.match(r"[a-zA-Z][\w+.-]*:", uri):
            bundle.copy(Path(uri).expanduser(), temporary)
            if not (temporary / bundle.MANIFEST).exists():
                bundle.check_networks(temporary)
            return folder
        with stored.opened(f"fetch {uri}") as client:
            source, expected = stored.source(client, uri)
            stored.download(source, temporary)
        try:
            bundle.check(temporary, expected)
        except (DataError, NoCheckpoint) as error:
            # It names the files where they lie for the moment.
            raise type(error)(str(error).replace(str(temporary), uri)) from error
    return folder


def _run(client: "MlflowClient", experiment: str, fingerprint: str) -> str:
    """The newest run of a training, made where there is none. Needs the lock."""
    found = client.get_experiment_by_name(experiment)
    if found:
        number = found.experiment_id
    else:
        place = store.artifacts(store.location())
        number = client.create_experiment(
            experiment, artifact_location=(place / experiment).as_uri() if place else None
        )
    same = f"tags.fingerprint = '{fingerprint}'"
    runs = client.search_runs(
        [number], same, max_results=1, order_by=["attributes.start_time DESC"]
    )
    if runs:
        return str(runs[0].info.run_id)
    run_id = client.create_run(
        number, run_name=f"registered-{fingerprint[:8]}", tags={"fingerprint": fingerprint}
    ).info.run_id
    client.set_terminated(run_id)
    return str(run_id)


def _registered(client: "MlflowClient", name: str, own: Mapping[str, str]) -> Version | None:
    keys = ("fingerprint", "generator_sha256")
    every = stored.every(client, name)
    return next(
        (found for found in every if all(found.tags.get(key) == own[key] for key in keys)), None
    )


def _read_back(client: "MlflowClient", version: Version) -> None:
    """Download a version and compare every sha256."""
    with tempfile.TemporaryDirectory() as folder:
        stored.download(stored.files_of(client, version), Path(folder))
        bundle.check(Path(folder), version.tags.get("manifest_sha256"))


def _expect(client: "MlflowClient", model: str, name: str, expected: int | None) -> None:
    """Refuse an alias that points elsewhere."""
    try:
        found = stored.by_alias(client, model, name).number
    except NoCheckpoint:
        found = None
    if found != expected:
        raise EnvironmentProblem(
            f"{model}@{name}: points at {_shown(found)}, expected {_shown(expected)}: somebody else moved it; run again"
        )


def _shown(number: int | None) -> str:
    return "nothing" if number is None else f"version {number}"
