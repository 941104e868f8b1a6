"""List, show and apply the recipes, each a known system as an overlay of params.yaml."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import cli, tables

if TYPE_CHECKING:
    from dcgan.config import recipes
    from dcgan.networks import models

RECIPES, PARAMS_FILE = Path("recipes"), Path("params.yaml")
Name = Annotated[str, typer.Argument(help="A file of the folder recipes, without .yaml.")]


def list_() -> None:
    """List the recipes with the size of their networks: python -m pipeline recipe list."""
    from dcgan.config import recipes
    from dcgan.networks import models

    table = tables.new("recipe", "data", "parameters", "update", "reproduces")
    for name in recipes.names(RECIPES):
        recipe = load(name)
        dataset, update = recipe.params.dataset, recipe.params.training.update
        data = f"{dataset.name}\n{dataset.image_size} x {dataset.image_size} x {dataset.channels}"
        counts = [
            f"{title[0].upper()} {models.count_parameters(network)[0]:,}"
            for title, network in networks(recipe).items()
        ]
        table.add_row(name, data, "\n".join(counts), update, recipe.reproduces)
    tables.show(table)


def show(name: Name) -> None:
    """Show what a recipe changes and its networks: python -m pipeline recipe show celeba64."""
    recipe = load(name)
    from dcgan.config import recipes
    from dcgan.networks import models

    print(f"{name} reproduces {recipe.reproduces}")
    for key, old, new in recipes.changes(recipe, PARAMS_FILE):
        print(f"{key}: {json.dumps(old)} -> {json.dumps(new)}")
    for title, network in networks(recipe).items():
        table = tables.new(title, "output shape", "parameters")
        for layer, shape, count in models.summary(network):
            table.add_row(layer, shape, f"{count:,}")
        trainable, running = models.count_parameters(network)
        table.add_section()
        table.add_row("trainable", "", f"{trainable:,}")
        table.add_row("running statistics", "", f"{running:,}")
        tables.show(table)


def apply(name: Name) -> None:
    """Write a recipe's values into params.yaml: python -m pipeline recipe apply celeba64."""
    from dcgan.config import recipes

    changed = recipes.apply(load(name), PARAMS_FILE)
    print(f"{PARAMS_FILE}: {len(changed)} values changed to those of {name}")


def flags(name: Name) -> None:
    """Print a recipe as options of dvc: dvc exp run $(python -m pipeline recipe flags celeba64)."""
    from dcgan.config import recipes

    print(*recipes.flags(load(name)))


def load(name: str) -> "recipes.Recipe":
    """The recipe of this name, checked on top of params.yaml."""
    from dcgan.config import recipes

    return recipes.load(recipes.find(name, RECIPES), PARAMS_FILE)


def networks(recipe: "recipes.Recipe") -> "dict[str, models.Generator | models.Discriminator]":
    """The recipe's generator and discriminator, by name."""
    from dcgan.training import fresh

    params = recipe.params
    channels, size = params.dataset.channels, params.dataset.image_size
    discriminator = fresh.discriminator(params.discriminator, channels, size)
    return {
        "generator": fresh.generator(params.generator, channels),
        "discriminator": discriminator,
    }


SUBCOMMANDS = (list_, show, apply, flags)

if __name__ == "__main__":
    cli.run(*SUBCOMMANDS)
