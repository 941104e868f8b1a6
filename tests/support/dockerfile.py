"""The Dockerfile as a list of instructions, for the tests that read it and carry it out."""

import json
import re
import shlex
from typing import NamedTuple

from tests.support.imports import ROOT

PATH = ROOT / "Dockerfile"


class Instruction(NamedTuple):
    """One instruction: RUN, COPY, ...; the rest of its line, continuation lines joined."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """What an exec form lists, or else the words."""
        return json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)


def stages() -> list[list[Instruction]]:
    """The instructions of each build stage; the first of a stage is its FROM."""
    lines = [line for line in PATH.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    instructions: list[list[Instruction]] = []
    for line in filter(None, text.splitlines()):
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            instructions.append([])
        instructions[-1].append(Instruction(name, value))
    return instructions


def values(stage: list[Instruction], name: str) -> list[Instruction]:
    """A stage's instructions of one name."""
    return [instruction for instruction in stage if instruction.name == name]


def environment(stage: list[Instruction]) -> dict[str, str]:
    """What the stage's ENV sets, $PATH left as it stands."""
    return dict(
        word.split("=", 1) for instruction in values(stage, "ENV") for word in instruction.words
    )
