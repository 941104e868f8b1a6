"""Files out of a package of Debian; the commands are scripts of our own."""

from pathlib import Path

import pytest

from dcgan.errors import EnvironmentProblem
from dcgan.raw import debian
from dcgan.raw.dataset import DebianPackage

PACKAGE = DebianPackage("toys", "usr/share/toys", {"images.gz": "md5:00"})


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Makes a command of a script; no other is on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def command(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)

    return command


def test_an_installed_package_says_where_its_files_are(command, tmp_path):
    command("dpkg", 'echo /usr; echo /usr/share/toys; echo "/usr/share/toys/images.gz"')
    assert debian.installed(PACKAGE, tmp_path) == Path("/usr/share/toys")
    command("dpkg", "echo /usr; echo /usr/share/toys/other.gz")
    with pytest.raises(EnvironmentProblem, match=r"toys is installed without images\.gz"):
        debian.installed(PACKAGE, tmp_path)


def test_a_command_that_fails_or_is_not_there_is_one_line(command, tmp_path):
    with pytest.raises(EnvironmentProblem, match="dpkg is not on this machine"):
        debian.installed(PACKAGE, tmp_path)
    command("dpkg", "echo first >&2; echo second >&2; exit 1")
    with pytest.raises(EnvironmentProblem) as caught:
        debian.installed(PACKAGE, tmp_path)
    assert str(caught.value) == "dpkg failed: first"


def test_a_package_is_downloaded_and_unpacked_without_being_installed(command, tmp_path):
    asked = tmp_path / "asked"
    script = f'echo "$*" >> {asked}; case "$*" in *" download toys") touch toys.deb;; esac'
    command("apt-get", script)
    command("dpkg-deb", 'mkdir -p "$3/usr/share/toys"; echo "$1" > "$3/usr/share/toys/images.gz"')
    served = tmp_path / "served"
    served.mkdir()
    folder = debian.by_apt(PACKAGE, served)
    assert folder == served / "package/usr/share/toys"
    assert (folder / "images.gz").read_text() == "-x\n"
    update, download = asked.read_text().splitlines()
    assert update.endswith(" update") and download.endswith(" download toys")
    # With folders of its own, so that the machine's are not touched.
    assert all(f"Dir::State={served} " in line for line in (update, download))


def test_a_download_that_leaves_no_single_package_is_refused(command, tmp_path):
    command("apt-get", 'case "$*" in *" download toys") touch a.deb b.deb;; esac')
    served = tmp_path / "served"
    served.mkdir()
    with pytest.raises(EnvironmentProblem, match="left 2 packages, expected 1"):
        debian.by_apt(PACKAGE, served)
