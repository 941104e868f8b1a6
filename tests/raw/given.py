"""Servers, sources and raw files for the tests of `dcgan.raw`."""

import hashlib
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dcgan.config import sections
from dcgan.raw import downloads, records, sources
from dcgan.raw.dataset import File, Pin, Raw, Records
from dcgan.raw.mnist import IDX_FILES, IDX_NAMES
from dcgan.raw.sources import Source
from tests.support.tiny import (
    section,
    write_celeba,
    write_cifar,
    write_lsun,
    write_svhn,
)

IMAGES, LABELS = IDX_NAMES[0], IDX_NAMES[3]
WRITE = {"cifar10": write_cifar, "svhn": write_svhn, "celeba": write_celeba, "lsun": write_lsun}
LIMITS = File(("weights.pth",), max_bytes=1000, seconds=20)
CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def raw_of(tmp_path: Path, name: str, source: object, **changes: object) -> Raw:
    """A data set, fetched into `tmp_path/raw` and opened."""
    dataset = section(name, source, **changes)
    downloads.fetch(tmp_path / "raw", dataset)
    return records.open_raw(tmp_path / "raw", dataset, seed=1)


def read_all(part: Records) -> list[Any]:
    """Every image of some records."""
    return [part.read(index) for index in range(len(part))]


class Server:
    """A web server on this machine that notes what it is asked for.

    It serves `files` by name, or does what `behave` says.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        self.behave: Callable[[BaseHTTPRequestHandler, bytes], None] = self.good
        server = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                server.asked.append(name)
                if name in server.files:
                    server.behave(self, server.files[name])
                else:
                    self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/data"

    def good(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        self.answer(request, content, len(content))

    @staticmethod
    def answer(request: BaseHTTPRequestHandler, content: bytes, length: int) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(length))
        request.end_headers()
        request.wfile.write(content)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def pin(content: bytes) -> Pin:
    return Pin(len(content), hashlib.sha256(content).hexdigest())


def mirror(server: Server, name: str = "mirror") -> Source:
    """A source whose served files are pinned as well, as those of Fashion-MNIST are."""
    digests = {
        path: f"md5:{hashlib.md5(content).hexdigest()}" for path, content in server.files.items()
    }
    return Source(name, lambda folder: sources._mirror(server.url, IDX_FILES, folder), digests)


def fashion(source: object) -> sections.Dataset:
    return section("fashion_mnist", source)


def fetch_from(places: list[Source], folder: Path, pins: dict[str, Pin]) -> str:
    return downloads.fetch_from(places, folder, fashion(None), pins)


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its sha256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(folder: Path) -> Server:
    """A server of all files in a folder."""
    return Server({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})


def sends_on(location: str) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    """What a server does that redirects."""

    def redirect(request: BaseHTTPRequestHandler, _: bytes) -> None:
        request.send_response(302)
        request.send_header("Location", location)
        request.end_headers()

    return redirect


def host(server: Server) -> str:
    return server.url.split("/")[2]
