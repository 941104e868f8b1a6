"""A model as a folder that leaves this repository: plain torch, for the Hugging Face Hub."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from pipeline import cli, sample

METRICS, GRID, WALK = Path("results/evaluate/metrics.json"), "samples.png", "walk.gif"
SHOWN, VISITED = 64, 5  # images of the grid, of the walk
OWN = Path("models/generator.safetensors")  # what evaluate leaves, with METRICS
MODEL_HELP = "models:/NAME@ALIAS, models:/NAME/NUMBER, a model folder or a generator's file."


def main(
    to: Annotated[Path, Option(help="The folder to make; empty, or not there yet.")],
    model: Annotated[str, Option(help=MODEL_HELP)] = str(OWN),
) -> None:
    """Export a generator for the Hugging Face Hub: python -m pipeline export --to DIR.

    The folder holds weights, a config, a loading file of plain torch, a model card, samples and a
    walk. hf upload NAME DIR sends it.
    """
    from dcgan import files
    from dcgan.config import reading, sections
    from dcgan.networks import devices, exports, sampling
    from dcgan.pictures import gif
    from dcgan.promotion import bundle, hub, registry
    from dcgan.raw import catalog

    title = catalog.title(reading.load(sections.AllParams).dataset)
    with tempfile.TemporaryDirectory() as temporary:
        fetched = registry.fetch(model, Path(temporary, "model"))
        generator, description = exports.load_generator(fetched / bundle.GENERATOR)
        card = fetched / hub.CARD
        text = card.read_text() if card.is_file() else _card(title, description)
    # The workspace's figures are those of its own generator alone.
    own = Path(model) == OWN and METRICS.is_file()
    known = files.read_json(METRICS) if own else None
    with bundle.making(to) as folder:
        hub.write(folder, generator, title, text, known)
        generator.to(devices.opened("auto"))
        a = generator.architecture
        z = sampling.latents(range(SHOWN), seed=0, z_dim=a.z_dim, distribution=a.z_distribution)
        sample.write_grid(sampling.generate(generator, z), folder / GRID)
        walk = gif.walk(z[:VISITED], sample.BETWEEN, a.z_distribution)
        sample.write_walk(sampling.generate(generator, walk), folder / WALK)
    print(f"export: {model} in {to}: python {to / hub.LOADER} 16 draws images; hf upload NAME {to}")


def _card(title: str, description: dict[str, Any]) -> str:
    return (
        f"# dcgan-{title}\n\nThe generator of a DCGAN, epoch {description.get('epoch')},"
        f" {description.get('weights')} weights. Its card was not written: register the model, or"
        " export a model folder, to have its figures here.\n"
    )


if __name__ == "__main__":
    cli.run(main)
