"""The files of a data set out of a package of Debian, installed or downloaded."""

import os
import subprocess
from pathlib import Path

from dcgan.errors import EnvironmentProblem
from dcgan.raw.dataset import DebianPackage

PACKAGE_SECONDS = 300  # for the download
ANSWER_SECONDS = 8  # that apt waits for a server


def installed(package: DebianPackage, _: Path) -> Path:
    """The folder into which an installed package has put the files; the second argument is unused.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    listed = _output(["dpkg", "-L", package.name], seconds=10).splitlines()
    first = next(iter(package.digests))
    for line in listed:
        if line.endswith(f"/{first}"):
            return Path(line).parent
    raise EnvironmentProblem(f"{package.name} is installed without {first}")


def by_apt(package: DebianPackage, served: Path) -> Path:
    """Download and unpack a package into the folder `served`; nothing is installed.

    Returns:
        The folder of the files in it.

    Raises:
        EnvironmentProblem: no Debian, no network, or no such package.
    """
    served = served.resolve()  # one of the commands runs there
    for folder in ("lists/partial", "cache/archives/partial"):
        (served / folder).mkdir(parents=True)
    (served / "status").touch()
    settings = {
        # Lists, cache and status of our own: no root needed, the machine's own are not touched.
        "Dir::State": served,
        "Dir::State::Lists": served / "lists",
        "Dir::State::status": served / "status",
        "Dir::Cache": served / "cache",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": ANSWER_SECONDS,
        "APT::Update::Error-Mode": "any",  # otherwise an update that reached no server ends well
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    try:
        _output(["apt-get", "-q", *options, "update"], seconds=30)
    except EnvironmentProblem:
        # If only some repositories have answered, the package may still be listed.
        if not any((served / "lists").glob("*_Packages*")):
            raise
    command = ["apt-get", "-q", *options, "download", package.name]
    _output(command, seconds=PACKAGE_SECONDS, cwd=served)
    left = list(served.glob("*.deb"))
    if len(left) != 1:
        raise EnvironmentProblem(f"apt-get download left {len(left)} packages, expected 1")
    _output(["dpkg-deb", "-x", str(left[0]), str(served / "package")], seconds=60)
    return served / "package" / package.folder


def _output(command: list[str], *, seconds: float, cwd: Path | None = None) -> str:
    """Standard output of a command; the first line of its complaint becomes the error."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, timeout=seconds,
            capture_output=True, check=True, text=True, errors="replace",
        )  # fmt: skip
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"{command[0]} is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(f"{command[0]} took more than {seconds:.0f} s") from error
    except subprocess.CalledProcessError as error:
        complaint = (error.stderr.strip().splitlines() or ["no reason given"])[0]
        raise EnvironmentProblem(f"{command[0]} failed: {complaint}") from error
    return done.stdout
