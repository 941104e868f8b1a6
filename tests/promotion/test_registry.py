"""The registry: what is registered comes back, aliases move as seen, hostile files are refused."""

import json
import threading
from pathlib import Path

import pytest

from dcgan import files
from dcgan.errors import ConfigError, DataError, EnvironmentProblem, NoCheckpoint
from dcgan.networks import exports, sampling
from dcgan.promotion import bundle, registry, serving, versions
from dcgan.tracking import names, runs, store
from tests.promotion.conftest import add, stored


def test_the_files_of_a_version_are_those_that_were_registered(root: Path, made: Path) -> None:
    version = add(made / "first")
    assert (version.name, version.number) == ("dcgan-toys", 1)
    assert version.tags["fid"] == "5.2" and version.tags["fingerprint"] == "aa"
    assert version.tags["generator_sha256"] == files.sha256(made / "first" / bundle.GENERATOR)
    fetched = registry.fetch("models:/dcgan-toys/1", root / "fetched")
    assert bundle.listed(fetched) == bundle.listed(made / "first")
    assert all(
        (fetched / name).read_bytes() == (made / "first" / name).read_bytes()
        for name in bundle.listed(fetched)
    )
    assert bundle.check(fetched) == version.tags["manifest_sha256"]


def test_a_version_belongs_to_the_run_of_its_training(root: Path, made: Path) -> None:
    client = store.connect()
    experiment = client.create_experiment(
        "dcgan-toys", artifact_location=(root / ".mlflow/artifacts/dcgan-toys").as_uri()
    )
    run_id = client.create_run(experiment, tags={"fingerprint": "aa"}).info.run_id
    assert add(made / "first").run_id == run_id
    other = add(made / "second", fingerprint="bb")
    assert other.run_id not in (run_id, None)
    logged = client.get_run(other.run_id)
    assert logged.data.tags["fingerprint"] == "bb" and logged.info.status == "FINISHED"


def test_a_version_is_made_from_the_logged_model_of_its_checkpoint(root: Path, made: Path) -> None:
    sha256 = files.sha256(made / "first" / bundle.GENERATOR)
    with runs.open_run("aa", dataset="toys") as run:
        for weights, epoch in ((sha256, 3), ("b" * 64, 4)):
            run.log_checkpoint(
                f"epoch-{epoch}", weights, epoch, {"checkpoint/fid": 5.25}, {}, ("toys", "c" * 64)
            )
    client = store.connect()
    version = client.get_model_version("dcgan-toys", str(add(made / "first").number))
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert (model.name, model.tags[names.SHA256], str(model.status)) == ("epoch-3", sha256, "READY")
    assert [(metric.key, metric.value) for metric in model.metrics] == [("checkpoint/fid", 5.25)]
    # Without one, as where the run was logged elsewhere, one is made.
    version = client.get_model_version("dcgan-toys", str(add(made / "second").number))
    assert client.get_logged_model(version.source.removeprefix("models:/")).source_run_id


def test_a_version_of_an_older_registry_is_still_read(root: Path, made: Path) -> None:
    """It lies among its run's artifacts."""
    client = store.connect()
    experiment = store.experiment(client, store.location(), "dcgan-toys")
    run_id = client.create_run(experiment, tags={"fingerprint": "aa"}).info.run_id
    client.log_artifacts(run_id, str(made / "first"), "models/aa")
    client.create_registered_model("dcgan-toys")
    tags = {
        "fingerprint": "aa",
        "generator_sha256": files.sha256(made / "first" / bundle.GENERATOR),
        "manifest_sha256": bundle.check(made / "first"),
    }
    source = f"{client.get_run(run_id).info.artifact_uri}/models/aa"
    client.create_model_version("dcgan-toys", source, run_id, tags=tags)
    fetched = registry.fetch("models:/dcgan-toys/1", root / "fetched")
    assert bundle.check(fetched) == tags["manifest_sha256"]
    assert add(made / "first").number == 1
    assert add(made / "second").number == 2


def test_the_same_generator_of_the_same_training_is_registered_once(root: Path, made: Path) -> None:
    first = add(made / "first")
    assert add(made / "first") == first
    assert add(made / "first", fingerprint="bb").number == 2
    assert add(made / "second").number == 3
    assert [version.number for version in registry.all_versions("toys")] == [3, 2, 1]
    assert registry.all_versions("shoes") == []


def test_another_card_for_the_same_generator_leaves_the_version_as_it_is(
    root: Path, made: Path, tmp_path: Path
) -> None:
    first = add(made / "first")
    again = serving.write_model(tmp_path / "again", made / "first-exports", "# another card\n")
    assert add(again) == first
    assert (
        registry.fetch("models:/dcgan-toys/1", root / "fetched") / "README.md"
    ).read_text() == "# card first\n"


def test_a_version_that_cannot_be_read_back_is_none(
    root: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = versions.download

    def damaging(source: str, folder: Path) -> None:
        download(source, folder)
        (folder / bundle.GENERATOR).write_bytes(b"other")

    monkeypatch.setattr(versions, "download", damaging)
    with pytest.raises(DataError, match=r"generator\.safetensors: sha256"):
        add(made / "first")
    assert registry.all_versions("toys") == []


def test_registering_again_looks_at_the_files_again(root: Path, made: Path) -> None:
    path = stored(root, add(made / "first")) / bundle.GENERATOR
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"generator\.safetensors: sha256"):
        add(made / "first")


def test_an_alias_moves_only_from_where_it_was_seen(root: Path, made: Path) -> None:
    assert registry.alias("toys", "champion") is None
    first, second = add(made / "first"), add(made / "second")
    registry.set_alias("toys", "champion", first.number, "the first", expected=None)
    champion = registry.alias("toys", "champion")
    assert champion and champion.number == 1
    for seen in (None, 2):
        with pytest.raises(
            EnvironmentProblem,
            match=r"points at version 1, expected (nothing|version 2): another process moved it",
        ):
            registry.set_alias("toys", "champion", second.number, "too late", expected=seen)
    registry.set_alias("toys", "champion", second.number, "better", expected=1)
    champion = registry.alias("toys", "champion")
    assert champion and champion.number == 2 and registry.alias("toys", "challenger") is None


@pytest.mark.holds("R-79")
def test_of_many_that_saw_the_same_champion_one_moves_it(root: Path, made: Path) -> None:
    add(made / "first")
    add(made / "second")
    registry.set_alias("toys", "champion", 1, "the first", expected=None)
    outcomes: list[str] = []

    def move(number: int) -> None:
        try:
            registry.set_alias("toys", "champion", 2, f"job {number}", expected=1)
            outcomes.append("moved")
        except EnvironmentProblem:
            outcomes.append("refused")

    threads = [threading.Thread(target=move, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved", "refused", "refused", "refused"]
    assert [move.version for move in registry.history("toys")] == [2, 1]


def test_the_history_says_what_there_was_before_and_why(root: Path, made: Path) -> None:
    add(made / "first")
    add(made / "second")
    registry.set_alias("toys", "champion", 1, "the first", expected=None)
    registry.set_alias("toys", "challenger", 2, "to be judged", expected=None)
    registry.set_alias("toys", "champion", 2, "better: 5.1 < 6", expected=1)
    registry.set_alias("toys", "champion", 1, 'rolled back, "sorry"', expected=2)
    moves = registry.history("toys")
    assert [(move.version, move.before, move.reason) for move in moves] == [
        (1, 2, 'rolled back, "sorry"'), (2, 1, "better: 5.1 < 6"), (1, None, "the first"),
    ]  # fmt: skip
    assert moves == sorted(moves, key=lambda move: move.at, reverse=True) and moves[0].at.endswith(
        "+00:00"
    )
    assert [move.version for move in registry.history("toys", "challenger")] == [2]
    assert registry.history("shoes") == []


def test_the_history_tells_rollbacks_from_promotions_in_older_notes_too(
    root: Path, made: Path
) -> None:
    add(made / "first")
    registry.set_alias("toys", "champion", 1, "rolled back, in words", expected=None)
    registry.set_alias("toys", "champion", 1, "grey", expected=1, kind="rolled back")
    # Before, a rollback was told by the beginning of its reason.
    for number, reason in enumerate(("rolled back: grey images", "better")):
        note = {"alias": "champion", "before": 1, "reason": reason, "at": f"200{number}"}
        store.connect().set_model_version_tag(
            "dcgan-toys", "1", f"moved.{number}", json.dumps(note)
        )
    kinds = [move.kind for move in registry.history("toys")]
    assert kinds == ["rolled back", "promoted", "promoted", "rolled back"]


def test_an_alias_of_a_version_that_is_not_there_is_refused(root: Path, made: Path) -> None:
    add(made / "first")
    with pytest.raises(NoCheckpoint, match="version=9"):
        registry.set_alias("toys", "champion", 9, "no", expected=None)
    assert registry.alias("toys", "champion") is None and registry.history("toys") == []


@pytest.mark.parametrize(
    "uri",
    [
        "models:/dcgan-toys@nobody",
        "models:/dcgan-toys/7",
        "models:/nothing@champion",
        "runs:/0123/model",
        "no.safetensors",
    ],
)
def test_what_is_not_there_is_one_line(root: Path, made: Path, uri: str) -> None:
    add(made / "first")
    with pytest.raises(NoCheckpoint) as refused:
        registry.fetch(uri, root / "fetched")
    assert "\n" not in str(refused.value) and uri in str(refused.value)
    assert not (root / "fetched").exists() and not list(root.glob(".part-*"))


@pytest.mark.parametrize(
    "uri",
    ["s3://bucket/model", "models:/dcgan-toys", "models:/a/../b/1", "http://127.0.0.1/x", "runs:/"],
)
def test_an_address_of_another_kind_is_refused(root: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match="must be models:/NAME@ALIAS"):
        registry.fetch(uri, root / "fetched")


def test_an_alias_and_a_run_lead_to_the_same_files(root: Path, made: Path) -> None:
    version = add(made / "first")
    registry.set_alias("toys", "champion", 1, "the first", expected=None)
    store.connect().log_artifacts(version.run_id, str(made / "first"), "model")
    place = f"runs:/{version.run_id}/model"
    for number, uri in enumerate(("models:/dcgan-toys@champion", place)):
        assert (
            bundle.check(registry.fetch(uri, root / f"fetched{number}"))
            == version.tags["manifest_sha256"]
        )


def test_local_files_and_folders_are_fetched_too(root: Path, made: Path) -> None:
    one = registry.fetch(str(made / "first-exports/generator.safetensors"), root / "one")
    assert sorted(path.name for path in (one / "artifacts").iterdir()) == [
        "discriminator.json",
        "discriminator.safetensors",
        "generator.json",
        "generator.safetensors",
    ]
    two = registry.fetch(str(made / "first"), root / "two")
    assert bundle.check(two) == bundle.check(made / "first")
    images = [
        sampling.sample(exports.load_generator(folder / bundle.GENERATOR)[0], 3, seed=1)
        for folder in (one, two)
    ]
    assert (images[0] == images[1]).all()


def test_a_folder_with_something_in_it_is_not_overwritten(root: Path, made: Path) -> None:
    (root / "full").mkdir()
    (root / "full/mine").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        registry.fetch(str(made / "first"), root / "full")
    assert [path.name for path in (root / "full").iterdir()] == ["mine"]


def test_a_store_that_is_down_is_one_line_without_the_password(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:canary@127.0.0.1:9")
    for call in (
        lambda: registry.all_versions("toys"),
        lambda: registry.fetch("models:/dcgan-toys@champion", root / "fetched"),
    ):
        with pytest.raises(EnvironmentProblem) as refused:
            call()
        assert "\n" not in str(refused.value) and "canary" not in str(refused.value)


def test_what_python_and_mlflow_add_to_a_folder_is_neither_copied_nor_refused(
    root: Path, made: Path, model: Path
) -> None:
    (model / "code/dcgan/__pycache__").mkdir()
    (model / "code/dcgan/__pycache__/rng.cpython-311.pyc").write_bytes(b"planted")
    (model / "registered_model_meta").write_text("model_name: x\n")
    version = add(model)
    assert bundle.listed(stored(root, version)) == bundle.listed(made / "first")
    (stored(root, version) / "registered_model_meta").write_text("model_name: x\n")
    assert not list(registry.fetch("models:/dcgan-toys/1", root / "fetched").rglob("*_meta"))
    assert not list((root / "fetched").rglob("*.pyc")) and not list(
        stored(root, version).rglob("*.pyc")
    )
