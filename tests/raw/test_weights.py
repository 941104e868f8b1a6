from pathlib import Path

import pytest

from dcgan.errors import ConfigError, EnvironmentProblem
from dcgan.raw import weights


def test_a_file_of_ones_own_is_used_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT")
    assert weights.fetch_inception("some/weights.pth", None, tmp_path) == (
        Path("some/weights.pth"),
        weights.INCEPTION_SHA256,
    )
    assert weights.fetch_inception("~/weights.pth", "ab", tmp_path) == (
        Path.home() / "weights.pth",
        "ab",
    )
    assert list(tmp_path.iterdir()) == []


def test_the_published_file_is_pinned_and_asked_for_where_github_keeps_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(weights.downloads, "fetch_file", lambda *arguments: asked.append(arguments))
    path, sha256 = weights.fetch_inception(None, None, tmp_path)
    own = weights.fetch_inception("https://example.org/w.pth", "ab" * 32, tmp_path)
    assert own == (tmp_path / "inception-abababababababab.pth", "ab" * 32)
    assert (
        path == tmp_path / "inception-6726825d0af5f729.pth"
        and sha256.startswith("6726825d")
        and len(sha256) == 64
    )
    published, mine = asked
    assert (
        published[:3] == (weights.INCEPTION_URL, path, sha256)
        and published[3].max_bytes == 95_628_359
    )
    assert all(host.endswith(".githubusercontent.com") for host in published[4]) and published[4]
    assert mine[:3] == ("https://example.org/w.pth", own[0], own[1]) and mine[4] == ()


def test_a_url_that_cannot_be_used_is_refused_in_one_line_without_its_secrets(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"params\.yaml: reference\.weights = a URL: .*must be an https URL or a file",
    ) as caught:
        weights.fetch_inception("http://user:canary@example.org/w.pth", None, tmp_path)
    assert "canary" not in str(caught.value)
    with pytest.raises(
        EnvironmentProblem,
        match=r"reference\.weights = a URL: .*; or set it to a file that you have",
    ) as caught:
        weights.fetch_inception("http://user:canary@127.0.0.1:9/w.pth", None, tmp_path)
    assert "canary" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_relative_file_lies_in_the_main_workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/main")
    assert weights.fetch_inception("some/w.pth", "ab", tmp_path)[0] == Path("/main/some/w.pth")
