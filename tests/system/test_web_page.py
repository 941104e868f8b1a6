"""An exported page in Debian's Chromium, with the runtime that npm has.

In a file of its own: two browsers of Playwright cannot be open in one process.
"""

import functools
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bench import screenshots
from pipeline import export
from tests.support import tiny_models
from tests.support.imports import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not screenshots.CHROMIUM, reason="chromium is missing: apt-get install chromium"
    ),
    pytest.mark.skipif(not shutil.which("npm"), reason="npm is missing: apt-get install npm"),
]


@pytest.mark.parametrize("width", [900, 390])
def test_an_exported_page_draws_by_itself_and_fits_a_phone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    tiny_models.write(tmp_path / "models")
    subprocess.run(["npm", "pack", "--silent", "onnxruntime-web"], check=True, timeout=120)
    (runtime,) = tmp_path.glob("onnxruntime-web-*.tgz")
    export.main(tmp_path / "page", str(export.OWN), "web", runtime)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "page")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, screenshots.browser() as page:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}/"
        page.set_viewport_size({"width": width, "height": 800})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(home)
        expect(page.locator("#said")).to_contain_text("64 images of seed 7", timeout=60_000)
        first = page.evaluate("find('grid').toDataURL()")
        assert len(first) > 1000
        page.locator("#walk").fill("0.5")
        page.wait_for_function("before => find('grid').toDataURL() !== before", arg=first)
        page.get_by_text("Another seed").click()
        expect(page.locator("#said")).to_contain_text("seed 8")
        with page.expect_download() as saved:
            page.get_by_text("Save as PNG").click()
        assert saved.value.suggested_filename == "seed-8.png"
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert all(url.startswith((home, "blob:", "data:")) for url in asked)
        server.shutdown()
