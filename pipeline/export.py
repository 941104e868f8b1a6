"""A model as a folder that leaves this repository: plain torch for the Hub, ONNX, a web page."""

import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from pipeline import cli, sample

METRICS, GRID, WALK = Path("results/evaluate/metrics.json"), "samples.png", "walk.gif"
SHOWN, VISITED = 64, 5  # images of the grid, of the walk
OWN = Path("models/generator.safetensors")  # what evaluate leaves, with METRICS
MODEL_HELP = "models:/NAME@ALIAS, models:/NAME/NUMBER, a model folder or a generator's file."


def main(
    to: Annotated[Path, Option(help="The folder to make; empty, or not there yet.")],
    model: Annotated[str, Option(help=MODEL_HELP)] = str(OWN),
    kind: Annotated[
        Literal["hub", "onnx", "web"],
        Option("--format", help="hub: plain torch; onnx: one file; web: a page that draws."),
    ] = "hub",
    runtime: Annotated[
        Path | None, Option(help="web: onnxruntime-web, as `npm pack onnxruntime-web` gets it.")
    ] = None,
) -> None:
    """Export a generator for others: the Hub, ONNX, a web page: python -m pipeline export --to DIR.

    The folder holds a model card, samples and a walk, and for the Hugging Face Hub weights, a
    config and a loading file of plain torch, or else model.onnx. hf upload NAME DIR sends it.
    For the web it is a page with all that it needs, for any static server.
    """
    from dcgan import errors, files
    from dcgan.config import reading, sections
    from dcgan.networks import devices, exports, sampling
    from dcgan.pictures import gif
    from dcgan.promotion import bundle, hub, onnx_model, registry, web_page
    from dcgan.raw import catalog

    if (kind == "web") != (runtime is not None):
        raise errors.ConfigError(
            f"--format {kind}, --runtime {runtime}: --format web needs --runtime, and nothing else"
            f" does: {web_page.GET_IT}"
        )
    if kind != "hub":
        onnx_model.check_packages()
    title = catalog.title(reading.load(sections.AllParams).dataset)
    with tempfile.TemporaryDirectory() as temporary:
        fetched = registry.fetch(model, Path(temporary, "model"))
        generator, description = exports.load_generator(fetched / bundle.GENERATOR)
        card = fetched / hub.CARD
        text = card.read_text() if card.is_file() else _card(title, description)
    # The workspace's figures are those of its own generator alone.
    own = Path(model) == OWN and METRICS.is_file()
    known = files.read_metrics(METRICS) if own else None
    with bundle.making(to) as folder:
        if kind == "hub":
            hub.write(folder, generator, title, text, known)
        elif runtime is not None:  # --format web, as checked above
            web_page.write(folder, generator, title, text, runtime)
        else:
            onnx_model.write(folder / onnx_model.MODEL, generator)
            head = hub.head(title, known, library="onnx")
            files.write_text(folder / hub.CARD, f"{head}\n{text}\n{onnx_model.USE}")
        generator.to(devices.opened("auto"))
        a = generator.architecture
        z = sampling.latents(range(SHOWN), seed=0, z_dim=a.z_dim, distribution=a.z_distribution)
        sample.write_grid(sampling.generate(generator, z), folder / GRID)
        walk = gif.walk(z[:VISITED], sample.BETWEEN, a.z_distribution)
        sample.write_walk(sampling.generate(generator, walk), folder / WALK)
    size = sum(path.stat().st_size for path in to.iterdir())
    use = {
        "hub": f"python {to / hub.LOADER} 16 draws images; hf upload NAME {to}",
        "onnx": f"see {to / hub.CARD}; hf upload NAME {to}",
        "web": f"{size / 1e6:.0f} MB; python -m http.server -d {to} shows it",
    }
    print(f"export: {model} in {to}: {use[kind]}")


def _card(title: str, description: dict[str, Any]) -> str:
    return (
        f"# dcgan-{title}\n\nThe generator of a DCGAN, epoch {description.get('epoch')},"
        f" {description.get('weights')} weights. Its card was not written: register the model, or"
        " export a model folder, to have its figures here.\n"
    )


if __name__ == "__main__":
    cli.run(main)
