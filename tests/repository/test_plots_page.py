"""The page of `dvc plots show` draws its charts without a network."""

import configparser
import re
import subprocess
import sys

from tests.support.imports import ROOT

PAGE = ROOT / ".dvc/plots.html"


def test_dvc_uses_the_page_and_finds_its_places_in_it():
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc/config")
    assert ROOT / ".dvc" / config["plots"]["html_template"] == PAGE
    text = PAGE.read_text()
    assert text.count("{plot_divs}") == text.count("{refresh_tag}") == 1
    assert "{scripts}" not in text  # with which DVC would load Vega from a server


def test_nothing_in_it_is_loaded_from_elsewhere():
    text = re.sub(r"(?s)(<script>).*?(</script>)", r"\1\2", PAGE.read_text())
    assert not re.search(r"<(script|link|img)[^>]*(src|href)", text)
    assert re.findall(r"<!-- (vega\S*) (\d+)\.\S*, BSD-3-Clause", text) == [
        ("vega", "5"), ("vega-lite", "5"), ("vega-embed", "6"),
    ]  # fmt: skip


def test_what_makes_it_says_how():
    said = subprocess.run(
        [sys.executable, ROOT / "docs/plots_page.py", "--help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "npm pack vega@5 vega-lite@5 vega-embed@6" in said
