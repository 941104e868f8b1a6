"""The drill: weeks of scheduled retraining in minutes.

Each job is called as the workflow calls it, with a bare git and a local DVC remote. The graph is
the whole one without the stages that only draw (render and paper), which would double the time.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image
from ruamel.yaml import YAML

from dcgan.promotion import registry
from tests.support import shapes
from tests.support.params import small
from tests.support.repository import Repository, ran

SMALL = small(**{
    "dataset.name": "folder", "dataset.test_size": 100, "lr": 1e-6, "epochs": 1,
    "generator.norm_momentum": 0.3, "discriminator.dropout": [0.0, 0.0],
    "training.ema_half_life": 0.0, "probe.num_train": 100, "probe.c": [0.1],
    "gate.absolute": 0.5, "gate.relative": 0.05, "gate.max_kid": None, "gate.min_recall": None,
    "gate.min_class_share": None, "gate.min_probe": 0.1, "gate.min_memorisation": None,
})  # fmt: skip
GOOD = ["-S", "lr=0.003", "-S", "epochs=8", "-S", "seed=999"]
WORSE = ["-S", "lr=1e-6", "-S", "epochs=12", "-S", "seed=2"]
DIVERGES = [
    "-S",
    "lr=1.0",
    "-S",
    "beta1=0.9",
    "-S",
    "training.beta2=0.0",
    "-S",
    "training.eps=1e-30",
]
COMMAND = [sys.executable, "-m", "pipeline", "retrain", "--git-remote", "origin"]


def add_images(folder: Path, count: int, seed: int) -> None:
    images, labels = shapes.draw(count, 28, 1, seed)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{seed}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)


class Site:
    """A runner's checkout with its two remotes."""

    def __init__(self, folder: Path) -> None:
        self.images, self.bare = folder / "images", folder / "bare.git"
        add_images(self.images, 500, seed=0)
        (folder / "repo").mkdir()
        self.repo = Repository(folder / "repo", self.images, **SMALL)
        graph = YAML(typ="safe").load(self.repo.folder / "dvc.yaml")
        for stage in ("render", "paper"):
            del graph["stages"][stage]
        YAML().dump(graph, self.repo.folder / "dvc.yaml")
        self.repo.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
        self.repo.run("git", "commit", "--quiet", "--all", "--message", "a remote for the data")
        self.repo.run("git", "init", "--quiet", "--bare", str(self.bare))
        self.repo.run("git", "remote", "add", "origin", str(self.bare))
        self.repo.run("git", "push", "--quiet", "origin", "HEAD:main")
        self.repo.env |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow/mlflow.db",
            "GITHUB_OUTPUT": str(folder / "outputs"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        }  # fmt: skip

    def retrain(self, *flags: str, **environment: str) -> subprocess.CompletedProcess:
        for variable in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            Path(self.repo.env[variable]).write_text("")
        started = time.monotonic()
        env = {**self.repo.env, **environment}
        done = subprocess.run(
            [*COMMAND, *flags],
            cwd=self.repo.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        print(
            f"--- {flags}: {done.returncode} after {time.monotonic() - started:.0f} s\n"
            f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done

    def outputs(self) -> dict[str, str]:
        return dict(
            line.split("=", 1)
            for line in Path(self.repo.env["GITHUB_OUTPUT"]).read_text().splitlines()
        )

    def gate(self) -> dict:
        return self.repo.json("results/gate/gate.json")

    def registry(self) -> tuple[int | None, list[int]]:
        """The champion's number and all versions'."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.repo.folder)
            patch.setenv("MLFLOW_TRACKING_URI", self.repo.env["MLFLOW_TRACKING_URI"])
            champion = registry.alias("images", "champion")
            return champion and champion.number, sorted(
                version.number for version in registry.all_versions("images")
            )

    def branches(self) -> list[str]:
        listed = self.repo.run(
            "git",
            "--git-dir",
            str(self.bare),
            "for-each-ref",
            "--format=%(refname:short)",
            "refs/heads/retrain",
        )
        return listed.stdout.split()

    def on_branch(self, branch: str, path: str) -> str:
        return self.repo.run("git", "--git-dir", str(self.bare), "show", f"{branch}:{path}").stdout

    def start(self, *flags: str) -> subprocess.Popen:
        """Begin a job, and return when its training has saved a state."""
        before = set(self.repo.folder.glob(".scratch/train/*/state-*.json"))
        process = subprocess.Popen(
            [*COMMAND, *flags],
            cwd=self.repo.folder,
            env=self.repo.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not set(self.repo.folder.glob(".scratch/train/*/state-*.json")) - before:
            assert process.poll() is None
            time.sleep(0.02)
        return process


def end(process: subprocess.Popen, number: signal.Signals) -> int:
    """End a job and all that it has started, by SIGKILL, and wait until they are gone.

    Returns:
        The job's exit code.
    """
    everyone = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    if number == signal.SIGKILL:
        for child in everyone:
            child.kill()
    _, alive = psutil.wait_procs(everyone, timeout=60)
    assert not alive
    return process.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    return Site(tmp_path_factory.mktemp("drill"))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # on a busy machine
def test_weeks_of_retraining(site: Site, tmp_path: Path) -> None:
    repo = site.repo
    head = repo.run("git", "rev-parse", "HEAD").stdout

    # Bootstrap: the first one passes by the floors.
    done = site.retrain()
    assert done.returncode == 0
    assert ran(done.stdout)[1:] == [
        "prepare",
        "validate",
        "reference",
        "train",
        "evaluate",
        "probe",
    ]
    assert (site.gate()["outcome"], site.registry()) == ("promoted", (1, [1]))
    (first,) = site.branches()
    assert site.outputs() == {"outcome": "promoted", "branch": first}
    assert json.loads(site.on_branch(first, "results/gate/gate.json"))["version"] == 1
    assert site.on_branch(first, "dvc.lock") == repo.read("dvc.lock").decode()
    assert "images: promoted" in Path(repo.env["GITHUB_STEP_SUMMARY"]).read_text()
    # Whoever works in the folder notices nothing of the branch.
    assert repo.run("git", "rev-parse", "HEAD").stdout == head
    assert not repo.run("git", "diff", "--cached", "--name-only").stdout

    # The same again: nothing is retrained, and nothing is judged.
    done = site.retrain()
    assert (done.returncode, ran(done.stdout)) == (0, ["download"])
    assert site.outputs() == {"outcome": "unchanged", "branch": first}
    assert "Nothing was retrained" in repo.read("results/gate/summary.md").decode()

    # A better one, for which the parameters are given as the workflow's inputs are.
    done = site.retrain(*GOOD)
    assert (done.returncode, ran(done.stdout)) == (0, ["download", "train", "evaluate", "probe"])
    assert (site.gate()["outcome"], site.registry()) == ("promoted", (2, [1, 2]))
    better = site.outputs()["branch"]
    assert (
        "lr: 0.003" in site.on_branch(better, "params.yaml")
        and "0.003" in Path(repo.env["GITHUB_STEP_SUMMARY"]).read_text()
    )

    # An equal one.
    assert site.retrain("-S", "lr=0.003001").returncode == 7
    assert (site.gate()["outcome"], site.registry()) == ("cannot tell", (2, [1, 2]))
    assert 0 < abs(site.gate()["numbers"]["gain"]) < site.gate()["numbers"]["margin"]

    # A worse one, whose training is killed, goes on, is stopped, goes on while MLflow is down, and
    # is judged when that is back.
    end(site.start(*WORSE), signal.SIGKILL)
    assert end(site.start(), signal.SIGTERM) == 143
    done = site.retrain(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert (done.returncode, ran(done.stdout)) == (6, ["download", "train", "evaluate", "probe"])
    assert (
        ", going on after " in done.stdout
        and "error: MLflow store http://127.0.0.1:9" in done.stderr
    )
    assert (site.registry(), len(site.branches()), site.outputs()) == (
        (2, [1, 2]),
        3,
        {"outcome": "failed"},
    )
    done = site.retrain()
    assert (done.returncode, ran(done.stdout)) == (4, ["download"])
    assert (site.gate()["outcome"], site.registry()) == ("refused", (2, [1, 2]))
    assert len(site.branches()) == 4  # refused or not, people can look at all of them

    # One that diverges; what made it diverge does not stay.
    before = repo.read("params.yaml")
    done = site.retrain(*DIVERGES)
    assert done.returncode == 4
    assert (
        "not finite any more" in done.stderr
        and "error: retrain: dvc repro ended with exit code 4" in done.stderr
    )
    assert (repo.read("params.yaml"), site.registry(), len(site.branches())) == (
        before,
        (2, [1, 2]),
        4,
    )
    assert site.outputs() == {"outcome": "failed"}

    # New images: another data set, another extractor, and a champion that is measured anew under
    # it.
    before = site.gate()
    add_images(site.images, 250, seed=1)
    done = site.retrain(*GOOD)
    assert ran(done.stdout) == [
        "download",
        "prepare",
        "validate",
        "reference",
        "train",
        "evaluate",
        "probe",
    ]
    record = site.gate()
    assert done.returncode == {"promoted": 0, "refused": 4, "cannot tell": 7}[record["outcome"]]
    assert record["protocol"]["extractor_sha256"] != before["protocol"]["extractor_sha256"]
    assert record["champion"] == before["champion"]
    assert (
        record["numbers"]["champion"]["fid"]["mean"] != before["numbers"]["champion"]["fid"]["mean"]
    )
    newest = site.outputs()["branch"]
    assert len(site.branches()) == 5

    # Its pull request is merged. A runner without any files finds the results in the DVC remote,
    # and nothing new.
    repo.run("git", "push", "--quiet", "origin", f"{newest}:main", "--force")
    repo.run(
        "git", "clone", "--quiet", "--branch", "main", str(site.bare), str(tmp_path / "runner")
    )
    repo.folder = tmp_path / "runner"
    done = site.retrain()
    assert (done.returncode, ran(done.stdout), site.outputs()) == (
        0,
        ["download"],
        {"outcome": "unchanged"},
    )
    assert repo.json("models/generator.json")["sha256"] == record["challenger"]["sha256"]
