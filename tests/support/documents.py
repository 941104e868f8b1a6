"""The commands that documents tell people to type."""

import re
import shlex
from pathlib import Path


def commands(document: Path) -> list[str]:
    """The lines of all blocks of commands, in order, without their comments."""
    text = document.read_text()
    lines = []
    for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            command = line.split("  #")[0].strip()
            if re.match(r"(git|make|source|dvc|python|\.venv/bin/\S+) ", command):
                lines.append(command)
    return lines


def pipeline_words(command: str) -> list[str]:
    """What follows `python -m pipeline` in a command; [] where nothing does."""
    words = shlex.split(command.replace("$(", "").replace(")", ""))
    for place in range(len(words) - 2):
        if words[place : place + 3] == ["python", "-m", "pipeline"]:
            return words[place + 3 :]
    return []
