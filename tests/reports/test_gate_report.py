"""The gate's decision for people."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.reports import gate_report

PROTOCOL = {
    "generated_images": 100, "real_images": 200, "draws": 5, "seed": 7,
    "extractor": "classifier", "extractor_sha256": "a" * 64,
}  # fmt: skip
FIGURE = {"mean": 5.0, "deviation": 0.1}


def record(**numbers: object) -> dict[str, object]:
    floors = [
        {"figure": "kid", "limit": 0.5, "verdict": "met"},
        {"figure": "recall", "limit": 0.3, "verdict": "failed"},
        {"figure": "probe", "limit": None, "verdict": "not asked"},
    ]
    return {
        "dataset": "toys", "outcome": "refused", "reasons": ["one", "two"], "protocol": PROTOCOL,
        "champion": {"version": 3},
        "challenger": {"epoch": 2, "weights": "ema", "fingerprint": "abc-2"},
        "numbers": {
            "champion": {"fid": FIGURE},
            "challenger": {"fid": FIGURE, "kid": {"mean": 0.1, "deviation": None}},
            "floors": floors, **numbers,
        },
    }  # fmt: skip


def test_the_document_has_reasons_figures_floors_and_protocol() -> None:
    margins = {"absolute": 0.05, "relative": 0.1, "noise": None}
    text = gate_report.markdown(record(gain=0.2, margin=0.1, margins=margins), "samples.png")
    lines = text.splitlines()
    assert lines[:4] == ["# toys: refused", "", "* one", "* two"]
    table = lines.index("|  | champion, version 3 | challenger | limit |  |")
    assert lines[table + 2 : table + 6] == [
        "| fid | 5.00 ± 0.10 | 5.00 ± 0.10 |  |  |",
        "| kid |  | 0.1 | at most 0.5 | met |",
        "| probe |  |  |  | not asked |",
        "| recall |  |  | at least 0.3 | failed |",
    ]
    assert "Gain in FID 0.2; margin 0.1, the largest of absolute 0.05, relative 0.1, noise" in text
    assert "100 generated against 200 real test images" in text and "seed 7" in text
    assert lines[-1] == "![champion and challenger](samples.png)"


def test_a_decision_without_numbers_is_reasons_alone() -> None:
    text = gate_report.markdown({**record(), "champion": None, "numbers": {}}, "samples.png")
    assert "|" not in text and "samples.png" not in text and text.endswith("`abc-2`.\n")


@pytest.mark.parametrize("roles", [("champion", "challenger"), ("challenger",), ()])
def test_the_picture_shows_those_that_could_be_measured(
    tmp_path: Path, roles: tuple[str, ...]
) -> None:
    path = tmp_path / "samples.png"
    path.write_bytes(b"of an older run")
    images = {role: np.zeros((64, 1, 28, 28), np.uint8) for role in roles}
    gate_report.save_picture(path, images)
    assert path.exists() == bool(roles)
    if roles:
        with Image.open(path) as image:
            assert image.width > 400 * len(roles)


def test_a_version_has_the_reason_the_figures_and_why_the_runs_page_differs() -> None:
    text = gate_report.of_version(record())
    assert text.startswith("Epoch 2, ema weights. one\n\n| figure | &emsp;measured by the gate |")
    assert "| fid | &emsp;5.00 ± 0.10 |" in text and "| kid | &emsp;0.1 |" in text
    assert "100 generated against 200 real test images" in text
    assert text.endswith("differs a little.")
