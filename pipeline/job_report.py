"""What a retraining job says at its end: a report, and lines for the workflow around it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

GATE = Path("results/gate")
SUMMARY = GATE / "summary.md"


def write(outcome: str, report: str, branch: str | None = None) -> None:
    """Write the report, and give it with the outcome and the branch to a GitHub workflow.

    Args:
        outcome: one or two words, such as promoted.
        report: Markdown.
        branch: with the results; HEAD or None: no new one.
    """
    from dcgan import files

    files.write_text(SUMMARY, report)
    outputs = f"outcome={outcome}\n" + (f"branch={branch}\n" if branch and branch != "HEAD" else "")
    for variable, text in (("GITHUB_STEP_SUMMARY", report), ("GITHUB_OUTPUT", outputs)):
        if path := os.environ.get(variable):
            with open(path, "a") as file:
                file.write(text)
    print(f"retrain: {outcome}{f', {branch}' if branch else ''}: {SUMMARY} says more")


def fail(command: str, code: int) -> NoReturn:
    """End with the exit code of what failed, after a line and a report.

    Raises:
        UserError: always.
    """
    from dcgan import errors

    error = errors.EnvironmentProblem(
        f"retrain: {command} ended with exit code {code}: see its lines above"
    )
    if 2 <= code <= 7 or code in (130, 143):  # one of ours; dvc itself answers 255
        error.exit_code = code
    text = f"{command} ended with exit code {code}; its output says why."
    write("failed", f"# Retraining failed\n\n{text}\n")
    raise error


def of_the_gate(branch: str, git_remote: str | None, lines: Sequence[str]) -> str:
    """The gate's report with its picture, and paragraphs below it."""
    report = (GATE / "gate.md").read_text()
    report = report.replace("](samples.png)", f"]({picture(branch, git_remote)})")
    return "\n\n".join(part.strip() for part in (report, *lines)) + "\n"


def picture(branch: str, git_remote: str | None) -> str:
    """Address of the picture: on GitHub, where a job runs and has pushed it, else the file's."""
    server, repository = (os.environ.get(f"GITHUB_{part}") for part in ("SERVER_URL", "REPOSITORY"))
    if git_remote and server and repository:
        return f"{server}/{repository}/raw/{branch}/{GATE}/samples.png"
    return "samples.png"
