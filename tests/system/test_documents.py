"""Every command of README.md and docs/daily.md, typed on a fresh clone in the order they stand."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import strangers
from tests.support.documents import commands
from tests.support.idx_source import write_idx_source
from tests.support.imports import ROOT
from tests.support.params import small
from tests.support.repository import Repository

# Not typed: what makes the environment, stays in the foreground, needs data that no test has, or
# trains a real recipe.
LEFT_OUT = (
    r"git clone", r"make (ui|test|lint|format)", r"source ", r"python -m pipeline compare RUN",
    r"python -m pipeline recipe apply celeba64 && dvc repro",
    r"dvc exp run \$\(python -m pipeline recipe flags", r"\.venv/bin/pre-commit",
    # test_web_page.py does these two.
    r"python -m pipeline export --to page", r"python -m http\.server",
)  # fmt: skip
# What stands for a command that makes the environment first.
TYPED_AS = {"make repro": "python -m pipeline repro", "make retrain": "python -m pipeline retrain"}
# Exit codes that the documents give: a second small training may be refused, and a first champion
# has none before it.
ALLOWED = {
    "python -m pipeline promote": {0, 4, 7},
    "python -m pipeline retrain": {0, 4, 7},
    "python -m pipeline rollback": {0, 5},
}


def allowed(command: str) -> set[int]:
    return next((codes for start, codes in ALLOWED.items() if command.startswith(start)), {0})


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_command_works_on_a_fresh_clone_in_its_order(tmp_path):
    source = tmp_path / "source"
    write_idx_source(source, num_train=400, num_test=120)
    strangers.sorted_classes(tmp_path / "pictures")
    # A gate that a small training passes: what comes after it needs a champion.
    limits = ("max_kid", "min_recall", "min_class_share", "min_probe", "min_memorisation")
    gate = {f"gate.{limit}": None for limit in limits}
    origin = Repository(tmp_path / "origin", source, **small(epochs=1, **gate))
    repo = clone(origin, tmp_path / "clone")
    typed = []
    for document in ("README.md", "docs/daily.md"):
        for command in commands(ROOT / document):
            if any(re.match(pattern, command) for pattern in LEFT_OUT):
                continue
            line = command.replace("FOLDER", str(tmp_path / "pictures"))
            line = line.replace("--to DIR", f"--to {tmp_path / 'exported'}")
            for start, instead in TYPED_AS.items():
                line = re.sub(rf"^{start}\b", instead, line)
            line = re.sub(r'ARGS="(.*?)"', r"\1", line)
            done = repo.run("bash", "-c", line, check=False, timeout=900)
            assert done.returncode in allowed(line), f"{command}\n{done.stdout}\n{done.stderr}"
            typed.append(command)
            if "pipeline init" in line:
                # Thousands of steps would follow.
                repo.run("git", "checkout", "--quiet", "params.yaml")
            if "queue start" in line:
                wait_for_the_queue(repo)
    assert len(typed) > 20
    assert sum(command == "make repro" for command in typed) == 2


def clone(origin: Repository, folder: Path) -> Repository:
    """A clone of it, as a stranger has one, with the same environment."""
    subprocess.run(["git", "clone", "--quiet", str(origin.folder), str(folder)], check=True)
    repo = object.__new__(Repository)
    repo.folder, repo.env = folder, origin.env
    return repo


def wait_for_the_queue(repo: Repository) -> None:
    for _ in range(300):
        status = repo.run("dvc", "queue", "status", check=False).stdout
        if status and not re.search(r"Queued|Running", status):
            break
        time.sleep(2)
    repo.run("dvc", "queue", "stop", "--kill", check=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_ui_starts_and_ends_as_the_documents_say(tmp_path):
    source = tmp_path / "source"
    write_idx_source(source, num_train=40, num_test=20)
    repo = Repository(tmp_path / "repo", source)
    server = subprocess.Popen(
        ["python", "-m", "pipeline", "ui", "--port", "5987"],
        cwd=repo.folder, env=repo.env, stdout=subprocess.PIPE, text=True,
        # A shell that runs the tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert server.stdout is not None
    assert "MLflow runs at http://127.0.0.1:5987" in server.stdout.readline()
    server.send_signal(signal.SIGINT)
    assert server.wait(60) == 0
