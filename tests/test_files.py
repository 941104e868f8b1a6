import errno
import os
from pathlib import Path

import pytest
import torch

from dcgan import files
from dcgan.errors import DataError, EnvironmentProblem


@pytest.mark.holds("R-71")
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.holds("R-90", "R-91", "R-92")
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.ESTALE])
def test_every_disk_error_is_named_and_keeps_the_old_file(tmp_path, monkeypatch, call, number):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(
        EnvironmentProblem, match="no space left" if number == errno.ENOSPC else "cannot be written"
    ):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.holds("R-91")
def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        files.write_text(tmp_path / "a" / "b.txt", "")


@pytest.mark.holds("R-45")
def test_json_refuses_nan_and_equal_values_give_equal_bytes(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not (tmp_path / "a.json").exists()
    files.write_json(tmp_path / "a.json", {"a": 1, "b": 2})
    files.write_json(tmp_path / "b.json", {"b": 2, "a": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def tensors() -> dict[str, torch.Tensor]:
    return {
        name: torch.randn(3, 4, generator=torch.Generator().manual_seed(i))
        for i, name in enumerate("dcba")
    }


def test_tensors_come_back_and_equal_tensors_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        files.write_tensors(tmp_path / f"{name}.safetensors", tensors(), {"about": 1})
    back, description = files.read_tensors(tmp_path / "one.safetensors")
    assert all(torch.equal(back[name], value) for name, value in tensors().items())
    assert description["about"] == 1
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()


@pytest.mark.holds("R-13")
def test_every_flipped_bit_of_either_file_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, tensors(), {})
    for target in (path, path.with_suffix(".json")):
        good = target.read_bytes()
        # A flip in the JSON's spaces may leave the same meaning, which is no damage.
        positions = (
            range(len(good)) if target == path else range(good.index(b"sha256"), len(good) - 4)
        )
        for position in positions:
            target.write_bytes(
                good[:position]
                + bytes([good[position] ^ (1 << position % 8)])
                + good[position + 1 :]
            )
            with pytest.raises(DataError):
                files.read_tensors(path)
        target.write_bytes(good)


@pytest.mark.holds("R-14")
@pytest.mark.parametrize("length", [0, 1, 8, 50])
def test_a_cut_or_missing_file_is_refused(tmp_path, length):
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, tensors(), {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match="damaged"):
        files.read_tensors(path)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        files.read_tensors(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(DataError, match=r"a\.json: missing: run the stage that makes it"):
        files.read_tensors(path)


@pytest.mark.holds("R-17")
def test_weights_that_are_not_finite_are_refused(tmp_path):
    files.write_tensors(tmp_path / "a.safetensors", {"w": torch.tensor([1.0, float("nan")])}, {})
    with pytest.raises(DataError, match="tensor w has values that are not finite"):
        files.read_tensors(tmp_path / "a.safetensors")


@pytest.mark.holds("R-16")
def test_no_code_of_ours_unpickles():
    for path in [*Path("src").rglob("*.py"), *Path("pipeline").rglob("*.py")]:
        text = path.read_text()
        # Published weights come as .pth; the one reader of them takes tensors only, and only of a
        # file whose sha256 it knows.
        text = text.replace(
            'torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)', ""
        )
        for word in ("import pickle", "torch.load(", "joblib", "allow_pickle=True", "yaml.load("):
            assert word not in text, f"{path} has {word}"


@pytest.mark.parametrize("root", ["/main", None])
def test_a_path_may_be_whole_or_begin_with_the_users_folder(monkeypatch, root):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    if root:
        monkeypatch.setenv("DVC_ROOT", root)
    assert files.own_path("/data/x") == Path("/data/x")
    assert files.own_path("~/x") == Path("/home/me/x")


def test_a_metrics_file_shows_a_few_values_and_keeps_all(tmp_path):
    path = tmp_path / "metrics.json"
    metrics = {
        "fid": {"mean": 4.0, "deviation": 0.1}, "shares": [0.5, 0.5],
        "d": {"accuracy": 0.9, "c": 1.0, "tried": [{"c": 1.0}]}, "protocol": {"draws": 5},
    }  # fmt: skip
    files.write_metrics(path, metrics, ("fid", "d.accuracy", "d.none", "none.accuracy"))
    content = files.read_json(path)
    assert {key: value for key, value in content.items() if key != "details"} == {
        "fid": {"mean": 4.0, "deviation": 0.1}, "d": {"accuracy": 0.9},
    }  # fmt: skip
    assert "accuracy" not in str(content["details"])
    assert files.read_metrics(path) == metrics
    assert metrics["d"]["accuracy"] == 0.9  # what was given is not changed


@pytest.mark.parametrize(
    "content", [{"fid": 1.0}, {"details": [1]}, {"details": {"a": 1}}, {"details": []}, [1], None]
)
def test_another_file_is_read_as_it_is(content):
    assert files.whole_metrics(content) == content
