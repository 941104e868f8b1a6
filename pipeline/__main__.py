"""`python -m pipeline`: the list of commands. A command's module is imported only when it is asked for."""

import importlib
import sys
from collections.abc import Callable

from pipeline import cli

# The first line of each command's docstring, here too so that the list needs no import; a test compares them.
COMMANDS = {
    "download": "Download the dataset and check every byte.",
    "prepare": "Decode, resize and split the images.",
    "validate": "Check the prepared images before anything trains on them.",
    "reference": "Train the feature extractor and measure the real images.",
    "train": "Train the generator and the discriminator.",
    "evaluate": "Judge every checkpoint and export the best.",
    "probe": "Classify with the discriminator's features.",
    "render": "Animate the training and a walk through the latent space.",
    "ui": "Browse the runs in MLflow.",
    "doctor": "Show what this machine has and what is missing.",
}


def main() -> None:
    """Run the command that the first argument names, or list them all."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        cli.run(importlib.import_module(f"pipeline.{name}").main, args=rest, prog=f"python -m pipeline {name}")
    else:
        cli.run(*(_listed(*item) for item in COMMANDS.items()), args=[name, *rest], prog="python -m pipeline")


def _listed(name: str, text: str) -> Callable[[], None]:
    """Something for Typer to list, and to compare a mistyped name with; never called."""

    def command() -> None: ...

    command.__name__, command.__doc__ = name, text
    return command


if __name__ == "__main__":
    main()
