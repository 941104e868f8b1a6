"""The stage `prepare` in a folder of its own: decoded by parts, by processes, by threads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dcgan import data
from dcgan.config import reading
from dcgan.errors import ConfigError
from dcgan.preparing import decoding, preparation
from dcgan.raw import records
from dcgan.raw.dataset import Raw
from pipeline import prepare
from tests.support.imports import ROOT

FAKE = {
    "name": "fake", "image_size": 28, "max_images": 1000, "test_size": 100, "validation_size": 100,
}  # fmt: skip


@pytest.fixture
def params(tmp_path, monkeypatch):
    """A folder with params.yaml and a download of the data set without files; we are in it."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["dataset"] |= FAKE
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "SHARD_IMAGES", 300)
    return reading.load(prepare.Params)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_of_several_machines_are_those_of_one(params, capsys, monkeypatch):
    prepare.main()
    whole = contents(prepare.PREPARED)
    raw = records.open_raw(prepare.RAW, params.dataset, params.seed)
    kept = prepare.resume_folder(params, raw)
    for path in [*kept.iterdir(), *prepare.PREPARED.iterdir()]:
        path.unlink()
    prepare.main(shards="2:9")
    prepare.main(shards="0:1")
    assert "shards 0 to 0 of 4 are in" in capsys.readouterr().out
    assert {path.name for path in kept.glob("images-*")} == {
        f"images-0000{number}.npy" for number in (0, 2, 3)
    }
    assert not list(prepare.PREPARED.iterdir())
    decoded = []
    decode_shard = decoding.decode_shard

    def noted(raw: Raw, job: decoding.Job, *rest: object) -> Iterator[int]:
        decoded.append(job.number)
        return decode_shard(raw, job, *rest)

    monkeypatch.setattr(decoding, "decode_shard", noted)
    prepare.main()
    assert decoded == [1]
    assert contents(prepare.PREPARED) == whole


@pytest.mark.parametrize("shards", ["3", "a:b", "5:5", "-1:2"])
def test_a_range_that_is_none_is_refused(params, shards):
    with pytest.raises(ConfigError, match=r"--shards .*: must be FROM:TO, .* 0 to 4"):
        prepare.main(shards=shards)


def test_processes_decode_the_same_bytes_as_threads(params, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SHARD_IMAGES", 200)
    # The processes get our path, on which MLflow puts the code of each model that it loads.
    monkeypatch.syspath_prepend(ROOT / "src")
    raw = records.open_raw(prepare.RAW, params.dataset, params.seed)
    found = {}
    for name, workers in (("threads", None), ("processes", prepare.helpers(params))):
        (part,) = preparation.plan(raw, tmp_path / name, params.dataset, params.seed)
        assert len(part.jobs) > decoding.FEW  # of no more, threads would decode them
        seen: list[int] = []
        decoding.decode_shards(raw, part.jobs, seen.append, workers=workers)
        assert seen == sorted(seen) and seen[-1] == 1100
        found[name] = contents(tmp_path / name)
    assert len(found["threads"]) == 12
    assert found["threads"] == found["processes"]
