"""Where the files of a data set, or of one of one's own in its format, come from.

A source fills a folder with what it serves. Whether that is right is for `dcgan.downloads` to say.
"""

import contextlib
import functools
import ipaddress
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from dcgan import files
from dcgan.errors import ConfigError, DataError, EnvironmentProblem
from dcgan.raw.catalog import DEBIAN_DIGESTS, DEBIAN_PACKAGE, IDX_NAMES, File, Known
from dcgan.redaction import redact

CHUNK = 1 << 16
CONNECT_SECONDS, READ_SECONDS = 3, 8
ANSWER_SECONDS = (
    8  # until a server has said what it will send, look-up of its name and tries included
)
PACKAGE_SECONDS = 300  # for Debian's package


@dataclass(frozen=True)
class Source:
    """A place that has the files of a data set, under one of their names each."""

    name: str
    get: Callable[
        [Path], Path
    ]  # given an empty folder, returns the folder that now holds the files
    digests: Mapping[
        str, str
    ]  # of each file as served, "algorithm:hex" by its name there; empty where nobody published any


def publisher_sources(name: str, known: Known) -> list[Source]:
    """Where a data set of the catalog is to be had, the nearest first; `known` is what the catalog says of it.

    Raises:
        ConfigError: nowhere without a person's help; the message says what to do.
    """
    if known.by_hand:
        raise ConfigError(
            f"params.yaml: dataset.source = null: {name} cannot be fetched without you: {known.by_hand}"
        )
    found = [
        Source(base, functools.partial(_mirror, base, known.files), known.digests)
        for base in known.mirrors
    ]
    if name == "fashion_mnist":
        found.insert(
            0, Source(f"the installed Debian package {DEBIAN_PACKAGE}", _installed, DEBIAN_DIGESTS)
        )
        found.append(
            Source(f"Debian's package {DEBIAN_PACKAGE}, by apt-get download", _apt, DEBIAN_DIGESTS)
        )
    return found


def own_source(source: str, wanted: Sequence[File]) -> Source:
    """A folder, or an https URL (http on this machine) from which the wanted files are downloaded.

    Raises:
        ConfigError: the URL is neither, or nothing can be asked of a URL.
    """
    if "://" not in source:
        return Source(source, lambda _: Path(source).expanduser(), {})
    try:
        may_ask = _may_ask(source)
    except ValueError as error:
        raise ConfigError(
            f"params.yaml: dataset.source: is no URL ({error}): must be an https URL or a folder"
        ) from error
    if not wanted:
        raise ConfigError(
            f"params.yaml: dataset.source = {shown(source)}: must be a folder of this machine, with dataset.name: folder"
        )
    if not may_ask:
        raise ConfigError(
            f"params.yaml: dataset.source = {shown(source)}: must be an https URL or a folder"
        )
    return Source(shown(source), functools.partial(_mirror, source, wanted), {})


def download(url: str, limits: File, path: Path, redirects: Collection[str] = ()) -> None:
    """Stream the one file that a URL is to `path`, unverified.

    Args:
        url: https, or http on this machine.
        limits: bytes and seconds it may take; its names mean nothing here.
        path: where it goes.
        redirects: hosts, with the port where it is not the usual one, to which the server may send
            us on, once.

    Raises:
        ConfigError: another kind of URL.
        DataError: the file is too long.
        EnvironmentProblem: no answer, not the file, a redirect elsewhere, or too slow.
    """
    try:
        may_ask = _may_ask(url)
    except ValueError as error:
        raise ConfigError(f"is no URL ({error}): must be an https URL or a file") from error
    if not may_ask:
        raise ConfigError(f"{shown(url)}: must be an https URL or a file")
    with _session(url) as session:
        if not _stream(session, url, path, limits, redirects):
            raise EnvironmentProblem(f"{shown(url)}: is not there (404)")


def _installed(_: Path) -> Path:
    listed = _run(["dpkg", "-L", DEBIAN_PACKAGE], seconds=10).splitlines()
    for line in listed:
        if line.endswith(f"/{IDX_NAMES[0]}.gz"):
            return Path(line).parent
    raise EnvironmentProblem(f"{DEBIAN_PACKAGE} is installed without {IDX_NAMES[0]}.gz")


def _apt(served: Path) -> Path:
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
        "Acquire::http::Timeout": READ_SECONDS,
        "APT::Update::Error-Mode": "any",  # without it, an update that reached nobody ends well
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    try:
        _run(["apt-get", "-q", *options, "update"], seconds=30)
    except EnvironmentProblem:
        # One repository of several that does not answer is no reason to give up.
        if not any((served / "lists").glob("*_Packages*")):
            raise
    _run(
        ["apt-get", "-q", *options, "download", DEBIAN_PACKAGE], seconds=PACKAGE_SECONDS, cwd=served
    )
    packages = list(served.glob("*.deb"))
    if len(packages) != 1:
        raise EnvironmentProblem(f"apt-get download left {len(packages)} packages, expected 1")
    _run(["dpkg-deb", "-x", str(packages[0]), str(served / "package")], seconds=60)
    return served / "package/usr/share/datasets/fashion-mnist"


def _run(command: list[str], *, seconds: float, cwd: Path | None = None) -> str:
    """Standard output of a command; the first line of its complaint becomes the error."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            timeout=seconds,
            capture_output=True,
            check=True,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"{command[0]} is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(f"{command[0]} took more than {seconds:.0f} s") from error
    except subprocess.CalledProcessError as error:
        complaint = (error.stderr.strip().splitlines() or ["no reason given"])[0]
        raise EnvironmentProblem(f"{command[0]} failed: {complaint}") from error
    return done.stdout


def _mirror(base: str, wanted: Sequence[File], served: Path) -> Path:
    """Download each wanted file under the first of its names that the server has."""
    with _session(base) as session:
        for file in wanted:
            if not any(_download(session, base, name, file, served) for name in file.names):
                raise EnvironmentProblem(
                    f"has {'neither' if file.names[1:] else 'no'} {' nor '.join(file.names)} (404)"
                )
    return served


def _session(base: str) -> requests.Session:
    """A session that speaks https, to whomever; http to the one loopback address in `base`, and to nobody else."""
    retries = urllib3.Retry(
        total=2,
        connect=0,
        status_forcelist=(500, 502, 503, 504),
        backoff_factor=0.3,
        raise_on_status=False,
        respect_retry_after_header=False,  # which may ask for hours
    )
    session = requests.Session()
    session.adapters.clear()
    session.mount("https://", HTTPAdapter(max_retries=retries))
    parts = urlsplit(base)
    if parts.scheme == "http" and is_loopback(parts.hostname):
        session.mount(f"http://{parts.netloc}/", HTTPAdapter(max_retries=retries))
        session.trust_env = False  # a proxy would look for this address on itself
    session.headers["Accept-Encoding"] = "identity"
    return session


def _download(session: requests.Session, base: str, name: str, limits: File, served: Path) -> bool:
    """Stream one file, within its limits, into the folder `served`; False where the server has none."""
    return _stream(
        session, urljoin(base if base.endswith("/") else f"{base}/", name), served / name, limits
    )


def _stream(
    session: requests.Session, url: str, path: Path, limits: File, redirects: Collection[str] = ()
) -> bool:
    """Stream a URL, within its limits, to `path`; False where the server has none."""
    name = path.name
    deadline = time.monotonic() + limits.seconds
    with _answer(session, url) as response, contextlib.ExitStack() as stack:
        if response.status_code == 404:
            return False
        if response.is_redirect and _may_follow(response.headers["Location"], redirects):
            target = response.headers["Location"]
            # A session of its own: it takes no password along, and speaks to the new host only as
            # to any other.
            with _session(target) as following:
                return _stream(following, target, path, limits)
        if response.is_redirect:
            raise EnvironmentProblem(
                f"{name}: redirects to {shown(response.headers['Location'])}: refused; use that URL"
            )
        if response.status_code != 200:
            raise EnvironmentProblem(
                f"{name}: answers {response.status_code}, expected 200: try again later"
            )
        file = stack.enter_context(open(stack.enter_context(files.replacing(path)), "wb"))
        size = 0
        try:
            # read1 gives what has come, so that a server which drips cannot hold us beyond the
            # deadline.
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                size += len(chunk)
                if size > limits.max_bytes:
                    raise DataError(
                        f"{name}: is longer than {limits.max_bytes} bytes: is it the right file?"
                    )
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(
                        f"{name}: took more than {limits.seconds:g} s: try again later"
                    )
                file.write(chunk)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise EnvironmentProblem(f"{name}: broke off after {size} bytes: run again") from error
    return True


def _answer(session: requests.Session, url: str) -> requests.Response:
    """The response's headers, within ANSWER_SECONDS.

    In a thread, because looking up a name without a network can block for longer than any timeout
    that requests knows.
    """
    answers: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(
                session.get(
                    url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False
                )
            )
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise EnvironmentProblem(
            f"no answer within {ANSWER_SECONDS} s: check the network"
        ) from None
    if isinstance(answer, requests.RequestException):
        raise EnvironmentProblem(
            f"no answer ({type(answer).__name__}): check the network"
        ) from answer
    if isinstance(answer, Exception):
        raise answer
    return answer


def _may_ask(url: str) -> bool:
    """Whether it is an https URL, or an http one on this machine; ValueError where it is none at all."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    )


def _may_follow(location: str, redirects: Collection[str]) -> bool:
    """Whether a redirect leads to one of the hosts; compared with all that stands between // and /, so no user, no other port."""
    try:
        return urlsplit(location).netloc.lower() in redirects and _may_ask(location)
    except ValueError:
        return False


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself: `localhost`, or a loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """The URL without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return redact(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
