"""What the Dockerfile says, and what the entry point does with signals and exit codes.

The Dockerfile is only read here; tests/system/test_container.py carries it out.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import dockerfile
from tests.support.imports import ROOT

BUILD, FINAL = dockerfile.stages()
ENTRYPOINT = ROOT / "docker/entrypoint.sh"


@pytest.mark.holds("R-103")
def test_both_stages_start_from_one_base_of_an_exact_version():
    bases = {stage[0].words[0] for stage in (BUILD, FINAL)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", bases.pop())


def test_packages_come_from_the_lock_with_their_hashes_and_nothing_else_is_installed():
    installs = [
        part
        for line in dockerfile.values(BUILD, "RUN")
        for part in line.value.split("&&")
        if "pip" in part
    ]
    assert [part.split()[-5:] for part in installs[-1:]] == [
        ["install", "--no-cache-dir", "--require-hashes", "-r", "/tmp/requirements.lock"]
    ]
    (run,) = dockerfile.values(FINAL, "RUN")
    (packages,) = re.findall(r"apt-get install (.*?) &&", run.value)
    assert [word for word in packages.split() if not word.startswith("--")] == ["git", "tini"]
    assert "pip install" not in run.value


@pytest.mark.holds("R-103")
def test_no_build_tool_stays():
    (run,) = dockerfile.values(FINAL, "RUN")
    assert "pip uninstall --yes pip setuptools wheel" in run.value
    assert "venv --without-pip" in dockerfile.values(BUILD, "RUN")[0].value
    copied = [line.words for line in dockerfile.values(FINAL, "COPY")]
    assert copied[0] == ["--from=build", "/opt/venv", "/opt/venv"]


@pytest.mark.holds("R-103")
def test_it_runs_as_a_numeric_user_who_is_not_root():
    (user,) = dockerfile.values(FINAL, "USER")
    uid, gid = map(int, user.value.split(":"))
    assert uid > 1000 and gid > 1000
    assert f"--uid {uid}" in dockerfile.values(FINAL, "RUN")[0].value
    after = FINAL[FINAL.index(user) + 1 :]
    assert {line.name for line in after} == {"WORKDIR", "ENTRYPOINT", "CMD"}


def test_tini_hands_signals_to_the_whole_group_of_the_entry_point():
    (entry,) = dockerfile.values(FINAL, "ENTRYPOINT")
    assert entry.words == ["tini", "-g", "--", "entrypoint"]
    assert ["docker/entrypoint.sh", "/usr/local/bin/entrypoint"] in [
        line.words for line in dockerfile.values(FINAL, "COPY")
    ]
    assert os.access(ENTRYPOINT, os.X_OK)
    assert dockerfile.values(FINAL, "CMD")[0].words == ["dvc", "repro"]


def test_whatever_is_written_lies_in_the_volume_or_in_tmp():
    environment = dockerfile.environment(FINAL)
    paths = {
        key: value for key, value in environment.items() if value.startswith("/") and key != "PATH"
    }
    assert {"HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "DVC_SITE_CACHE_DIR"} == set(paths)
    assert all(path == "/tmp" or path.startswith(("/tmp/", "/work/")) for path in paths.values())
    assert dockerfile.values(FINAL, "WORKDIR")[0].value == "/work"


def test_the_build_sees_only_what_it_copies():
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    copied = {
        word
        for stage in (BUILD, FINAL)
        for line in dockerfile.values(stage, "COPY")
        for word in line.words[:1]
    }
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines[1:]} == copied - {"--from=build"}
    assert all(line.startswith("!") and (ROOT / line[1:]).is_file() for line in lines[1:])


@pytest.mark.holds("R-99")
@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("USER 10001:10001", "USER root", "DL3002"),
        ("FROM python:3.11.7-slim-bookworm", "FROM python:latest", "DL3007"),
        ('ENTRYPOINT ["tini", "-g", "--", "entrypoint"]', "ENTRYPOINT tini entrypoint", "DL3025"),
        ("WORKDIR /work", "WORKDIR work", "DL3000"),
    ],
)
def test_hadolint_finds_nothing_and_would_find(old, new, rule):
    def hadolint(text: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["hadolint", "-"], input=text, capture_output=True, text=True, check=False
        )

    text = dockerfile.PATH.read_text()
    assert old in text
    clean, changed = hadolint(text), hadolint(text.replace(old, new))
    assert (clean.returncode, clean.stdout) == (0, "")
    assert changed.returncode == 1 and rule in changed.stdout


# As dvc: it dies of the signal at once, and leaves a stage that writes its checkpoint first.
LEAVES_A_STAGE = """
import subprocess, sys, time
stage = '''
import signal, sys, time
def stop(*_):
    time.sleep(0.5)
    open("checkpoint", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
open("ready", "w").close()
while True:
    time.sleep(0.05)
'''
subprocess.run([sys.executable, "-c", stage])
"""


def entrypoint(*command: str, cwd: Path) -> "subprocess.Popen[bytes]":
    # Signals may be ignored by what started the tests, and what is ignored cannot be caught in a
    # shell.
    def attend() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [str(ENTRYPOINT), *command], cwd=cwd, stdin=subprocess.DEVNULL, preexec_fn=attend
    )


def test_the_entry_point_ends_after_the_stage_that_dvc_leaves(tmp_path):
    process = entrypoint(sys.executable, "-c", LEAVES_A_STAGE, cwd=tmp_path)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(
    ("command", "code"), [("exit 0", 0), ("exit 4", 4), ("kill -KILL $$", 137)]
)
def test_the_entry_point_ends_with_the_code_of_its_command(command, code, tmp_path):
    assert entrypoint("bash", "-c", command, cwd=tmp_path).wait(timeout=60) == code
