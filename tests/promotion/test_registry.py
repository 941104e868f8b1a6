"""The registry: what goes in comes out, aliases move from where they were seen, and nothing hostile gets through."""

import json
import pickle
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dcgan import files
from dcgan.errors import ConfigError, DataError, EnvironmentProblem, NoCheckpoint
from dcgan.networks import exports, sampling
from dcgan.promotion import bundle, registry, serving, versions
from dcgan.tracking import store
from tests.support import tiny_models


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is new, and two model folders that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("first", "second")):
        serving.write_model(
            folder / name, tiny_models.write(folder / f"{name}-exports", seed), f"# card {name}\n"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(folder))
        store.connect()
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    shutil.copy(made / ".mlflow/mlflow.db", tmp_path / ".mlflow/mlflow.db")
    return tmp_path


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """A model folder for a test to change."""
    return Path(shutil.copytree(made / "first", tmp_path / "model"))


def add(folder: Path, **changes: object) -> registry.Version:
    return registry.register(
        folder, **{"dataset": "toys", "fingerprint": "aa", "tags": {"fid": "5.2"}, **changes}
    )


def stored(root: Path, version: registry.Version) -> Path:
    """Where the store keeps a version's files."""
    return next(
        (root / ".mlflow/artifacts").rglob(f"models/{version.tags['manifest_sha256'][:16]}")
    )


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


def test_the_same_generator_of_the_same_training_is_registered_once(root: Path, made: Path) -> None:
    first = add(made / "first")
    assert add(made / "first") == first
    assert add(made / "first", fingerprint="bb").number == 2
    assert add(made / "second").number == 3
    assert [version.number for version in registry.versions("toys")] == [3, 2, 1]
    assert registry.versions("shoes") == []


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
    assert registry.versions("toys") == []


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
    found = registry.alias("toys", "champion")
    assert found and found.number == 1
    for seen in (None, 2):
        with pytest.raises(
            EnvironmentProblem,
            match=r"points at version 1, expected (nothing|version 2): somebody else moved it",
        ):
            registry.set_alias("toys", "champion", second.number, "too late", expected=seen)
    registry.set_alias("toys", "champion", second.number, "better", expected=1)
    found = registry.alias("toys", "champion")
    assert found and found.number == 2 and registry.alias("toys", "challenger") is None


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
    "uri", ["models:/dcgan-toys@nobody", "models:/dcgan-toys/7", "models:/nothing@champion", "runs:/0123/model", "no.safetensors"]
)  # fmt: skip
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
    place = f"runs:/{version.run_id}/models/{version.tags['manifest_sha256'][:16]}"
    for number, uri in enumerate(("models:/dcgan-toys@champion", place)):
        assert (
            bundle.check(registry.fetch(uri, root / f"fetched{number}"))
            == version.tags["manifest_sha256"]
        )


def test_local_files_and_folders_are_fetched_too(root: Path, made: Path) -> None:
    one = registry.fetch(str(made / "first-exports/generator.safetensors"), root / "one")
    assert sorted(path.name for path in (one / "artifacts").iterdir()) == [
        "discriminator.json", "discriminator.safetensors", "generator.json", "generator.safetensors",
    ]  # fmt: skip
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
        lambda: registry.versions("toys"),
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


# Hostile folders. Each is tried on all three ways in: a local folder, registration, and a version
# whose stored files were changed.


def pickle_as_python_model(folder: Path, marker: Path) -> None:
    (folder / "python_model.pkl").write_bytes(tiny_models.marker_pickle(marker))
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n    python_model: python_model.pkl\n"
    )
    tiny_models.rewrite(folder, "README.md", b"#")


def pickle_under_an_allowed_name(folder: Path, marker: Path) -> None:
    (folder / "python_model.json").write_bytes(tiny_models.marker_pickle(marker))
    text = (folder / "MLmodel").read_text()
    tiny_models.rewrite(
        folder,
        "MLmodel",
        text.replace(
            "    streamable", "    python_model: python_model.json\n    streamable"
        ).encode(),
    )


def another_flavor(folder: Path, marker: Path) -> None:
    (folder / "model.json").write_bytes(tiny_models.marker_pickle(marker))
    text = (
        (folder / "MLmodel")
        .read_text()
        .replace("flavors:\n", "flavors:\n  sklearn:\n    pickled_model: model.json\n")
    )
    tiny_models.rewrite(folder, "MLmodel", text.encode())


def pickle_named_safetensors(folder: Path, marker: Path) -> None:
    tiny_models.rewrite(folder, bundle.GENERATOR, tiny_models.marker_pickle(marker))


def torch_pickle_named_safetensors(folder: Path, marker: Path) -> None:
    torch.save(tiny_models.Payload(marker), folder / bundle.DISCRIMINATOR)
    tiny_models.rewrite(folder, bundle.DISCRIMINATOR, (folder / bundle.DISCRIMINATOR).read_bytes())


def a_file_too_many(folder: Path, marker: Path) -> None:
    (folder / "code/dcgan/more.py").write_text(f"open({str(marker)!r}, 'w')\n")


def changed_code(folder: Path, marker: Path) -> None:
    with open(folder / "code/dcgan/__init__.py", "a") as file:
        file.write(f"open({str(marker)!r}, 'w')\n")


def a_flipped_bit(folder: Path, marker: Path) -> None:
    content = bytearray((folder / bundle.GENERATOR).read_bytes())
    content[len(content) // 2] ^= 16
    (folder / bundle.GENERATOR).write_bytes(content)


def a_missing_file(folder: Path, marker: Path) -> None:
    (folder / "pyfunc.py").unlink()


def a_way_out(folder: Path, marker: Path) -> None:
    files.write_json(
        folder / bundle.MANIFEST,
        {**files.read_json(folder / bundle.MANIFEST), "../../out.py": "0" * 64},
    )


def an_absolute_name(folder: Path, marker: Path) -> None:
    files.write_json(
        folder / bundle.MANIFEST,
        {**files.read_json(folder / bundle.MANIFEST), "/etc/out.py": "0" * 64},
    )


def no_list_of_hashes(folder: Path, marker: Path) -> None:
    (folder / bundle.MANIFEST).write_text('["generator"]')


def a_header_of_a_tebibyte(folder: Path, marker: Path) -> None:
    tiny_models.rewrite(folder, bundle.GENERATOR, (1 << 40).to_bytes(8, "little") + b"{}")


def huge_networks(folder: Path, marker: Path) -> None:
    path = (folder / bundle.GENERATOR).with_suffix(".json")
    about = json.loads(path.read_text())
    about["architecture"]["channels"] = [4096, 4096]
    tiny_models.rewrite(folder, str(path.relative_to(folder)), json.dumps(about).encode())


def no_architecture(folder: Path, marker: Path) -> None:
    path = (folder / bundle.DISCRIMINATOR).with_suffix(".json")
    about = {
        key: value for key, value in json.loads(path.read_text()).items() if key != "architecture"
    }
    tiny_models.rewrite(folder, str(path.relative_to(folder)), json.dumps(about).encode())


def another_architecture(folder: Path, marker: Path) -> None:
    path = (folder / bundle.GENERATOR).with_suffix(".json")
    about = json.loads(path.read_text())
    about["architecture"] |= {"kernel": "os.system"}
    tiny_models.rewrite(folder, str(path.relative_to(folder)), json.dumps(about).encode())


def values_that_are_not_finite(folder: Path, marker: Path) -> None:
    from safetensors.torch import load, save

    tensors = load((folder / bundle.GENERATOR).read_bytes())
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    tiny_models.rewrite(folder, bundle.GENERATOR, save(tensors))


HOSTILE = [
    pickle_as_python_model, pickle_under_an_allowed_name, another_flavor, pickle_named_safetensors, torch_pickle_named_safetensors,
    a_file_too_many, changed_code, a_flipped_bit, a_missing_file, a_way_out, an_absolute_name, no_list_of_hashes,
    a_header_of_a_tebibyte, huge_networks, no_architecture, another_architecture, values_that_are_not_finite,
]  # fmt: skip


@pytest.mark.parametrize("harm", HOSTILE, ids=lambda harm: harm.__name__)
def test_a_hostile_folder_is_refused_everywhere(
    root: Path, made: Path, model: Path, harm: object
) -> None:
    marker = root / "marker"
    version = add(made / "first")
    for folder in (model, stored(root, version)):
        harm(folder, marker)
    for call in (
        lambda: registry.fetch(str(model), root / "local"),
        lambda: add(model, fingerprint="bb"),
        lambda: registry.fetch("models:/dcgan-toys/1", root / "stored"),
        lambda: add(made / "first"),
    ):
        with pytest.raises(DataError) as refused:
            call()
        assert "\n" not in str(refused.value)
    assert not marker.exists() and not (root / "local").exists() and not (root / "stored").exists()
    assert len(registry.versions("toys")) == 1


def test_the_payload_of_these_folders_would_have_made_its_file(tmp_path: Path) -> None:
    pickle.loads(tiny_models.marker_pickle(tmp_path / "marker"))
    assert (tmp_path / "marker").exists()


def test_a_link_in_a_folder_is_refused(root: Path, model: Path) -> None:
    (model / "code/dcgan/rng.py").unlink()
    (model / "code/dcgan/rng.py").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="link or no regular file"):
        registry.fetch(str(model), root / "fetched")


def test_the_description_of_a_network_that_is_too_large_costs_no_memory(
    root: Path, model: Path
) -> None:
    huge_networks(model, root)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="does not fit its own description"):
        registry.fetch(str(model), root / "fetched")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


class Listing:
    """A server that lists what it likes."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self.asked: list[str] = []

    def list_artifacts(self, _: str | None) -> list[object]:
        from mlflow.entities import FileInfo

        return [FileInfo(path, False, 3) for path in self.paths]

    def download_artifacts(self, path: str, _: str) -> None:
        self.asked.append(path)


@pytest.mark.parametrize(
    "path",
    [
        "../out.py",
        "/tmp/out.py",
        "a/../../out.py",
        "a//b.py",
        "a\\..\\out.py",
        "a\nb.py",
        "x.pkl",
        "code/x.so",
    ],
)
def test_a_server_cannot_name_a_file_outside_the_folder_or_of_another_kind(
    root: Path, made: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    add(made / "first")
    server = Listing("MLmodel", path)
    monkeypatch.setattr(
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        lambda *_, **__: server,
    )
    with pytest.raises(DataError, match="do not use this model"):
        registry.fetch("models:/dcgan-toys/1", root / "fetched")
    assert server.asked == [] and not (root / "fetched").exists()


def test_a_server_cannot_list_without_end(
    root: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(made / "first")

    class Endless(Listing):
        def list_artifacts(self, path: str | None) -> Iterator[object]:
            from mlflow.entities import FileInfo

            yield FileInfo(f"{path or 'a'}/a", True, None)

    monkeypatch.setattr(
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        lambda *_, **__: Endless(),
    )
    with pytest.raises(DataError, match="do not use this model"):
        registry.fetch("models:/dcgan-toys/1", root / "fetched")
