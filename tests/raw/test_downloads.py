import errno
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dcgan.errors import ConfigError, DataError, EnvironmentProblem
from dcgan.raw import catalog, downloads, sources
from dcgan.raw.dataset import Pin
from dcgan.raw.mnist import IDX_FILES, IDX_NAMES, MNIST
from dcgan.raw.sources import Source
from tests.raw.given import (
    CONTENT,
    IMAGES,
    LABELS,
    LIMITS,
    SHA256,
    WRITE,
    Server,
    fashion,
    fetch_from,
    free_port,
    mirror,
    serve,
    tree,
)
from tests.support.imports import ROOT
from tests.support.tiny import section, write_cifar


def test_a_folder_a_server_packed_and_unpacked_all_give_the_same_bytes(
    tmp_path, idx_source, server
):
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in IDX_NAMES:
        (plain / name).write_bytes(gzip.decompress((idx_source / f"{name}.gz").read_bytes()))
    assert downloads.fetch(tmp_path / "a", fashion(str(idx_source))) == str(idx_source)
    assert downloads.fetch(tmp_path / "b", fashion(str(plain))) == str(plain)
    assert downloads.fetch(tmp_path / "c", fashion(server.url)) == server.url
    server.files = {path.name: path.read_bytes() for path in plain.iterdir()}
    downloads.fetch(tmp_path / "d", fashion(server.url + "/"))
    assert (
        tree(tmp_path / "a") == tree(tmp_path / "b") == tree(tmp_path / "c") == tree(tmp_path / "d")
    )
    assert set(tree(tmp_path / "a")) == {*IDX_NAMES, "manifest.json"}
    assert all(
        (tmp_path / "a" / name).read_bytes() == (plain / name).read_bytes() for name in IDX_NAMES
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
    assert "next is good" in caplog.text
    bad.close()


@pytest.mark.holds("R-60")
def test_verified_files_are_not_fetched_again(tmp_path, server, pins):
    fetch_from([mirror(server)], tmp_path / "raw", pins)
    before = tree(tmp_path)
    server.asked.clear()
    assert "already" in fetch_from([mirror(server)], tmp_path / "raw", pins)
    assert server.asked == []
    assert tree(tmp_path) == before


@pytest.mark.holds("R-60")
def test_files_that_only_their_publisher_knows_are_not_fetched_again_either(
    tmp_path, server, monkeypatch
):
    # As MNIST's: digests of the served files, none of what is in them.
    good = mirror(server)
    served = replace(MNIST, mirrors=(server.url,), digests=good.digests, pins={})
    monkeypatch.setitem(catalog.DATA_SETS, "mnist", served)
    mnist, raw = section("mnist", None), tmp_path / "raw"
    assert downloads.fetch(raw, mnist) == server.url
    before = tree(raw)
    server.asked.clear()
    assert "already" in downloads.fetch(raw, mnist)
    assert (server.asked, tree(raw)) == ([], before)
    # A file that has changed, and files of another data set under the same names, are none.
    (raw / IMAGES).write_bytes(b"damaged")
    assert downloads.fetch(raw, mnist) == server.url
    assert tree(raw) == before
    monkeypatch.setitem(catalog.DATA_SETS, "fashion_mnist", served)
    assert downloads.fetch(raw, fashion(None)) == server.url


def test_a_damaged_file_is_replaced(tmp_path, server, pins):
    fetch_from([mirror(server)], tmp_path / "raw", pins)
    before = tree(tmp_path)
    (tmp_path / "raw" / IMAGES).write_bytes(b"damaged")
    fetch_from([mirror(server)], tmp_path / "raw", pins)
    assert tree(tmp_path) == before


@pytest.mark.holds("R-50")
def test_any_single_flipped_bit_is_refused_and_what_was_there_stays(tmp_path, server, pins):
    old = {path: b"older data" for path in IDX_NAMES}
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


@pytest.mark.holds("R-51")
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
    for source, pinned in ((mirror(server), pins), (sources.own_source(server.url, IDX_FILES), {})):
        server.behave = server.good
        fetch_from([source], tmp_path / "raw", pinned)
        (tmp_path / "raw" / IMAGES).write_bytes(b"another version")
        before = tree(tmp_path)
        server.behave = answer
        with pytest.raises(error):
            fetch_from([source], tmp_path / "raw", pinned)
        assert tree(tmp_path) == before


@pytest.mark.holds("R-55")
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
    assert len(server.asked) == len(IDX_NAMES)
    assert sum("already" in result for result in results) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_lock_that_another_process_keeps_is_reported(tmp_path, idx_source, monkeypatch):
    monkeypatch.setattr(downloads, "LOCK_SECONDS", 0.2)
    with (
        downloads._locked(tmp_path / "raw"),
        pytest.raises(EnvironmentProblem, match=r"\.raw\.lock: another process"),
    ):
        downloads.fetch(tmp_path / "raw", fashion(str(idx_source)))


@pytest.mark.holds("R-54")
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
    code = (
        "import pathlib; from dcgan.config import sections; from dcgan.raw import downloads;"
        f"downloads.fetch(pathlib.Path('raw'), sections.Dataset(**{values!r}))"
    )
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
    assert set(tree(tmp_path)) == {f"raw/{name}" for name in (*IDX_NAMES, "manifest.json")}


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
    assert set(tree(tmp_path / "a")) == {*catalog.DATA_SETS[name].raw, "manifest.json"}
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


def test_raw_files_of_another_data_set_go_and_nothing_else_does(tmp_path, idx_source):
    write_cifar(tmp_path / "source")
    downloads.fetch(tmp_path / "raw", section("cifar10", tmp_path / "source"))
    (tmp_path / "raw" / "notes.txt").write_text("mine")
    downloads.fetch(tmp_path / "raw", fashion(idx_source))
    assert set(tree(tmp_path / "raw")) == {*IDX_NAMES, "manifest.json", "notes.txt"}
    downloads.fetch(tmp_path / "raw", section("fake", None))
    assert set(tree(tmp_path / "raw")) == {"manifest.json", "notes.txt"}
    assert json.loads((tmp_path / "raw" / "manifest.json").read_text()) == {}


def test_a_refused_source_leaves_another_data_set_as_it_was(tmp_path, idx_source):
    downloads.fetch(tmp_path / "raw", fashion(idx_source))
    before = tree(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in (*WRITE, "folder"):
        with pytest.raises(DataError, match=r"missing|0 images found|has no bedroom"):
            downloads.fetch(tmp_path / "raw", section(name, tmp_path / "empty"))
    assert tree(tmp_path) == before


def test_files_of_another_size_than_the_catalog_has_are_fetched_again(
    tmp_path, server, monkeypatch, pins
):
    sizes = {name: Pin(pin.size) for name, pin in pins.items()}
    data_set = replace(MNIST, mirrors=(server.url,), digests=mirror(server).digests, pins=sizes)
    monkeypatch.setitem(catalog.DATA_SETS, "mnist", data_set)
    downloads.fetch(tmp_path / "raw", section("mnist", None))
    monkeypatch.setitem(
        catalog.DATA_SETS,
        "mnist",
        replace(data_set, pins={name: Pin(pin.size + 1) for name, pin in pins.items()}),
    )
    with pytest.raises(DataError, match=f"{IMAGES}: has .* bytes, expected"):
        downloads.fetch(tmp_path / "raw", section("mnist", None))


@pytest.mark.holds("R-60")
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


def test_what_becomes_the_error_is_not_logged_as_well(tmp_path, caplog):
    caplog.set_level("INFO")
    with pytest.raises(DataError):
        downloads.fetch(tmp_path / "raw", section("folder", tmp_path / "none"))
    assert caplog.text == ""


@pytest.mark.parametrize("link", ["data", "data/raw"])
def test_the_raw_folder_or_its_parent_may_be_a_link_to_another_disk(
    tmp_path, idx_source, monkeypatch, link
):
    disk = tmp_path / "disk" / "mine"
    disk.mkdir(parents=True)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(disk)
    replace_file = os.replace

    def not_between_disks(source, target):
        """As os.replace does where only tmp_path/disk is another disk."""
        resolved = {str(Path(path).resolve()).startswith(str(tmp_path / "disk"))
                    for path in (source, target)}  # fmt: skip
        if len(resolved) > 1:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", not_between_disks)
    downloads.fetch(tmp_path / "data/raw", fashion(idx_source))
    assert (tmp_path / link).is_symlink()
    assert {path.name for path in (tmp_path / "data/raw").iterdir()} == {
        *IDX_NAMES, "manifest.json"
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "disk").rglob(".*")] == []


@pytest.mark.parametrize("name", ["with blank", "100%", "Käfer", "a'b$c"])
def test_a_source_may_have_any_name(tmp_path, idx_source, name):
    shutil.copytree(idx_source, tmp_path / name)
    assert downloads.fetch(tmp_path / "raw", fashion(tmp_path / name)) == str(tmp_path / name)
