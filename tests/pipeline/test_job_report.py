"""What a retraining job says at its end."""

from pathlib import Path

import pytest

from dcgan.errors import UserError
from pipeline import job_report


@pytest.mark.parametrize(
    ("code", "expected"), [(4, 4), (3, 3), (130, 130), (255, 6), (251, 6), (1, 6)]
)
def test_what_fails_ends_the_job_with_a_documented_code_and_a_report(
    code, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    with pytest.raises(UserError, match=f"dvc repro ended with exit code {code}") as caught:
        job_report.fail("dvc repro", code)
    assert caught.value.exit_code == expected
    assert (tmp_path / "outputs").read_text() == "outcome=failed\n"
    assert (
        "failed" in (tmp_path / "summary").read_text() and Path("results/gate/summary.md").is_file()
    )


def test_the_report_shows_the_picture_where_a_job_has_pushed_it(monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert job_report.picture("retrain/x", "origin") == "samples.png"
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
    assert (
        job_report.picture("retrain/x", "origin")
        == "https://github.example/o/r/raw/retrain/x/results/gate/samples.png"
    )
    assert job_report.picture("retrain/x", None) == "samples.png"
