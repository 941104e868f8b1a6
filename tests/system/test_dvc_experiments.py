"""DVC's experiments on the small graph.

None loses its MLflow run, and all give what a serial run gives.
"""

import contextlib
import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcgan.reports.markdown import number
from tests.support.idx_source import write_idx_source
from tests.support.imports import ROOT
from tests.support.params import small
from tests.support.repository import Repository, ran

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

METRICS = "results/evaluate/metrics.json"
GRID = [(lr, batch_size) for lr in ("0.0001", "0.0002") for batch_size in ("16", "32")]


def committed(folder: Path, source: Path, *stages: str) -> Repository:
    """The small graph with the committed results of these stages, or of all, and bench and docs."""
    repo = Repository(folder, source, **small())
    repo.run("dvc", "repro", *stages)
    for name in ("bench/sweep.py", "docs/sweep.md"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes((ROOT / name).read_bytes())
    repo.run("git", "add", "--all")
    repo.run("git", "commit", "--quiet", "--message", "results")
    return repo


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_idx_source(folder, num_train=700, num_test=200)
    return folder


@pytest.fixture(scope="module")
def repo(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """With a git remote and a DVC remote in folders."""
    repo = committed(tmp_path_factory.mktemp("repo"), source)
    bare, cache = tmp_path_factory.mktemp("remote"), tmp_path_factory.mktemp("cache")
    repo.run("git", "init", "--quiet", "--bare", str(bare))
    repo.run("git", "remote", "add", "origin", str(bare))
    repo.run("dvc", "remote", "add", "--default", "store", str(cache))
    repo.run("git", "commit", "--quiet", "--all", "--message", "remotes")
    repo.run("git", "push", "--quiet", "origin", "HEAD")
    repo.run("dvc", "push", "--quiet")
    return repo


@pytest.fixture(autouse=True)
def clean(repo: Repository) -> Iterator[None]:
    yield
    repo.run("git", "checkout", "--quiet", "HEAD", "--", ".")
    repo.run("dvc", "checkout", "--quiet", "--force")


def table(repo: Repository) -> dict[str, dict[str, str]]:
    """`dvc exp show` by experiment.

    It fails or hangs where a worker removes the folder of an experiment that it reads, with
    --no-fetch too.
    """
    said = "it hung"
    for _ in range(3):
        with contextlib.suppress(subprocess.TimeoutExpired):
            shown = repo.run("dvc", "exp", "show", "--csv", "--no-fetch", check=False, timeout=90)
            if shown.returncode == 0:
                return {row["Experiment"]: row for row in csv.DictReader(shown.stdout.splitlines())}
            said = shown.stderr
        time.sleep(1)
    raise AssertionError(f"dvc exp show failed or hung three times: {said}")


def mlflow_runs(repo: Repository) -> list[dict]:
    script = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///" + sys.argv[1])
runs = client.search_runs([exp.experiment_id for exp in client.search_experiments()])
print(json.dumps([{
    "name": run.info.run_name, "status": run.info.status, "params": run.data.params,
    "dvc": run.data.tags.get("dvc_experiment"),
    "fids": [value for key, value in run.data.metrics.items() if key.endswith("/fid.mean")],
} for run in runs]))
"""
    return json.loads(
        repo.run(
            "python", "-c", script, str(repo.folder / ".mlflow/mlflow.db")
        ).stdout.splitlines()[-1]
    )


def check_both_ways(repo: Repository, experiment: str) -> None:
    """The experiment's column leads to one finished run.

    The run's tag leads back, and its figure is the experiment's.
    """
    row = table(repo)[experiment]
    (run,) = [run for run in mlflow_runs(repo) if run["name"] == row["mlflow_run"]]
    assert (run["dvc"], run["status"]) == (experiment, "FINISHED")
    assert run["fids"] == [pytest.approx(float(row["fid.mean"]))]
    assert float(run["params"]["lr"]) == float(row["lr"])


def until(condition: Callable[[], object], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


def queue_start(repo: Repository, jobs: int) -> None:
    # No pipe: the workers would keep it open.
    command = ["dvc", "queue", "start", "--jobs", str(jobs)]
    subprocess.run(
        command,
        cwd=repo.folder,
        env=repo.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def in_state(repo: Repository, names: set[str], *states: str) -> int:
    """How many are in one of the states.

    `dvc queue status` is not asked: under load it can kill a worker of DVC's.
    """
    return sum(row["State"] in states for name, row in table(repo).items() if name in names)


def test_an_experiment_by_set_param_names_its_run_and_a_restored_one_makes_no_new(
    repo: Repository,
) -> None:
    repo.run("dvc", "exp", "run", "--name", "one", "-S", "lr=2e-4", "evaluate")
    check_both_ways(repo, "one")
    before = mlflow_runs(repo)
    repo.run("git", "checkout", "--quiet", "HEAD", "--", ".")
    output = repo.run(
        "dvc", "exp", "run", "--temp", "--name", "again", "-S", "lr=2e-4", "evaluate"
    ).stdout
    assert ran(output) == []
    rows = table(repo)
    assert rows["again"]["mlflow_run"] == rows["one"]["mlflow_run"]
    assert mlflow_runs(repo) == before


def test_an_experiment_in_a_temporary_folder_keeps_its_run(repo: Repository) -> None:
    params = repo.read("params.yaml")
    repo.run("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "lr=5e-4", "evaluate")
    assert repo.read("params.yaml") == params
    check_both_ways(repo, "aside")


@pytest.mark.holds("R-77")
def test_queued_experiments_equal_their_serial_runs_bit_for_bit(
    repo: Repository, source: Path, tmp_path: Path
) -> None:
    serial = committed(tmp_path / "serial", source, "validate", "reference")
    expected = {}
    for lr, batch_size in GRID:
        serial.run(
            sys.executable,
            "-m",
            "pipeline",
            "run",
            "-S",
            f"lr={lr}",
            "-S",
            f"batch_size={batch_size}",
            "evaluate",
        )
        expected[float(lr), batch_size] = serial.read(METRICS).decode()
        serial.run("git", "checkout", "--quiet", "HEAD", "--", ".")
    assert len(set(expected.values())) == 4
    repo.run(
        "dvc", "exp", "run", "--queue", "-S", "lr=1e-4,2e-4", "-S", "batch_size=16,32", "evaluate"
    )
    names = {name for name, row in table(repo).items() if row["State"] == "Queued"}
    assert len(names) == 4
    queue_start(repo, 2)
    until(lambda: in_state(repo, names, "Success", "Failed") == 4)
    assert in_state(repo, names, "Success") == 4
    rows = table(repo)
    for name in names:
        shown = repo.run("git", "show", f"{rows[name]['rev']}:{METRICS}").stdout
        assert shown == expected[float(rows[name]["lr"]), rows[name]["batch_size"]]
        # One of the four was trained by the first test already, in an experiment of another name.
        if rows[name]["mlflow_run"] != rows.get("one", {}).get("mlflow_run"):
            check_both_ways(repo, name)
    assert len({rows[name]["mlflow_run"] for name in names}) == 4
    # A folder of its own for each, so that no two wrote the same file.
    holders = [path.read_text() for path in (repo.folder / ".scratch/train").glob("*/holder")]
    assert len(holders) == len(set(holders)) >= 3


def test_diff_apply_branch_push_and_pull_work(repo: Repository, tmp_path: Path) -> None:
    repo.run("dvc", "exp", "run", "--temp", "--name", "gift", "-S", "lr=6e-4", "evaluate")
    rows = table(repo)
    difference = json.loads(repo.run("dvc", "exp", "diff", "HEAD", "gift", "--json").stdout)
    assert difference["params"]["params.yaml"]["lr"] == {
        "old": 0.0004,
        "new": 0.0006,
        "diff": pytest.approx(0.0002),
    }
    assert difference["metrics"][METRICS]["mlflow_run"]["new"] == rows["gift"]["mlflow_run"]
    repo.run("dvc", "exp", "apply", "gift")
    assert repo.json(METRICS)["mlflow_run"] == rows["gift"]["mlflow_run"]
    weights = repo.read("models/generator.safetensors")
    repo.run("dvc", "exp", "branch", "gift", "kept")
    assert repo.run("git", "show", f"kept:{METRICS}").stdout == repo.read(METRICS).decode()
    repo.run("dvc", "exp", "push", "origin", "gift")
    clone = tmp_path / "clone"
    repo.run(
        "git",
        "clone",
        "--quiet",
        repo.run("git", "remote", "get-url", "origin").stdout.strip(),
        str(clone),
    )

    def there(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=clone, env=repo.env, capture_output=True, text=True, check=True
        )

    there("dvc", "exp", "pull", "origin", "gift")
    there("dvc", "exp", "apply", "gift")
    assert (clone / "models/generator.safetensors").read_bytes() == weights
    assert there("dvc", "exp", "list", "--name-only").stdout.split() == ["gift"]
    # Whoever pulled it compares it with their own, and finds its run by name where the store is
    # shared.
    there(sys.executable, "-m", "pipeline", "compare", "HEAD", "gift")
    assert "| lr | 0.0004 | 0.0006 |" in (clone / "results/compare/compare.md").read_text()


@pytest.mark.holds("R-20")
def test_a_terminated_experiment_goes_on_to_the_same_bits(
    repo: Repository, source: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pipeline", "run", "-S", "lr=7e-4", "-S", "epochs=40", "train"]
    straight = committed(tmp_path / "straight", source, "validate")
    straight.run(*command)
    process = subprocess.Popen(
        command,
        cwd=repo.folder,
        env=repo.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout or []:
        lines.append(line)
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert any("stopped after step" in line for line in lines), lines
    second = repo.run(*command)
    assert "going on after" in second.stdout
    for path in (
        "results/train/history.csv",
        "models/checkpoints/epoch-0040/generator.safetensors",
    ):
        assert repo.read(path) == straight.read(path)


def test_a_sweep_goes_on_after_a_kill_and_repeats_nothing(repo: Repository) -> None:
    command = [sys.executable, "bench/sweep.py", "--epochs", "1", "--seeds", "999"]
    command += ["--batch-size", "32", "--lr", "3e-4", "8e-4"]
    process = subprocess.Popen(command, cwd=repo.folder, env=repo.env, stdout=subprocess.DEVNULL)
    until(lambda: "sweep-seed999-lr0.0003" in repo.run("git", "for-each-ref", "refs/exps").stdout)
    time.sleep(2)  # into the second one
    # With SIGKILL the experiment ends a moment later, and until then another is refused.
    process.terminate()
    assert process.wait() != 0
    first = table(repo)
    done = repo.run(*command).stdout
    rows = {name: row for name, row in table(repo).items() if name.startswith("sweep-")}
    assert len(rows) == 2 and "sweep: 2 of 2 done" in done
    finished = next(name for name in rows if "lr0.0003" in name)
    assert rows[finished]["rev"] == first[finished]["rev"]
    document = (repo.folder / "docs/sweep.md").read_text()
    for row in rows.values():
        assert (
            f"| {float(row['lr']):g} | 32 | {number(float(row['validation.fid']))} | 999: "
            in document
        )
    assert document.count("the best |") == 1 and (repo.folder / "docs/images/sweep.png").is_file()
    assert "-m pipeline run" not in repo.run(*command).stdout


def test_a_search_makes_experiments_below_one_run_and_goes_on(repo: Repository) -> None:
    command = [sys.executable, "-m", "pipeline", "tune", "-S", "lr=log(1e-4,1e-3)", "--trials"]
    first = repo.run(*command, "1").stdout
    assert "tune: trial 0" in first and "dvc exp apply tune-" in first
    second = repo.run(*command, "3").stdout
    assert "tune: trial 0" not in second and "tune: trial 2" in second
    with open(repo.folder / "results/tune/tune.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert {row["experiment"] for row in rows} <= set(table(repo))
    assert (repo.folder / "results/tune/tune.png").is_file()
    code = """
from mlflow import MlflowClient
client = MlflowClient("sqlite:///.mlflow/mlflow.db")
runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
(parent,) = [run.info.run_id for run in runs if run.info.run_name == "tune tune"]
print(sum(run.data.tags.get("mlflow.parentRunId") == parent for run in runs))
"""
    assert int(repo.run(sys.executable, "-c", code).stdout) >= 3
