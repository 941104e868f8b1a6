"""`python -m pipeline`: the list of commands. A command's module is imported only when it is asked for."""

import importlib
import sys
from collections.abc import Callable

from pipeline import cli

# What each command's docstring begins with, here too so that the list needs no import; a test
# compares them.
COMMANDS = {
    "download": "Fetch the data set, verified, into data/raw.",
    "prepare": "Decode, split and store the images of data/raw in data/prepared.",
    "validate": "Check data/prepared against all expectations; exit 3 where one fails.",
    "reference": "Make the feature extractor and measure the real images.",
    "train": "Train the networks, or go on where a killed training stopped.",
    "evaluate": "Judge every checkpoint and export the best one.",
    "probe": "Fit an L2-SVM on D's features, an untrained D's and the pixels.",
    "render": "Make the GIFs and the comparison.",
    "paper": "Repeat the paper's experiments on the chosen checkpoint.",
    "run": "Run an experiment with DVC, safe from a second one and from signals.",
    "compare": "Compare runs side by side: parameters, figures with verdicts, samples.",
    "recipe": "List, show and apply the recipes, each a known system as an overlay of params.yaml.",
    "promote": "Promote models/, refuse it, or say that one cannot tell (exit 0, 4, 7).",
    "rollback": "Make the previous champion the champion again.",
    "retrain": "Rebuild what has changed and let the gate decide.",
    "sample": "Draw images from a model.",
    "sync": "Send to MLflow what waits in the journal.",
    "ui": "Browse the runs in MLflow.",
    "doctor": "Show what this machine has and what is missing.",
}


def main() -> None:
    """Run the command that the first argument names, or list them all."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        module = importlib.import_module(f"pipeline.{name}")
        commands = module.SUBCOMMANDS if hasattr(module, "SUBCOMMANDS") else (module.main,)
        # A command that passes options on to another program takes them as they are.
        rest = module.arguments(rest) if hasattr(module, "arguments") else rest
        cli.run(*commands, args=rest, prog=f"python -m pipeline {name}")
    else:
        cli.run(
            *(_listed(*item) for item in COMMANDS.items()),
            args=[name, *rest],
            prog="python -m pipeline",
        )


def _listed(name: str, text: str) -> Callable[[], None]:
    """Something for Typer to list, and to compare a mistyped name with; never called."""

    def command() -> None: ...

    command.__name__, command.__doc__ = name, text
    return command


if __name__ == "__main__":
    main()
