"""Where the files of a data set come from: its publisher, or a place that the user names.

A source fills a folder with the files that it serves, unverified; `downloads` checks them.
"""

import contextlib
import functools
import ipaddress
import math
import queue
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
from dcgan.files import own_path
from dcgan.raw import debian
from dcgan.raw.dataset import DataSet, File
from dcgan.redaction import redact

CHUNK = 1 << 16
CONNECT_SECONDS, READ_SECONDS = 3, 8
# For a server to answer with its headers, with the look-up of its name and all retries.
ANSWER_SECONDS = 8
TOO_LATE = "dataset.download_minutes are over: raise them, or try again later"


@dataclass(frozen=True)
class Source:
    """A place that has the files of a data set, each under one of its names."""

    name: str
    get: Callable[[Path], Path]  # takes an empty folder to fill, returns the folder with the files
    digests: Mapping[str, str]  # "algorithm:hex" by served name; empty where none is published


def publisher_sources(name: str, data_set: DataSet, until: float = math.inf) -> list[Source]:
    """The places that serve a data set, nearest first.

    Args:
        name: of the data set, for the message.
        data_set: its entry in the catalog.
        until: the `time.monotonic()` at which all downloads end.

    Raises:
        ConfigError: no place serves it to a program; the message says what the user must do.
    """
    if data_set.by_hand:
        raise ConfigError(
            f"params.yaml: dataset.source = null: {name} cannot be fetched without you:"
            f" {data_set.by_hand}"
        )
    if not data_set.raw:
        return [
            Source("nowhere: its images are drawn when they are needed", lambda empty: empty, {})
        ]
    sources = [
        Source(
            base, functools.partial(_mirror, base, data_set.files, until=until), data_set.digests
        )
        for base in data_set.mirrors
    ]
    if package := data_set.debian:
        installed = functools.partial(debian.installed, package)
        by_apt = functools.partial(debian.by_apt, package)
        first = f"the installed Debian package {package.name}"
        last = f"Debian's package {package.name}, by apt-get download"
        sources = [
            Source(first, installed, package.digests),
            *sources,
            Source(last, by_apt, package.digests),
        ]
    return sources


def own_source(source: str, data_files: Sequence[File], until: float = math.inf) -> Source:
    """A place that the user names: a folder, or a URL below which the files are.

    Args:
        source: a folder's path, see `own_path`, or an https URL (http on this machine).
        data_files: the files to download; none: the source must be a folder.
        until: the `time.monotonic()` at which all downloads end.

    Raises:
        ConfigError: it is another kind of URL, or a URL where it must be a folder.
    """
    if "://" not in source:
        return Source(source, lambda _: own_path(source), {})
    try:
        may_ask = _may_ask(source)
    except ValueError as error:
        raise ConfigError(
            f"params.yaml: dataset.source: is no URL ({error}): must be an https URL or a folder"
        ) from error
    if not data_files:
        raise ConfigError(
            f"params.yaml: dataset.source = {shown(source)}: must be a folder of this machine,"
            " with dataset.name: folder"
        )
    if not may_ask:
        raise ConfigError(
            f"params.yaml: dataset.source = {shown(source)}: must be an https URL or a folder"
        )
    return Source(shown(source), functools.partial(_mirror, source, data_files, until=until), {})


def download(url: str, limits: File, path: Path, redirects: Collection[str] = ()) -> None:
    """Download the one file at a URL to `path`, unverified.

    Args:
        url: https, or http on this machine.
        limits: bytes and seconds it may take; its names mean nothing here.
        path: where it goes.
        redirects: hosts, with the port where it is not the usual one, to which the server may
            redirect, once.

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


def _mirror(base: str, data_files: Sequence[File], served: Path, until: float = math.inf) -> Path:
    """Download each file under the first of its names that the server has."""
    with _session(base) as session:
        for file in data_files:
            if not any(_download(session, base, name, file, served, until) for name in file.names):
                raise EnvironmentProblem(
                    f"has {'neither' if file.names[1:] else 'no'} {' nor '.join(file.names)} (404)"
                )
    return served


def _session(base: str) -> requests.Session:
    """A session for https to any host, and for http only where `base` is on this machine."""
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


def _download(
    session: requests.Session, base: str, name: str, limits: File, served: Path, until: float
) -> bool:
    """Stream one file, within its limits, into the folder `served`; False where it is not there."""
    url = urljoin(base if base.endswith("/") else f"{base}/", name)
    return _stream(session, url, served / name, limits, until=until)


def _stream(
    session: requests.Session,
    url: str,
    path: Path,
    limits: File,
    redirects: Collection[str] = (),
    until: float = math.inf,
) -> bool:
    """Stream a URL, within its limits, to `path`; False where the server has no such file."""
    name = path.name
    deadline = time.monotonic() + limits.seconds
    if time.monotonic() > until:
        raise EnvironmentProblem(f"{name}: {TOO_LATE}")
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
            # read1 returns what has arrived, so that a slow server cannot hold us beyond the
            # deadline.
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                size += len(chunk)
                if size > limits.max_bytes:
                    raise DataError(
                        f"{name}: is longer than {limits.max_bytes} bytes: is it the right file?"
                    )
                if time.monotonic() > until:
                    raise EnvironmentProblem(f"{name}: {TOO_LATE}")
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
    """Whether it is an https URL, or an http one on this machine; ValueError where it is no URL."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    )


def _may_follow(location: str, redirects: Collection[str]) -> bool:
    """Whether a redirect leads to one of the hosts.

    All that stands between // and / is compared, so that no user and no other port passes.
    """
    try:
        return urlsplit(location).netloc.lower() in redirects and _may_ask(location)
    except ValueError:
        return False


def is_loopback(host: str | None) -> bool:
    """Whether a host's name or address is this machine's own: localhost, 127.x.x.x or ::1."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """The URL without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return redact(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
