"""Runs are found in git, in the workspace and in MLflow, and compared."""

import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from dcgan import files
from dcgan.config import reading, sections
from dcgan.networks import exports
from dcgan.tracking import runs
from dcgan.training import fresh
from pipeline import candidates, cli, compare
from tests.support.imports import ROOT
from tests.support.metrics import METRICS


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits, the second with a better FID and another learning rate, and an MLflow run.

    The others cannot be compared: `lost`, whose cache is lost, `bare`, without protocol, and those
    with a file that is not what it should be.
    """
    folder = tmp_path_factory.mktemp("repository")
    params = reading.load(sections.AllParams, path=ROOT / "params.yaml")
    generator = fresh.generator(
        params.generator.model_copy(update={"channels": [4, 4, 4], "z_dim": 4}), 1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "t")
            patch.setenv(f"GIT_{role}_EMAIL", "t@t")
        run("git", "init", "--quiet", ".")
        run("dvc", "init", "--quiet")
        for fid, lr, tag in ((10.0, "0.003", "old"), (8.0, "0.0003", "new"), (1.0, "0.1", "lost")):
            text = (ROOT / "params.yaml").read_text().replace("lr: 0.003 ", f"lr: {lr} ", 1)
            files.write_text(Path("params.yaml"), text)
            files.write_json(Path(candidates.METRICS), written(fid, tag))
            files.write_json(Path(candidates.RUN), {"data_sha256": "d"})
            digest = exports.export(Path(candidates.WEIGHTS), generator, {"of": tag})
            run("dvc", "add", "--quiet", candidates.RUN, candidates.WEIGHTS, candidates.DESCRIPTION)
            run("git", "add", "--all")
            run("git", "commit", "--quiet", "--message", tag)
            run("git", "tag", tag)
        assert digest
        run("git", "checkout", "--quiet", "old")
        files.write_json(Path(candidates.METRICS), {"fid": {"mean": 1.0, "deviation": 0.5}})
        run("git", "commit", "--quiet", "--all", "--message", "bare")
        run("git", "tag", "bare")
        for tag, path, text in (
            ("no-json", candidates.METRICS, "{"),
            ("no-keys", candidates.PARAMS_FILE, "[1]"),
            ("no-yaml", candidates.PARAMS_FILE, "{"),
        ):
            files.write_text(Path(path), text)
            run("git", "commit", "--quiet", "--all", "--message", tag)
            run("git", "tag", tag)
            run("git", "checkout", "--quiet", "old")
        files.write_json(Path(candidates.RUN), {"fingerprint": "d"})
        run("dvc", "add", "--quiet", candidates.RUN)
        run("git", "commit", "--quiet", "--all", "--message", "no-data")
        run("git", "tag", "no-data")
        lost = next(Path(".dvc/cache/files").rglob(files_md5(candidates.DESCRIPTION)[2:]))
        lost.chmod(0o644)
        lost.unlink()
        run("git", "checkout", "--quiet", "new")
        run("dvc", "checkout", "--quiet", "--force")
        tags = {"data_sha256": "d"}
        with runs.open_run("0123456789abcdef-2", dataset="toys", tags=tags) as logged:
            logged.log_params({"lr": 0.0003, "epochs": params.epochs})
            logged.log_file(Path(candidates.METRICS), "evaluate")
            for path in (candidates.WEIGHTS, candidates.DESCRIPTION):
                logged.log_file(Path(path), "model")
        with runs.open_run("fedc", dataset="toys", tags=tags):
            pass
        files.write_text(Path("run_id"), str(logged.id))
    return folder


def written(fid: float, tag: str) -> dict[str, object]:
    """A metrics.json; that of the tag `old` in the shape of before."""
    if tag != "old":
        return {**METRICS, "fid": {"mean": fid, "deviation": 0.5}}
    shared = {key: METRICS[key] for key in ("epoch", "weights", "collapsed", "protocol")}
    return {**shared, "fid_100": fid, "recall": 0.5, "noise": {"fid_100": 0.5, "recall": 0.01}}


def files_md5(path: str) -> str:
    import hashlib

    return hashlib.md5(Path(path).read_bytes()).hexdigest()


def run(*command: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})


@pytest.fixture
def inside(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repository)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    return repository


def code(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.run(compare.main, args=list(args), prog="python -m pipeline compare")
    return int(ended.value.code or 0)


def test_a_revision_and_the_workspace_are_compared(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("old", "workspace") == 0
    text = (inside / "results/compare/compare.md").read_text()
    assert (
        "| fid | 10.00 ± 0.50 | 8.00 ± 0.50, better |" in text and "| lr | 0.003 | 0.0003 |" in text
    )
    assert text in capsys.readouterr().out
    with Image.open(inside / "results/compare/compare.png") as image:
        image.load()
        assert image.width > 1000


def test_an_mlflow_run_is_found_by_name_id_and_fingerprint(inside: Path, tmp_path: Path) -> None:
    for name in ("toys-01234567-2", (inside / "run_id").read_text(), "0123456789abcdef-2"):
        assert code("old", name, "--out", str(tmp_path)) == 0
        text = (tmp_path / "compare.md").read_text()
        assert "| fid | 10.00 ± 0.50 | 8.00 ± 0.50, better |" in text
        # MLflow knows the parameters of the training, and only those differ that do.
        assert text.count("| lr | 0.003 | 0.0003 |") == 1 and "| epochs" not in text


@pytest.mark.parametrize(
    ("args", "exit_code", "words"),
    [
        (["workspace"], 2, "must be at least two"),
        (
            ["workspace", "nothing"],
            2,
            "unknown Git revision 'nothing', and no such MLflow run: must be workspace, a DVC",
        ),
        (["workspace", "a'b"], 2, "no such MLflow run"),
        (["workspace", "lost"], 3, "models/generator.json is neither in git nor in DVC's cache"),
        (["workspace", "toys-fedc"], 3, "has no evaluate/metrics.json"),
        (["workspace", "bare"], 3, "bare: its metrics name no protocol and draws"),
        (
            ["no-json", "workspace"],
            3,
            "error: compare: no-json: results/evaluate/metrics.json: can",
        ),
        (["workspace", "no-keys"], 3, "error: compare: no-keys: params.yaml: holds no keys"),
        (["workspace", "no-yaml"], 3, "error: compare: no-yaml: params.yaml: is no YAML"),
        (["workspace", "no-data"], 3, "no-data: results/train/run.json: has no data_sha256"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(
    args: list[str],
    exit_code: int,
    words: str,
    inside: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert code(*args, "--out", str(tmp_path / "out")) == exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and not (tmp_path / "out").exists()
