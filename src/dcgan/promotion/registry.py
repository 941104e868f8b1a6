"""The registry: one model for each data set, its versions, and aliases for those in use.

A version counts only after it was read back.

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
from dcgan.promotion import bundle, versions
from dcgan.promotion.versions import Version
from dcgan.tracking import names, store

if TYPE_CHECKING:
    from mlflow import MlflowClient


# The description of a registered model.
ABOUT = """\
DCGAN generators of one data set. The alias `champion` is the one in use; the gate moves it, and \
each version's description says why. Draw images from it: \
`python -m pipeline sample --model models:/{name}@champion`."""

Kind = Literal["promoted", "rolled back"]
UPLOAD_SECONDS = 900  # for another process that registers
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


def register(
    folder: Path,
    *,
    dataset: str,
    fingerprint: str,
    tags: Mapping[str, str],
    description: str = "",
) -> Version:
    """Upload a model folder, make a version of it, and read that back.

    It goes to the logged model of its checkpoint, in the run of its training: so the version's page
    in MLflow shows the checkpoint's figures. The same generator of the same training is registered
    once: asked again, this returns the existing version, after it has read it back again.

    Args:
        folder: from `serving.write_model`.
        dataset: names the model.
        fingerprint: of the training; a run is made where it has none.
        tags: of the version; fingerprint, generator_sha256 and manifest_sha256 are added.
        description: of the version, Markdown.

    Raises:
        NoCheckpoint, DataError: `folder` is not as it should be.
        EnvironmentProblem: the store fails, or returns other bytes than were sent.
    """
    sha256 = bundle.check(folder)
    own = {
        "fingerprint": fingerprint,
        "generator_sha256": bundle.manifest(folder)[bundle.GENERATOR],
        "manifest_sha256": sha256,
    }
    name = model_name(dataset)
    with versions.opened(f"register {name}") as client:
        if existing := _registered(client, name, own):
            _read_back(client, existing)
            return existing
        # Of two processes that register the same weights with other cards, the second must not
        # write over the first one's files.
        with tempfile.TemporaryDirectory() as checked, store.lock("register", UPLOAD_SECONDS):
            bundle.copy(folder, Path(checked))
            if existing := _registered(client, name, own):  # by another process, meanwhile
                return existing
            with store.lock():
                run_id = _run_of(client, name, fingerprint)
                model_id = _logged_model(client, run_id, own["generator_sha256"])
            client.log_model_artifacts(model_id, checked)
            with store.lock(), store.as_default():
                if not client.search_registered_models(f"name = '{name}'"):
                    client.create_registered_model(name, description=ABOUT.format(name=name))
                made = versions.of(
                    client.create_model_version(
                        name,
                        f"models:/{model_id}",
                        run_id,
                        tags={**tags, **own},
                        description=description,
                        model_id=model_id,
                    )
                )
        try:
            _read_back(client, made)
        except (UserError, OSError):
            client.delete_model_version(name, str(made.number))
            raise
        return made


def alias(dataset: str, name: str) -> Version | None:
    """The version that an alias points at; None where the model or the alias does not exist.

    Args:
        dataset: names the model.
        name: of the alias, `champion` or `challenger`.
    """
    with versions.opened(f"read {model_name(dataset)}@{name}") as client:
        try:
            return versions.by_alias(client, model_name(dataset), name)
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

    The move is noted in a tag of the version first. A process killed in between leaves a note of a
    move that was not made, which a reader of `history` can see; in the other order the note would
    be missing.

    Args:
        dataset: names the model.
        name: of the alias.
        version: its new target.
        reason: why, for people.
        expected: the version that it points at now; None: it does not exist.
        kind: of the move.

    Raises:
        NoCheckpoint: the version does not exist.
        EnvironmentProblem: another process moved it in between, or the store fails. Processes of
            one machine wait for each other; between machines nothing is locked: of two moves at
            the same instant the later one stays, and the earlier may notice when it reads back.
    """
    model = model_name(dataset)
    with versions.opened(f"set {model}@{name}") as client, store.lock():
        _expect(client, model, name, expected)
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        key = re.sub(r"[^\d]", "", at.partition("+")[0])
        note = json.dumps(
            {"alias": name, "before": expected, "reason": reason, "at": at, "kind": kind},
            sort_keys=True,
        )
        versions.by_number(client, model, version)
        client.set_model_version_tag(model, str(version), f"moved.{key}", note)
        client.set_registered_model_alias(model, name, str(version))
        _expect(client, model, name, version)


def all_versions(dataset: str) -> list[Version]:
    """All versions of a data set's model, newest first; none where the model does not exist."""
    with versions.opened(f"list {model_name(dataset)}") as client:
        return versions.every(client, model_name(dataset))


def history(dataset: str, name: str = "champion") -> list[Move]:
    """Every move of an alias, newest first, as noted by `set_alias`.

    Moves made by hand in MLflow are not noted. If the newest note's version is the one that the
    alias points at, its `before` is the version before this one.
    """
    moves = []
    for version in all_versions(dataset):
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
    """Copy a model into a folder of its own, every sha256 checked.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/3`, `runs:/ID/path`, a model folder, or an exported
            generator (`models/generator.safetensors`; a discriminator beside it comes along).
        folder: where; empty, or not there yet. The networks are at `bundle.GENERATOR` and
            `bundle.DISCRIMINATOR` in it.

    Returns:
        `folder`.

    Raises:
        ConfigError: the address is of an unknown kind, or `folder` is not empty.
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
        with versions.opened(f"fetch {uri}") as client:
            source, expected = versions.source(client, uri)
            versions.download(source, temporary)
        try:
            bundle.check(temporary, expected)
        except (DataError, NoCheckpoint) as error:
            # The message names the temporary folder.
            raise type(error)(str(error).replace(str(temporary), uri)) from error
    return folder


def _run_of(client: "MlflowClient", model: str, fingerprint: str) -> str:
    """Id of the newest run of a training, which is made where it is missing. Needs the lock."""
    experiment = store.experiment(client, store.location(), model)
    run = store.newest_run(client, [experiment], f"tags.fingerprint = '{fingerprint}'")
    if run is None:
        tags = {"fingerprint": fingerprint}
        run = client.create_run(experiment, run_name=f"registered-{fingerprint[:8]}", tags=tags)
        client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _logged_model(client: "MlflowClient", run_id: str, sha256: str) -> str:
    """Id of a run's model of these weights, which is made where it is missing. Needs the lock."""
    from mlflow.entities import LoggedModelStatus

    experiment = client.get_run(run_id).info.experiment_id
    of_weights = f"source_run_id = '{run_id}' AND tags.{names.SHA256} = '{sha256}'"
    if models := client.search_logged_models([experiment], of_weights):
        return str(models[0].model_id)
    made = client.create_logged_model(
        experiment, f"registered-{sha256[:8]}", run_id, tags={names.SHA256: sha256}
    )
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    return str(made.model_id)


def _registered(client: "MlflowClient", name: str, own: Mapping[str, str]) -> Version | None:
    """The version with the same generator of the same training."""
    for version in versions.every(client, name):
        if all(version.tags.get(key) == own[key] for key in ("fingerprint", "generator_sha256")):
            return version
    return None


def _read_back(client: "MlflowClient", version: Version) -> None:
    """Download a version and compare every sha256."""
    with tempfile.TemporaryDirectory() as folder:
        versions.download(versions.files_of(client, version), Path(folder))
        bundle.check(Path(folder), version.tags.get("manifest_sha256"))


def _expect(client: "MlflowClient", model: str, name: str, expected: int | None) -> None:
    """Refuse an alias that points elsewhere."""
    try:
        current = versions.by_alias(client, model, name).number
    except NoCheckpoint:
        current = None
    if current != expected:
        raise EnvironmentProblem(
            f"{model}@{name}: points at {_shown(current)}, expected {_shown(expected)}:"
            " another process moved it; run again"
        )


def _shown(number: int | None) -> str:
    return "nothing" if number is None else f"version {number}"
