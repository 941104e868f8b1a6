"""A run is found by what people call it, and its files are copied."""

from pathlib import Path

import pytest

from dcgan.errors import DataError
from dcgan.tracking import fetching, runs, store


def logged(root: Path, fingerprint: str, text: str) -> str:
    """The id of a finished run with a file evaluate/metrics.json."""
    path = root / "metrics.json"
    path.write_text(text)
    with runs.open_run(fingerprint, dataset="toys") as run:
        run.log_file(path, "evaluate")
    assert run.id
    return run.id


def test_a_run_is_found_by_its_id_its_name_and_its_fingerprint(root: Path) -> None:
    first, second = (logged(root, fingerprint, "{}") for fingerprint in ("aa" * 8, "bb" * 8))
    name = store.connect().get_run(second).info.run_name
    assert name != "bb" * 8
    for called in (second, name, "bb" * 8):
        found = fetching.newest(called)
        assert found and found.info.run_id == second, called
    found = fetching.newest("aa" * 8)
    assert found and found.info.run_id == first


def test_of_several_runs_of_a_name_the_newest_is_found(root: Path) -> None:
    client = store.connect()
    experiment = store.experiment(client, store.location(), "dcgan-toys")
    for start_time in (2**41, 2**42, 2**40):
        client.create_run(experiment, start_time=start_time, run_name="mine")
    found = fetching.newest("mine")
    assert found and found.info.start_time == 2**42


@pytest.mark.parametrize("name", ["nothing", "a'b", "' OR attributes.status != 'x"])
def test_a_name_that_no_run_has_finds_none(root: Path, name: str) -> None:
    logged(root, "aa", "{}")
    assert fetching.newest(name) is None


def test_looking_for_a_run_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert fetching.newest("aa") is None
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_run_are_copied_and_one_that_it_lacks_is_named(root: Path) -> None:
    logged(root, "aa", '{"fid": 1}')
    run = fetching.newest("aa")
    assert run
    folder = root / "copied"
    folder.mkdir()
    target = folder / "results/metrics.json"
    fetching.copy(run, {"evaluate/metrics.json": target}, folder)
    assert target.read_text() == '{"fid": 1}'
    with pytest.raises(DataError, match=r"has no model/generator\.json: evaluate it") as caught:
        fetching.copy(run, {"model/generator.json": folder / "generator.json"}, folder)
    assert "\n" not in str(caught.value)
