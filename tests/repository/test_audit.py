"""What `make audit` makes of the answers of pip-audit, and what `make sbom` writes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import ROOT

LOCK = ROOT / "requirements.lock"
KNOWN = "CVE-2025-69872 2999-01-01 known and harmless here\n"


def audit(folder: Path, answer: str, ignored: str = KNOWN) -> subprocess.CompletedProcess:
    """Run the script with a stub of pip-audit that answers as told."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/audit", folder / ".ci/audit")
    (folder / ".ci/audit-ignore").write_text(ignored)
    (folder / "requirements.lock").write_text("a==1\nb==2\n")
    stub = folder / "bin/pip-audit"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/bash\necho "$@" > {folder}/asked\n{answer}\n')
    stub.chmod(0o755)
    return subprocess.run(
        ["bash", folder / ".ci/audit"], capture_output=True, text=True, check=False,
        env={"PATH": f"{stub.parent}:{os.environ['PATH']}"},
    )  # fmt: skip


@pytest.mark.holds("R-101")
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ("echo No known vulnerabilities found", 0, "No known"),
        ("echo a 1 GHSA-x; exit 1", 4, "GHSA-x"),
        ("echo Found 1 known vulnerability in 1 package; echo proxy 1 GHSA-x; exit 1", 4, "GHSA-x"),
        ("echo a could not be audited; echo b could not be audited", 0, "nothing was compared"),
        ("echo a could not be audited", 0, "1 of 2 packages could not be compared"),
        ("echo Connection refused; exit 1", 0, "nothing was compared"),
    ],
)
def test_a_vulnerability_fails_and_a_database_out_of_reach_is_said(answer, code, said, tmp_path):
    done = audit(tmp_path, answer)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
    assert "--ignore-vuln CVE-2025-69872" in (tmp_path / "asked").read_text()


@pytest.mark.holds("R-101")
@pytest.mark.parametrize(
    ("ignored", "code", "said"),
    [
        ("CVE-1 2020-01-01 old\n", 4, "was to be looked at again by 2020-01-01"),
        ("CVE-1 soon never mind\n", 2, "expected a name, a day"),
        ("CVE-1 2999-01-01\n", 2, "expected a name, a day"),
    ],
)
def test_what_is_ignored_has_a_reason_and_a_day(ignored, code, said, tmp_path):
    done = audit(tmp_path, "true", ignored)
    assert done.returncode == code
    assert said in done.stderr


def test_the_committed_list_is_read_and_its_days_have_not_passed(tmp_path):
    done = audit(tmp_path, "true", (ROOT / ".ci/audit-ignore").read_text())
    assert done.returncode == 0, done.stderr


@pytest.mark.holds("R-102")
def test_the_list_of_packages_is_valid_cyclonedx_and_has_every_locked_package(tmp_path):
    written = tmp_path / "sbom.json"
    (command,) = re.findall(r"\$\(BIN\)/(cyclonedx-py .*)", (ROOT / "Makefile").read_text())
    words = command.replace("sbom.json", str(written)).split()
    # It validates what it writes.
    subprocess.run([Path(sys.executable).parent / words[0], *words[1:]], cwd=ROOT, check=True)
    found = json.loads(written.read_text())
    assert found["bomFormat"] == "CycloneDX"
    locked = set(re.findall(r"^([a-z0-9._-]+)==", LOCK.read_text(), re.M))
    assert {component["name"] for component in found["components"]} == locked
