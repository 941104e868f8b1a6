import shutil
import socket
import struct
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest

from dcgan.errors import ConfigError, DataError, EnvironmentProblem
from dcgan.raw import catalog, debian, downloads, sources
from dcgan.raw.mnist import FASHION_MNIST, IDX_FILES, MNIST
from tests.raw.given import (
    CONTENT,
    IMAGES,
    LABELS,
    LIMITS,
    SHA256,
    Server,
    fashion,
    free_port,
    host,
    sends_on,
    tree,
)
from tests.support.tiny import section


@pytest.mark.holds("R-52")
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


@pytest.mark.holds("R-52")
def test_a_reset_connection_is_tried_three_times_and_no_more(tmp_path, server):
    def reset(request: BaseHTTPRequestHandler, _: bytes) -> None:
        # Lingering for 0 s makes the kernel send RST.
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    server.behave = reset
    with pytest.raises(EnvironmentProblem, match="no answer"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    assert len(server.asked) == 3


@pytest.mark.holds("R-52")
def test_a_server_that_accepts_and_says_nothing_is_left(tmp_path, server, monkeypatch):
    monkeypatch.setattr(sources, "ANSWER_SECONDS", 0.3)
    done = threading.Event()
    server.behave = lambda *_: done.wait(20)
    with pytest.raises(EnvironmentProblem, match=r"no answer within 0\.3 s"):
        downloads.fetch(tmp_path / "raw", fashion(server.url))
    done.set()


@pytest.mark.holds("R-52")
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


@pytest.mark.holds("R-52")
def test_a_server_that_drips_is_left_at_the_limit(tmp_path, server, monkeypatch):
    quick = tuple(replace(file, seconds=0.5) for file in IDX_FILES)
    monkeypatch.setitem(catalog.DATA_SETS, "fashion_mnist", replace(FASHION_MNIST, files=quick))
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


@pytest.mark.holds("R-52")
def test_all_files_together_are_left_at_the_limit(tmp_path, server):
    plain = server.behave
    asked = []

    def slow(request: BaseHTTPRequestHandler, content: bytes) -> None:
        asked.append(request.path)
        time.sleep(0.2)
        plain(request, content)

    server.behave = slow
    dataset = fashion(server.url).model_copy(update={"download_minutes": 0.3 / 60})
    with pytest.raises(EnvironmentProblem, match=r"dataset\.download_minutes are over: raise them"):
        downloads.fetch(tmp_path / "raw", dataset)
    assert len(asked) < 4  # of the four files


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

    monkeypatch.setattr(debian, "_output", offline)
    dead = tuple(f"http://127.0.0.1:{free_port()}/" for _ in range(2))
    monkeypatch.setitem(catalog.DATA_SETS, "fashion_mnist", replace(FASHION_MNIST, mirrors=dead))
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


@pytest.mark.holds("R-53")
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


def test_a_password_in_a_url_is_never_shown(tmp_path, server):
    # params.yaml may hold none; this one comes past it.
    address = server.url.replace("//", "//user:canary@")
    secret = fashion(server.url).model_copy(update={"source": address})
    assert "canary" not in downloads.fetch(tmp_path / "raw", secret)
    server.behave = lambda request, _: request.send_error(403)
    with pytest.raises(EnvironmentProblem) as caught:
        downloads.fetch(tmp_path / "raw", secret)
    assert "canary" not in str(caught.value)


def test_a_file_longer_than_its_limit_is_left(tmp_path, server, monkeypatch):
    small = tuple(replace(file, max_bytes=1000) for file in IDX_FILES)
    monkeypatch.setitem(catalog.DATA_SETS, "mnist", replace(MNIST, files=small))
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


def test_a_folder_of_images_is_no_url_and_fake_images_have_no_source(tmp_path, server):
    with pytest.raises(ConfigError, match="must be a folder of this machine"):
        downloads.fetch(tmp_path / "raw", section("folder", server.url))
    with pytest.raises(ConfigError, match=r"must be null with dataset\.name: fake"):
        downloads.fetch(tmp_path / "raw", section("fake", server.url))
    assert server.asked == []


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


@pytest.mark.holds("R-53")
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


@pytest.mark.holds("R-53")
def test_a_second_redirect_is_refused(tmp_path, server, store):
    server.files["weights.pth"] = b""
    server.behave = sends_on(f"{store.url}/weights.pth")
    store.behave = sends_on(f"{store.url}/weights.pth")
    with pytest.raises(EnvironmentProblem, match=r"redirects to .*: refused"):
        downloads.fetch_file(
            f"{server.url}/weights.pth", tmp_path / "weights.pth", SHA256, LIMITS, [host(store)]
        )
    assert len(store.asked) == 1


def test_a_relative_source_begins_in_the_main_workspace_also_in_a_copy_of_it(
    tmp_path, idx_source, monkeypatch
):
    workspace, copy = tmp_path / "workspace", tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(idx_source, workspace / "mine")
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    downloads.fetch(tmp_path / "a", fashion("mine"))
    monkeypatch.chdir(copy)
    with pytest.raises(DataError, match="missing"):
        downloads.fetch(tmp_path / "b", fashion("mine"))
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    downloads.fetch(tmp_path / "b", fashion("mine"))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
