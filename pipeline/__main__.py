"""`python -m pipeline`: run a command or list all of them; only that command is imported."""

import importlib
import sys
from collections.abc import Callable

from pipeline import cli

# The beginning of each command's docstring, repeated here so that the list needs no import; a test
# compares the two.
COMMANDS = {
    "download": "Fetch the data set, verified, into data/raw.",
    "prepare": "Decode, split and store the images of data/raw in data/prepared.",
    "validate": "Check data/prepared against all expectations; exit 3 where one that counts fails.",
    "reference": "Make the feature extractor and measure the real images.",
    "train": "Train the networks, or go on where a killed training stopped.",
    "evaluate": "Judge every checkpoint and export the best one.",
    "probe": "Fit an L2-SVM on D's features, an untrained D's and the pixels.",
    "render": "Make the GIFs and the comparison.",
    "paper": "Repeat the paper's experiments on the chosen checkpoint.",
    "repro": "Build everything that has changed, and say what came out.",
    "init": "Set params.yaml for a folder of pictures.",
    "run": "Run an experiment with DVC, safe from a second one and from signals.",
    "sweep": "List, run and show the cells of a grid of experiments, on any number of machines.",
    "tune": "Search values of params.yaml for the lowest FID on validation, with Optuna.",
    "compare": "Compare runs side by side: parameters, figures with verdicts, samples.",
    "recipe": "List, show and apply the recipes, each a known system as an overlay of params.yaml.",
    "promote": "Promote models/, refuse it, or say that one cannot tell (exit 0, 4, 7).",
    "rollback": "Make the previous champion the champion again.",
    "retrain": "Rebuild what has changed and let the gate decide.",
    "sample": "Draw images from a model.",
    "export": "Export a generator for others: the Hub, ONNX, a web page.",
    "convert": "Copy data/prepared to ArrayRecord files, for a disk that many machines share.",
    "judge": "Judge any images by this project's protocol.",
    "sync": "Send to MLflow what waits in the journal.",
    "ui": "Browse the runs in MLflow.",
    "doctor": "Show what this machine has and what is missing.",
}


def main() -> None:
    """Run the command that the first argument names, or list them all."""
    if sys.platform == "win32":
        sys.exit("error: Windows has no POSIX file locks and signals: use WSL 2, which is Linux")
    name, *rest = sys.argv[1:] or ["--help"]
    prog = "python -m pipeline"
    if name in ("run", "repro"):
        from pipeline import run

        command = importlib.import_module(f"pipeline.{name}").main
        cli.run(command, args=run.arguments(rest), prog=f"{prog} {name}")
    elif name == "recipe":
        from pipeline import recipe

        cli.run(*recipe.SUBCOMMANDS, args=rest, prog=f"{prog} recipe")
    elif name == "sweep":
        from pipeline import sweep

        cli.run(*sweep.SUBCOMMANDS, args=rest, prog=f"{prog} sweep")
    elif name in COMMANDS:
        command = importlib.import_module(f"pipeline.{name}").main
        cli.run(command, args=rest, prog=f"{prog} {name}")
    else:
        cli.run(*(_listed(*item) for item in COMMANDS.items()), args=[name, *rest], prog=prog)


def _listed(name: str, text: str) -> Callable[[], None]:
    """A command that is never called: Typer lists it, and compares a mistyped name with it."""

    def command() -> None: ...

    command.__name__, command.__doc__ = name, text
    return command


if __name__ == "__main__":
    main()
