"""Compare runs side by side: parameters, figures with verdicts, samples."""

from pathlib import Path
from typing import Annotated

import typer

from dcgan.errors import ConfigError
from pipeline import candidates, cli
from pipeline.candidates import ACCEPTED


def main(
    runs: Annotated[list[str], typer.Argument(help=f"Two or more; each is {ACCEPTED}.")],
    out: Annotated[Path, typer.Option(help="Folder for compare.md and compare.png.")] = Path(
        "results/compare"
    ),
) -> None:
    """Compare runs side by side: parameters, figures with verdicts, samples.

    Example: python -m pipeline compare HEAD workspace.
    """
    if len(runs) < 2:
        raise ConfigError(f"compare: {runs[0]} alone: must be at least two, each {ACCEPTED}")
    from dcgan.config import reading, sections

    z = reading.load(sections.AllParams).gate.z
    from dcgan import files
    from dcgan.pictures import grids
    from dcgan.reports import side_by_side

    models = [candidates.load(name) for name in runs]
    text = side_by_side.markdown(models, z, "compare.png")
    grids.save_png(out / "compare.png", side_by_side.picture(models, z))
    files.write_text(out / "compare.md", text)
    print(text)
    print(f"{out / 'compare.md'} and {out / 'compare.png'}")


if __name__ == "__main__":
    cli.run(main)
