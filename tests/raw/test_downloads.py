import gzip
import hashlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dcgan.config import sections
from dcgan.errors import ConfigError, DataError, EnvironmentProblem
from dcgan.raw import catalog, downloads, sources, unpacking
from dcgan.raw.catalog import IDX_FILES, Pin
from dcgan.raw.catalog import IDX_NAMES as NAMES
from dcgan.raw.sources import Source
from tests.support.imports import ROOT
from tests.support.tiny import section, write_celeba, write_cifar, write_lsun, write_svhn

IMAGES, LABELS = NAMES[0], NAMES[3]


class Server:
    """A web server on this machine: serves `files` by name, or does what `behave` says; counts what it was asked for."""

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


@pytest.fixture
def server(idx_source):
    server = Server({path.name: path.read_bytes() for path in idx_source.iterdir()})
    yield server
    server.close()


@pytest.fixture
def pins(idx_source):
    return {name: pin(gzip.decompress((idx_source / f"{name}.gz").read_bytes())) for name in NAMES}


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
    return downloads.fetch_from(places, folder, catalog.FASHION_MNIST, unpacking.idx, pins)


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


# What arrives


def test_a_folder_a_server_packed_and_unpacked_all_give_the_same_bytes(
    tmp_path, idx_source, server
):
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in NAMES:
        (plain / name).write_bytes(gzip.decompress((idx_source / f"{name}.gz").read_bytes()))
    assert downloads.fetch(tmp_path / "a", fashion(str(idx_source))) == str(idx_source)
    assert downloads.fetch(tmp_path / "b", fashion(str(plain))) == str(plain)
    assert downloads.fetch(tmp_path / "c", fashion(server.url)) == server.url
    server.files = {path.name: path.read_bytes() for path in plain.iterdir()}
    downloads.fetch(tmp_path / "d", fashion(server.url + "/"))
    assert (
        tree(tmp_path / "a") == tree(tmp_path / "b") == tree(tmp_path / "c") == tree(tmp_path / "d")
    )
    assert set(tree(tmp_path / "a")) == {*NAMES, "manifest.json"}
    assert all(
        (tmp_path / "a" / name).read_bytes() == (plain / name).read_bytes() for name in NAMES
    )


def test_the_first_source_that_answers_is_used_and_named(tmp_path, server, pins):
    dead = Source(
        "dead",
        lambda folder: sources._mirror(f"http://127.0.0.1:{free_port()}", IDX_FILES, folder),
        {},
    )
    assert fetch_from([dead, mirror(server, "living"), dead], tmp_path / "raw", pins) == "living"


def test_a_source_with_wrong_bytes_is_passed_over_for_a_good_one(tmp_path, server, pins, caplog):
    bad = Server({**server.files, f"{LABELS}.gz": b"<html>please log in</html>"})
    good = mirror(server, "good")
    wrong = Source(
        "wrong", lambda folder: sources._mirror(bad.url, IDX_FILES, folder), good.digests
    )
    assert fetch_from([wrong, good], tmp_path / "raw", pins) == "good"
    assert f"wrong: {LABELS}.gz: md5 is" in caplog.text
    bad.close()


def test_verified_files_are_not_fetched_again(tmp_path, server, pins):
    fetch_from([mirror(server)], tmp_path / "raw", pins)
    before = tree(tmp_path)
    server.asked.clear()
    assert "already" in fetch_from([mirror(server)], tmp_path / "raw", pins)
    assert server.asked == []
    assert tree(tmp_path) == before


def test_a_damaged_file_is_replaced(tmp_path, server, pins):
    fetch_from([mirror(server)], tmp_path / "raw", pins)
    before = tree(tmp_path)
    (tmp_path / "raw" / IMAGES).write_bytes(b"damaged")
    fetch_from([mirror(server)], tmp_path / "raw", pins)
    assert tree(tmp_path) == before


@pytest.mark.slow
def test_fashion_mnist_is_where_we_say_it_is(tmp_path):
    downloads.fetch(tmp_path / "raw", fashion(None))
    assert {
        name: pin((tmp_path / "raw" / name).read_bytes()) for name in NAMES
    } == catalog.FASHION_MNIST.pins


# What is refused


def test_any_single_flipped_bit_is_refused_and_what_was_there_stays(tmp_path, server, pins):
    old = {path: b"older data" for path in NAMES}
    (tmp_path / "raw").mkdir()
    for name, content in old.items():
        (tmp_path / "raw" / name).write_bytes(content)
    before, good, source = tree(tmp_path), dict(server.files), mirror(server)
    draw = random.Random(0)
    for _ in range(200):
        (name,) = draw.choices(sorted(good), weights=[len(good[name]) for name in sorted(good)])
        content = bytearray(good[name])
        bit = draw.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        server.files = {**good, name: bytes(content)}
        with pytest.raises(DataError, match=r"md5 is [0-9a-f]{32}, expected [0-9a-f]{32}: refused"):
            fetch_from([source], tmp_path / "raw", pins)
    assert tree(tmp_path) == before


def test_the_uncompressed_bytes_are_pinned_on_their_own(tmp_path, server, pins):
    server.files[f"{LABELS}.gz"] = gzip.compress(struct.pack(">2I", 0x801, 100) + bytes(100))
    with pytest.raises(DataError, match=f"{LABELS}: sha256 is"):
        fetch_from([mirror(server)], tmp_path / "raw", pins)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            lambda request, content: Server.answer(
                request, content[: len(content) // 2], len(content)
            ),
            EnvironmentProblem,
        ),
        (lambda request, content: Server.answer(request, content[:7], 7), DataError),
        (lambda request, content: Server.answer(request, b"", 0), DataError),
        (lambda request, content: Server.answer(request, content, len(content) - 5), DataError),
        (
            lambda request, content: Server.answer(request, content, len(content) + 5),
            EnvironmentProblem,
        ),
        (lambda request, content: Server.answer(request, b"<html>404</html>", 16), DataError),
    ],
    ids=["cut", "short", "empty", "longer than declared", "shorter than declared", "an error page"],
)
def test_a_body_that_is_not_the_file_is_refused_and_what_was_there_stays(
    tmp_path, server, pins, answer, error
):
    for source, known in ((mirror(server), pins), (sources.own_source(server.url, IDX_FILES), {})):
        server.behave = server.good
        fetch_from([source], tmp_path / "raw", known)
        (tmp_path / "raw" / IMAGES).write_bytes(b"another version")
        before = tree(tmp_path)
        server.behave = answer
        with pytest.raises(error):
            fetch_from([source], tmp_path / "raw", known)
        assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda packed: packed[:-9], "is truncated after"),
        (
            lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
            "incorrect data check",
        ),
        (lambda packed: packed + b"more", "has garbage after its end"),
        (lambda packed: packed + b"\x1f", "has garbage after its end"),
        (lambda packed: packed + gzip.compress(b"more"), "has a second gzip member"),
        (lambda packed: b"PK\x03\x04" + packed, "incorrect header check"),
    ],
)
def test_damaged_gzip_files_are_told_apart_and_named(tmp_path, idx_source, damage, complaint):
    source = copy_of(idx_source, tmp_path / "source")
    path = source / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{IMAGES}.gz: .*{complaint}"):
        downloads.fetch(tmp_path / "raw", fashion(str(source)))
    assert not (tmp_path / "raw").exists()


def test_a_gzip_bomb_is_stopped_at_its_expected_size(tmp_path, idx_source):
    source = copy_of(idx_source, tmp_path / "source")
    bomb = gzip.compress(struct.pack(">2I", 0x801, 100) + bytes(200 << 20), compresslevel=1)
    (source / f"{LABELS}.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{LABELS}.gz: holds more than the expected 108 bytes"):
            downloads.fetch(tmp_path / "raw", fashion(str(source)))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (
            LABELS,
            struct.pack(">2I", 0x801, 99) + bytes(99),
            "99 labels, t10k-images-idx3-ubyte has 100 images",
        ),
        (LABELS, struct.pack(">2I", 0x801, 100) + bytes(99), "has 107 bytes, its header"),
        (
            LABELS,
            struct.pack(">2I", 0x801, 100) + bytes(101),
            "holds more than the expected 108 bytes",
        ),
        (LABELS, struct.pack(">4I", 0x803, 100, 1, 1) + bytes(100), "has 3 dimensions, expected 1"),
        (
            IMAGES,
            struct.pack(">4I", 0x803, *[2**32 - 1] * 3) + bytes(100),
            "has 116 bytes, its header",
        ),
        (IMAGES, b"", "begins with nothing"),
    ],
)
def test_files_of_ones_own_must_be_idx_files_that_fit_together(
    tmp_path, idx_source, name, content, complaint
):
    source = copy_of(idx_source, tmp_path / "source")
    (source / f"{name}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=complaint) as caught:
        downloads.fetch(tmp_path / "raw", fashion(str(source)))
    assert "-part-" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_a_folder_without_the_files_is_refused_by_their_names(tmp_path):
    with pytest.raises(
        DataError, match=f"{tmp_path}/none: {IMAGES}.gz and {IMAGES} are both missing"
    ):
        downloads.fetch(tmp_path / "raw", fashion(str(tmp_path / "none")))


# Servers that do not help


def test_an_error_500_is_tried_three_times_and_no_more(tmp_path, server):
    server.behave = lambda request, _: request.send_error(500)
    with pytest.raises(EnvironmentProblem, match=f"{IMAGES}.gz: answers 500"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    assert len(server.asked) == 3


def test_a_file_that_the_server_has_not_is_named(tmp_path, server):
    del server.files[f"{LABELS}.gz"]
    with pytest.raises(EnvironmentProblem, match=f"has neither {LABELS}.gz nor {LABELS}"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    assert not (tmp_path / "raw").exists()


def test_a_reset_connection_is_tried_three_times_and_no_more(tmp_path, server):
    def reset(request: BaseHTTPRequestHandler, _: bytes) -> None:
        # Lingering for 0 s makes the kernel send RST.
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    server.behave = reset
    with pytest.raises(EnvironmentProblem, match="no answer"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    assert len(server.asked) == 3


def test_a_server_that_accepts_and_says_nothing_is_left(tmp_path, server, monkeypatch):
    monkeypatch.setattr(sources, "ANSWER_SECONDS", 0.3)
    done = threading.Event()
    server.behave = lambda *_: done.wait(20)
    with pytest.raises(EnvironmentProblem, match=r"no answer within 0\.3 s"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    done.set()


def test_a_server_that_stops_in_the_middle_is_left(tmp_path, server, monkeypatch):
    monkeypatch.setattr(sources, "READ_SECONDS", 0.3)
    done = threading.Event()

    def stall(request: BaseHTTPRequestHandler, content: bytes) -> None:
        Server.answer(request, content[:100], len(content))
        done.wait(20)

    server.behave = stall
    with pytest.raises(EnvironmentProblem, match="broke off after 100 bytes"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    done.set()


def test_a_server_that_drips_is_left_at_the_limit(tmp_path, server, monkeypatch):
    quick = tuple(replace(file, seconds=0.5) for file in IDX_FILES)
    monkeypatch.setitem(catalog.KNOWN, "fashion_mnist", replace(catalog.FASHION_MNIST, files=quick))
    done = threading.Event()

    def drip(request: BaseHTTPRequestHandler, content: bytes) -> None:
        Server.answer(request, b"", len(content))
        for byte in content[:200]:
            request.wfile.write(bytes([byte]))
            if done.wait(0.05):
                return

    server.behave = drip
    with pytest.raises(EnvironmentProblem, match=r"took more than 0\.5 s"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    done.set()


def test_a_name_server_that_never_answers_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ANSWER_SECONDS", 0.3)
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(20) and [])
    with pytest.raises(EnvironmentProblem, match=r"no answer within 0\.3 s"):
        downloads.fetch(tmp_path / "raw", fashion("https://example.org/data"))
    done.set()


def test_an_offline_machine_is_told_of_every_source(tmp_path, monkeypatch):
    def offline(command: list[str], **_: object) -> str:
        raise EnvironmentProblem(f"{command[0]} failed")

    monkeypatch.setattr(sources, "_run", offline)
    dead = tuple(f"http://127.0.0.1:{free_port()}/" for _ in range(2))
    monkeypatch.setitem(
        catalog.KNOWN, "fashion_mnist", replace(catalog.FASHION_MNIST, mirrors=dead)
    )
    with pytest.raises(EnvironmentProblem) as caught:
        downloads.fetch(tmp_path / "raw", fashion(None))
    message = str(caught.value)
    assert [
        message.count(part)
        for part in ("dpkg failed", "apt-get failed", "no answer (ConnectionError)")
    ] == [1, 1, 2]
    assert "dataset.source" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:9/x", "http://example.org/x", "https://example.org/x", "/data/again", "//"],
)
def test_redirects_are_refused_wherever_they_lead(tmp_path, server, location):
    def redirect(request: BaseHTTPRequestHandler, _: bytes) -> None:
        request.send_response(302)
        request.send_header("Location", location)
        request.end_headers()

    server.behave = redirect
    with pytest.raises(EnvironmentProblem, match=r"redirects to .*: refused"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    assert server.asked == [f"{IMAGES}.gz"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/data",
        "http://127.0.0.1.example.org/data",
        "http://127.0.0.1:80@example.org/data",
        "http://localhost.example.org/",
        "ftp://127.0.0.1/data",
        "file:///etc",
        "https://",
        "https://[::1/data",
    ],
)
def test_only_https_is_spoken_but_on_this_machine(tmp_path, url):
    with pytest.raises(
        ConfigError, match=r"params\.yaml: dataset\.source.*must be an https URL or a folder"
    ):
        downloads.fetch(tmp_path / "raw", fashion(url))


def test_a_password_in_the_url_works_and_is_never_shown(tmp_path, server):
    secret = server.url.replace("//", "//user:canary@")
    assert "canary" not in downloads.fetch(tmp_path / "raw", fashion(secret))
    server.behave = lambda request, _: request.send_error(403)
    with pytest.raises(EnvironmentProblem) as caught:
        downloads.fetch(tmp_path / "raw", fashion(secret))
    assert "canary" not in str(caught.value)


# Other processes


def test_of_two_at_once_one_downloads_and_the_other_waits(tmp_path, server, pins):
    results: list[str] = []
    source = mirror(server)
    threads = [
        threading.Thread(
            target=lambda: results.append(fetch_from([source], tmp_path / "raw", pins))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == len(NAMES)
    assert sum("already" in result for result in results) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_lock_that_somebody_keeps_is_reported(tmp_path, idx_source, monkeypatch):
    monkeypatch.setattr(downloads, "LOCK_SECONDS", 0.2)
    with (
        downloads._locked(tmp_path / "raw"),
        pytest.raises(EnvironmentProblem, match=r"\.raw\.lock: another process"),
    ):
        downloads.fetch(tmp_path / "raw", fashion(str(idx_source)))


@pytest.mark.parametrize("kill_at", [1, 2, 4])
def test_a_download_that_was_killed_is_done_by_the_next(tmp_path, server, kill_at):
    hanging, done = threading.Event(), threading.Event()

    def hang(request: BaseHTTPRequestHandler, content: bytes) -> None:
        if len(server.asked) < kill_at:
            server.good(request, content)
        else:
            Server.answer(request, content[:10], len(content))
            hanging.set()
            done.wait(20)

    server.behave = hang
    values = fashion(server.url).model_dump()
    code = f"import pathlib; from dcgan.config import sections; from dcgan.raw import downloads as d; d.fetch(pathlib.Path('raw'), sections.Dataset(**{values!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert hanging.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done.set()
    assert not (tmp_path / "raw").exists()
    server.behave = server.good
    downloads.fetch(tmp_path / "raw", fashion(server.url))
    assert set(tree(tmp_path)) == {f"raw/{name}" for name in (*NAMES, "manifest.json")}


# Other data sets than those in IDX files


WRITE = {"cifar10": write_cifar, "svhn": write_svhn, "celeba": write_celeba, "lsun": write_lsun}


def serve(folder: Path) -> Server:
    return Server({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})


@pytest.mark.parametrize("name", list(WRITE))
def test_each_data_set_arrives_the_same_from_a_folder_and_a_server(tmp_path, name):
    WRITE[name](tmp_path / "source")
    server = serve(tmp_path / "source")
    assert downloads.fetch(tmp_path / "a", section(name, tmp_path / "source")) == str(
        tmp_path / "source"
    )
    assert downloads.fetch(tmp_path / "b", section(name, server.url)) == server.url
    server.close()
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert set(tree(tmp_path / "a")) == {*catalog.KNOWN[name].raw, "manifest.json"}
    digests = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert digests == {
        file: digest for file, digest in tree(tmp_path / "a").items() if file != "manifest.json"
    }


@pytest.mark.parametrize(
    ("name", "archive"), [("cifar10", "cifar-10-binary.tar.gz"), ("lsun", "bedroom_train_lmdb.zip")]
)
def test_what_an_archive_holds_is_taken_from_a_folder_too(tmp_path, name, archive):
    source = tmp_path / "source"
    contents = WRITE[name](source)
    downloads.fetch(tmp_path / "packed", section(name, source))
    (source / archive).unlink()
    if name == "cifar10":
        for file, content in contents.items():
            (source / file).write_bytes(content)
    downloads.fetch(tmp_path / "unpacked", section(name, source))
    assert tree(tmp_path / "packed") == tree(tmp_path / "unpacked")


@pytest.mark.parametrize("name", list(WRITE))
def test_any_flipped_byte_of_a_publishers_file_is_refused(tmp_path, monkeypatch, name):
    WRITE[name](tmp_path / "source")
    server = serve(tmp_path / "source")
    wanted = [file.names[0] for file in catalog.KNOWN[name].files]
    digests = {file: f"md5:{hashlib.md5(server.files[file]).hexdigest()}" for file in wanted}
    known = replace(
        catalog.KNOWN[name], mirrors=(server.url,), digests=digests, pins={}, by_hand=""
    )
    monkeypatch.setitem(catalog.KNOWN, name, known)
    assert downloads.fetch(tmp_path / "raw", section(name, None)) == server.url
    before, good = tree(tmp_path / "raw"), dict(server.files)
    draw = random.Random(0)
    for _ in range(20):
        file = draw.choice(wanted)
        content = bytearray(good[file])
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        server.files = {**good, file: bytes(content)}
        with pytest.raises(
            DataError, match=f"{file}: md5 is [0-9a-f]{{32}}, expected [0-9a-f]{{32}}: refused"
        ):
            downloads.fetch(tmp_path / "raw", section(name, None))
    assert tree(tmp_path / "raw") == before
    server.close()


def test_cifar_files_of_another_size_than_the_publishers_are_refused(tmp_path, monkeypatch):
    write_cifar(tmp_path / "source")
    server = serve(tmp_path / "source")
    (name,) = server.files
    digests = {name: f"md5:{hashlib.md5(server.files[name]).hexdigest()}"}
    monkeypatch.setitem(
        catalog.KNOWN, "cifar10", replace(catalog.CIFAR10, mirrors=(server.url,), digests=digests)
    )
    with pytest.raises(DataError, match=r"data_batch_1\.bin: has 12292 bytes, expected 30730000"):
        downloads.fetch(tmp_path / "raw", section("cifar10", None))
    server.close()


def test_a_publishers_file_without_a_digest_is_refused(tmp_path, server, monkeypatch):
    server.files = {name: b"plain" for name in NAMES}
    monkeypatch.setitem(catalog.KNOWN, "mnist", replace(catalog.MNIST, mirrors=(server.url,)))
    with pytest.raises(DataError, match=f"{IMAGES}: nobody published a digest"):
        downloads.fetch(tmp_path / "raw", section("mnist", None))


def test_a_file_longer_than_its_limit_is_left(tmp_path, server, monkeypatch):
    small = tuple(replace(file, max_bytes=1000) for file in IDX_FILES)
    monkeypatch.setitem(catalog.KNOWN, "mnist", replace(catalog.MNIST, files=small))
    with pytest.raises(DataError, match=rf"{IMAGES}\.gz: is longer than 1000 bytes"):
        downloads.fetch(tmp_path / "raw", section("mnist", server.url))


@pytest.mark.parametrize(
    ("name", "file"), [("celeba", "list_eval_partition.txt"), ("lsun", "bedroom_train_lmdb.zip")]
)
def test_a_data_set_that_nobody_serves_says_how_to_get_it(tmp_path, name, file):
    with pytest.raises(
        ConfigError, match=rf"dataset\.source = null: .*{file}.*https://.*set dataset\.source"
    ) as caught:
        downloads.fetch(tmp_path / "raw", section(name, None))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


SMILES = (["Male"], [], ["Smiling"], ["Male"], [], ["Smiling"])  # one a picture


def test_celebas_attributes_arrive_with_the_rest_where_they_are_asked_for_and_go_where_not(
    tmp_path,
):
    source, raw = tmp_path / "source", tmp_path / "raw"
    write_celeba(source, attributes=SMILES)
    wanted = {*catalog.CELEBA.raw, "manifest.json"}
    server = serve(source)
    for place in (source, server.url):
        downloads.fetch(raw, section("celeba", place, attributes=["Smiling"]))
        assert set(tree(raw)) == {*wanted, "list_attr_celeba.txt"}
        assert set(json.loads((raw / "manifest.json").read_text())) == set(
            catalog.CELEBA_LABELLED.raw
        )
        assert (raw / "list_attr_celeba.txt").read_bytes() == (
            source / "list_attr_celeba.txt"
        ).read_bytes()
        downloads.fetch(raw, section("celeba", place))
        assert set(tree(raw)) == wanted
    server.close()


def test_attributes_that_are_missing_or_make_no_sense_are_refused_before_anything_is_replaced(
    tmp_path,
):
    source, raw = tmp_path / "source", tmp_path / "raw"
    write_celeba(source)
    downloads.fetch(raw, section("celeba", source))
    before = tree(raw)
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt is missing"):
        downloads.fetch(raw, section("celeba", source, attributes=["Smiling"]))
    server = serve(source)
    with pytest.raises(EnvironmentProblem, match=r"has no list_attr_celeba\.txt \(404\)"):
        downloads.fetch(raw, section("celeba", server.url, attributes=["Smiling"]))
    server.close()
    write_celeba(source, attributes=SMILES)
    with pytest.raises(ConfigError, match=r"has no smile: did you mean Smiling\?") as caught:
        downloads.fetch(raw, section("celeba", source, attributes=["smile"]))
    assert "\n" not in str(caught.value)
    write_celeba(source, attributes=SMILES[:-1])
    with pytest.raises(
        DataError, match=r"list_attr_celeba\.txt: line 1 says 5 images, 5 follow, .* has 6"
    ):
        downloads.fetch(raw, section("celeba", source, attributes=["Smiling"]))
    assert tree(raw) == before


@pytest.mark.parametrize("attributes", [[], ["Smiling"]])
def test_celebas_attribute_file_is_named_among_those_to_get_only_where_it_is_needed(
    tmp_path, attributes
):
    with pytest.raises(ConfigError) as caught:
        downloads.fetch(tmp_path / "raw", section("celeba", None, attributes=attributes))
    assert ("list_attr_celeba.txt" in str(caught.value)) == bool(attributes)
    assert "\n" not in str(caught.value)


def test_a_folder_of_images_is_no_url_and_fake_images_have_no_source(tmp_path, server):
    with pytest.raises(ConfigError, match="must be a folder of this machine"):
        downloads.fetch(tmp_path / "raw", section("folder", server.url))
    with pytest.raises(ConfigError, match=r"must be null with dataset\.name: fake"):
        downloads.fetch(tmp_path / "raw", section("fake", server.url))
    assert server.asked == []


def test_raw_files_of_another_data_set_go_and_nothing_else_does(tmp_path, idx_source):
    write_cifar(tmp_path / "source")
    downloads.fetch(tmp_path / "raw", section("cifar10", tmp_path / "source"))
    (tmp_path / "raw" / "notes.txt").write_text("mine")
    downloads.fetch(tmp_path / "raw", fashion(idx_source))
    assert set(tree(tmp_path / "raw")) == {*NAMES, "manifest.json", "notes.txt"}
    downloads.fetch(tmp_path / "raw", section("fake", None))
    assert set(tree(tmp_path / "raw")) == {"manifest.json", "notes.txt"}
    assert json.loads((tmp_path / "raw" / "manifest.json").read_text()) == {}


def test_a_refused_source_leaves_another_data_set_as_it_was(tmp_path, idx_source):
    downloads.fetch(tmp_path / "raw", fashion(idx_source))
    before = tree(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in (*WRITE, "folder"):
        with pytest.raises(DataError, match=r"missing|0 images found"):
            downloads.fetch(tmp_path / "raw", section(name, tmp_path / "empty"))
    assert tree(tmp_path) == before


def test_files_whose_sha256_nobody_pinned_are_fetched_again(tmp_path, server, monkeypatch, pins):
    digests = {
        name: f"md5:{hashlib.md5(content).hexdigest()}" for name, content in server.files.items()
    }
    sizes = {name: Pin(pin.size) for name, pin in pins.items()}
    known = replace(catalog.MNIST, mirrors=(server.url,), digests=digests, pins=sizes)
    monkeypatch.setitem(catalog.KNOWN, "mnist", known)
    downloads.fetch(tmp_path / "raw", section("mnist", None))
    before = tree(tmp_path)
    assert downloads.fetch(tmp_path / "raw", section("mnist", None)) == server.url
    assert len(server.asked) == 2 * len(NAMES)
    assert tree(tmp_path) == before
    monkeypatch.setitem(
        catalog.KNOWN,
        "mnist",
        replace(known, pins={name: Pin(pin.size + 1) for name, pin in pins.items()}),
    )
    with pytest.raises(DataError, match=f"{IMAGES}: has .* bytes, expected"):
        downloads.fetch(tmp_path / "raw", section("mnist", None))


# One file whose content is pinned


LIMITS = catalog.File(("weights.pth",), max_bytes=1000, seconds=20)
CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store():
    """A second server, to which the first may send us on."""
    store = Server({"weights.pth": CONTENT, "weights.pth?signature=canary": CONTENT})
    yield store
    store.close()


def sends_on(location: str) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    def redirect(request: BaseHTTPRequestHandler, _: bytes) -> None:
        request.send_response(302)
        request.send_header("Location", location)
        request.end_headers()

    return redirect


def host(server: Server) -> str:
    return server.url.split("/")[2]


def test_a_pinned_file_is_fetched_once(tmp_path, store):
    path = tmp_path / "kept" / "weights.pth"
    for _ in range(2):
        downloads.fetch_file(f"{store.url}/weights.pth?signature=canary", path, SHA256, LIMITS)
        assert path.read_bytes() == CONTENT
    assert len(store.asked) == 1
    path.write_bytes(b"damaged")
    downloads.fetch_file(f"{store.url}/weights.pth", path, SHA256, LIMITS)
    assert path.read_bytes() == CONTENT and list(path.parent.iterdir()) == [path]


def test_a_pinned_file_that_is_another_is_refused_and_what_was_there_stays(tmp_path, store):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"older")
    store.files["weights.pth"] = CONTENT[:-1] + b"x"
    with pytest.raises(
        DataError, match=r"/weights\.pth: sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}: refused"
    ):
        downloads.fetch_file(f"{store.url}/weights.pth", path, SHA256, LIMITS)
    store.files["weights.pth"] = CONTENT * 2
    with pytest.raises(DataError, match="is longer than 1000 bytes"):
        downloads.fetch_file(f"{store.url}/weights.pth", path, SHA256, LIMITS)
    with pytest.raises(EnvironmentProblem, match=r"/none\.pth: is not there \(404\)"):
        downloads.fetch_file(f"{store.url}/none.pth", path, SHA256, LIMITS)
    for url in (
        "http://example.org/weights.pth",
        "ftp://127.0.0.1/weights.pth",
        "https://[::1/weights.pth",
        "https://",
    ):
        with pytest.raises(ConfigError, match="must be an https URL or a file"):
            downloads.fetch_file(url, path, SHA256, LIMITS)
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


def test_a_redirect_to_a_host_on_the_list_is_followed_without_the_password(tmp_path, server, store):
    path, seen = tmp_path / "weights.pth", []

    def good(request: BaseHTTPRequestHandler, content: bytes) -> None:
        seen.append((request.path, request.headers["Authorization"]))
        store.good(request, content)

    store.behave = good
    server.files["weights.pth"] = b""
    server.behave = sends_on(f"{store.url}/weights.pth?signature=canary")
    url = server.url.replace("//", "//user:password@") + "/weights.pth"
    downloads.fetch_file(url, path, SHA256, LIMITS, [host(store)])
    assert path.read_bytes() == CONTENT
    assert seen == [("/data/weights.pth?signature=canary", None)]
    path.unlink()
    store.files["weights.pth?signature=canary"] = CONTENT[:-1]
    with pytest.raises(DataError, match="sha256 is"):  # pinned, whoever serves it
        downloads.fetch_file(url, path, SHA256, LIMITS, [host(store)])


@pytest.mark.parametrize(
    "location",
    [
        "http://{store}/weights.pth",  # not on the list
        "http://example.org/weights.pth",  # on the list, but not https
        "https://user@example.org/weights.pth",
        "https://example.org:444/weights.pth",
        "https://example.org.evil.org/weights.pth",
        "https://evil.org/example.org",
        "//example.org/weights.pth",
        "/data/again",
    ],
)
def test_a_redirect_anywhere_else_is_refused(tmp_path, server, store, location):
    server.files["weights.pth"] = b""
    server.behave = sends_on(location.format(store=host(store)))
    with pytest.raises(EnvironmentProblem, match=r"redirects to .*: refused"):
        downloads.fetch_file(
            f"{server.url}/weights.pth", tmp_path / "weights.pth", SHA256, LIMITS, ["example.org"]
        )
    assert store.asked == []


def test_a_second_redirect_is_refused(tmp_path, server, store):
    server.files["weights.pth"] = b""
    server.behave = sends_on(f"{store.url}/weights.pth")
    store.behave = sends_on(f"{store.url}/weights.pth")
    with pytest.raises(EnvironmentProblem, match=r"redirects to .*: refused"):
        downloads.fetch_file(
            f"{server.url}/weights.pth", tmp_path / "weights.pth", SHA256, LIMITS, [host(store)]
        )
    assert len(store.asked) == 1
