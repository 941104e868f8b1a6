"""The workflows: what they may do, what the linters find, and what their scripts do.

The scripts run with stand-ins for what only a runner has.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.imports import ROOT

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
WORKFLOWS: dict[str, dict[str, Any]] = {path.stem: YAML(typ="safe").load(path) for path in FILES}
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"].values()]
STEPS = [(name, step) for name, job in JOBS for step in job["steps"]]
RETRAIN = {step["name"]: step for name, step in STEPS if name == "retrain" and "name" in step}


@pytest.mark.holds("R-99")
def test_actions_are_pinned_by_commit_with_their_version_beside_it():
    lines = [
        line
        for path in FILES
        for line in path.read_text().splitlines()
        if re.match(r"\s*(- )?uses:", line)
    ]
    assert lines
    for line in lines:
        assert re.fullmatch(
            r" +- uses: actions/(checkout|setup-python)@[0-9a-f]{40} # v\d+\.\d+\.\d+", line
        ), line
    assert len({line.split("@")[1] for line in lines}) == len(
        {line.split("@")[0] for line in lines}
    )


@pytest.mark.holds("R-99")
@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_is_allowed_but_what_a_job_says(name):
    assert WORKFLOWS[name]["permissions"] == {}
    for job in WORKFLOWS[name]["jobs"].values():
        assert job["timeout-minutes"] < 360
        assert job["permissions"]["contents"] == {"ci": "read", "retrain": "write"}[name]


@pytest.mark.holds("R-99")
def test_the_checkout_leaves_no_credentials():
    for _, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.holds("R-88")
def test_no_expression_reaches_a_shell():
    assert not [step["run"] for _, step in STEPS if "${{" in step.get("run", "")]


def test_a_fork_gets_no_secret():
    assert set(WORKFLOWS["ci"]["on"]) == {"push", "pull_request"}
    assert "secrets." not in (FOLDER / "ci.yml").read_text()
    assert set(WORKFLOWS["retrain"]["on"]) == {"schedule", "workflow_dispatch"}
    assert "secrets: inherit" not in (FOLDER / "retrain.yml").read_text()


def test_retraining_runs_off_the_hour_and_one_at_a_time():
    (schedule,) = WORKFLOWS["retrain"]["on"]["schedule"]
    assert int(schedule["cron"].split()[0]) % 2 == 1
    assert WORKFLOWS["retrain"]["concurrency"] == {"group": "retrain", "cancel-in-progress": False}
    (job,) = WORKFLOWS["retrain"]["jobs"].values()
    assert RETRAIN["Retrain"]["timeout-minutes"] < job["timeout-minutes"]


def test_ci_runs_what_people_run_and_shows_the_figures_in_its_summary(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    (tmp_path / ".ci/figures").write_text("echo figures\n")
    make = tmp_path / "bin/make"
    make.parent.mkdir()
    make.write_text(f"#!/bin/sh\necho $* >> {tmp_path / 'made'}\n")
    make.chmod(0o755)
    environment = {
        "PATH": f"{make.parent}:/usr/bin:/bin",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    for name, step in STEPS:
        if name == "ci" and "run" in step:
            subprocess.run(
                ["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=environment, check=True
            )
    assert {"lint", "test"} <= set((tmp_path / "made").read_text().split())
    assert (tmp_path / "summary").read_text() == "figures\n"


def lint_commands() -> dict[str, list[str]]:
    """What `make lint` would run: arguments by program, one call a program but for ruff."""
    done = subprocess.run(
        ["make", "--dry-run", "--assume-old=.venv/.dev", "lint"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = (line.split() for line in done.stdout.splitlines() if line.strip())
    return {Path(program).name: arguments for program, *arguments in lines}


def test_make_lint_checks_code_scripts_workflows_and_the_dockerfile():
    commands = lint_commands()
    assert {"ruff", "mypy", "actionlint"} <= set(commands)
    assert ".github" in commands["zizmor"] and "Dockerfile" in commands["hadolint"]
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    scripts = {
        path for path in listed if re.match(rb"#!.*\b(ba)?sh\b", (ROOT / path).read_bytes()[:40])
    }
    assert scripts and scripts == set(commands["shellcheck"])


def linters() -> list[list[str]]:
    """actionlint and zizmor with the options that `make lint` gives them."""
    commands = lint_commands()
    return [
        [name, *(part for part in commands[name] if part.startswith("-"))]
        for name in ("actionlint", "zizmor")
    ]


@pytest.mark.holds("R-99")
@pytest.mark.parametrize("linter", [0, 1], ids=["actionlint", "zizmor"])
def test_the_linters_find_nothing(linter):
    command = [*linters()[linter], *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("linter", "old", "new", "rule"),
    [
        (0, "timeout-minutes: 350", "timeout-minuets: 350", "timeout-minuets"),
        (0, "steps.retrain.outputs.branch != ''", "steps.retrian.outputs.branch != ''", "retrian"),
        (0, '"${flags[@]}"', "${flags[@]}", "shellcheck"),
        (
            1,
            'read -ra assignments <<< "$SET"',
            "read -ra assignments <<< ${{ inputs.set }}",
            "template-injection",
        ),
        (1, "persist-credentials: false", "fetch-tags: false", "artipacked"),
        (1, "permissions: {}", "permissions: write-all", "excessive-permissions"),
        (1, "@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "@v5", "unpinned-uses"),
    ],
)
def test_the_linters_would_find(linter, old, new, rule, tmp_path):
    text = (FOLDER / "retrain.yml").read_text()
    assert old in text
    path = tmp_path / "retrain.yml"
    path.write_text(text.replace(old, new))
    done = subprocess.run(
        [*linters()[linter], str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and rule in done.stdout


class Runner:
    """A folder in which a step's script runs, with programs that only note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in ("bin", ".venv/bin", ".dvc", "results/gate"):
            (folder / path).mkdir(parents=True)

    def stand_in(self, path: str, exit_code: int = 0, outcome: str = "", prints: str = "") -> None:
        program = self.folder / path
        note = f'json.dump([sys.argv[1:], dict(os.environ)], open({str(program) + ".json"!r}, "w"))'
        if outcome:
            line = f"outcome={outcome}\n"
            note += f'\nopen(os.environ["GITHUB_OUTPUT"], "a").write({line!r})'
        note += f'\nprint({prints!r}, end="")'
        program.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n{note}\nsys.exit({exit_code})\n"
        )
        program.chmod(0o755)

    def called(self, path: str) -> tuple[list[str], dict[str, str]]:
        """The arguments and the environment of a stand-in's last call."""
        return json.loads((self.folder / f"{path}.json").read_text())

    def run(self, step: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        script = self.folder / "script"
        script.write_text(RETRAIN[step]["run"])
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder),
            **environment,
        }
        environment["GITHUB_OUTPUT"] = str(self.folder / "output")
        (self.folder / "output").touch()
        # As a runner calls it.
        return subprocess.run(
            ["bash", "-e", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


UNSET = {name: "" for name in RETRAIN["Retrain"]["env"] if name.startswith("MLFLOW")}


@pytest.fixture
def runner(tmp_path):
    runner = Runner(tmp_path)
    for program in ("bin/make", "bin/gh", ".venv/bin/python"):
        runner.stand_in(program)
    return runner


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        ("", []),
        ("seed=7", ["-S", "seed=7"]),
        ("  seed=7   generator.z_dim=64 ", ["-S", "seed=7", "-S", "generator.z_dim=64"]),
        ("seed=$(touch${IFS}caught) `touch caught`;touch caught * ~", None),
    ],
)
def test_what_a_person_types_becomes_flags_and_never_a_command(asked, flags, runner):
    done = runner.run("Retrain", SET=asked, **UNSET)
    assert done.returncode == 0, done.stderr
    called, environment = runner.called(".venv/bin/python")
    expected = (
        flags if flags is not None else [part for word in asked.split() for part in ("-S", word)]
    )
    assert called == ["-m", "pipeline", "retrain", "--git-remote", "origin", "--no-push", *expected]
    assert not (runner.folder / "caught").exists()
    assert not any(name.startswith("MLFLOW") for name in environment)


def test_secrets_that_are_set_reach_the_retraining(runner):
    runner.run(
        "Retrain",
        SET="",
        MLFLOW_TRACKING_URI="https://mlflow.example.org",
        MLFLOW_TRACKING_USERNAME="",
        MLFLOW_TRACKING_PASSWORD="",
    )
    assert (
        runner.called(".venv/bin/python")[1]["MLFLOW_TRACKING_URI"] == "https://mlflow.example.org"
    )


@pytest.mark.parametrize(
    ("exit_code", "outcome", "ends", "says"),
    [
        (0, "promoted", 0, ""),
        (0, "unchanged", 0, ""),
        (4, "refused", 0, "::warning title=Refused::"),
        (7, "cannot tell", 0, "::warning title=Cannot tell::"),
        (4, "failed", 4, "::error title=Not retrained::"),  # a training that diverged
        (6, "failed", 6, "::error title=Not retrained::"),
        (7, "", 7, "::error title=Not retrained::"),  # killed before it said anything
    ],
)
def test_a_champion_that_stays_leaves_the_job_green_and_says_why_and_a_failure_does_not(
    exit_code, outcome, ends, says, runner
):
    runner.stand_in(".venv/bin/python", exit_code, outcome)
    done = runner.run("Retrain", SET="", **UNSET)
    assert done.returncode == ends, done.stderr
    assert done.stdout.startswith(says) and len(done.stdout.splitlines()) == bool(says)


def test_a_remote_given_as_a_secret_is_written_for_the_owner_alone_and_forgotten(runner):
    config = runner.folder / ".dvc/config.local"
    assert (
        runner.run("Name the DVC remote", DVC_CONFIG_LOCAL="").returncode == 0
        and not config.exists()
    )
    text = "[core]\n    remote = store\n['remote \"store\"']\n    url = https://store.example.org"
    done = runner.run("Name the DVC remote", DVC_CONFIG_LOCAL=text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert config.read_text() == text + "\n" and config.stat().st_mode & 0o077 == 0
    assert RETRAIN["Forget the DVC remote"]["if"] == "always()"
    assert runner.run("Forget the DVC remote").returncode == 0 and not config.exists()


def test_a_branch_becomes_a_pull_request_with_the_gates_summary_unless_it_has_been_one(runner):
    name = "Push the branch and open a pull request"
    step = RETRAIN[name]
    assert step["if"] == "steps.retrain.outputs.branch != ''"
    for number, last in (("0", "create"), ("1", "list")):
        runner.stand_in("bin/gh", prints=number)
        runner.stand_in("bin/git")
        assert runner.run(name, BRANCH="retrain/1", GH_TOKEN="t").returncode == 0
        assert runner.called("bin/git")[0] == ["push", "--quiet", "origin", "refs/heads/retrain/1"]
        arguments = runner.called("bin/gh")[0]
        assert arguments[:4] == ["pr", last, "--head", "retrain/1"]
        assert ("results/gate/summary.md" in arguments) == (last == "create")


def test_a_branch_that_only_the_remote_has_is_not_pushed(runner):
    runner.stand_in("bin/git", exit_code=1)  # git show-ref: there is none
    runner.stand_in("bin/gh", prints="1")
    done = runner.run("Push the branch and open a pull request", BRANCH="retrain/1", GH_TOKEN="t")
    assert done.returncode == 0
    assert runner.called("bin/git")[0][0] == "show-ref"


def test_the_step_that_runs_all_packages_has_no_token_that_may_write_here(runner):
    with_token = [name for name, step in RETRAIN.items() if "GH_TOKEN" in step.get("env", {})]
    assert with_token == [
        "Fetch the branches of earlier jobs", "Push the branch and open a pull request",
    ]  # fmt: skip
    for name in with_token:
        assert "python" not in RETRAIN[name]["run"] and "make" not in RETRAIN[name]["run"]
    runner.stand_in("bin/git")
    assert runner.run(with_token[0], GH_TOKEN="t").returncode == 0
    assert runner.called("bin/gh")[0] == ["auth", "setup-git"]
    assert runner.called("bin/git")[0][:3] == ["fetch", "--quiet", "origin"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_change_of_the_figures_is_shown_against_the_commit_before(tmp_path):
    folder = tmp_path / "clone"
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT", "DVC", "MLFLOW"))
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    environment |= {"DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "GIT_CONFIG_GLOBAL": os.devnull}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    # The environment is there already.
    (folder / "Makefile").write_text(".venv/.runtime:\n")
    (folder / ".ci/small.yaml").write_text(
        (ROOT / ".ci/small.yaml").read_text().replace("num_samples: 100", "num_samples: 90")
    )
    run(
        "git", "-c", "user.name=t", "-c", "user.email=t@t",
        "commit", "--quiet", "--all", "--message", "fewer samples",
    )  # fmt: skip
    committed, small = run("bash", ".ci/figures").split("### A small run of the graph")
    assert committed.startswith("### Committed figures")
    assert "results/evaluate/metrics.json" not in committed
    rows = [line for line in small.splitlines() if "fid.mean" in line]
    assert rows and all("results/evaluate/metrics.json" in row for row in rows)
    assert "results/reference/metrics.json" not in small
    assert run("git", "status", "--porcelain") == ""
