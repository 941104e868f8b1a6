"""Set params.yaml for a folder of one's own pictures, after a look at it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline import cli

RECIPES, PARAMS_FILE = Path("recipes"), Path("params.yaml")


def main(
    folder: Annotated[str, typer.Argument(help="The folder with the pictures.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Show the values, and change nothing.")
    ] = False,
) -> None:
    """Set params.yaml for a folder of pictures: python -m pipeline init ~/pictures.

    It chooses networks and an image size that fit the pictures, how many are held out, and how long
    is trained. git diff params.yaml shows the changes, git checkout params.yaml undoes them.
    """
    from dcgan import files
    from dcgan.config import edits, keys, reading
    from dcgan.files import own_path
    from dcgan.raw import survey

    values = reading.read_yaml(PARAMS_FILE)
    dataset = reading.parse(values).dataset
    found = survey.look(own_path(folder), folder, dataset.model_copy(update={"name": "fake"}))
    size = survey.side(found)
    name, _ = survey.NETWORKS[size]
    recipe = reading.read_yaml(RECIPES / f"{name}.yaml")
    overlay = survey.values(found, recipe, size)
    checked = reading.parse(edits.merge(values, overlay))
    for line in survey.lines(found, checked.dataset):
        print(f"init: {line}")
    print(f"init: networks of the recipe {name}, for images of {size} x {size}")
    before = keys.leaves(values)
    for key, value in keys.leaves(overlay).items():
        if before[key] != value and not key.startswith(("generator.", "discriminator.")):
            print(f"init: {key}: {json.dumps(before[key])} -> {json.dumps(value)}")
    if dry_run:
        print(f"init: {PARAMS_FILE} is as it was, because of --dry-run")
        return
    files.write_text(PARAMS_FILE, edits.edit(PARAMS_FILE, overlay))
    print(f"init: {PARAMS_FILE} is written; now: make repro")


if __name__ == "__main__":
    cli.run(main)
