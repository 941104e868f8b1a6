"""The render stage: the training and a latent walk as GIFs, real images beside generated ones."""

from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.config import reading, sections, trained
from pipeline import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcgan.pictures import grids

RESULTS = Path("results/render")
WALKS, WALK_MS = 16, 80  # walks side by side, time of a frame


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    render: sections.Render
    training: sections.OnDevice


def main() -> None:
    """Make the GIFs and the comparison: python -m pipeline.render."""
    params = reading.load(Params)
    import torch

    from dcgan import data, rng
    from dcgan.networks import devices, exports, sampling
    from dcgan.pictures import gif, grids
    from dcgan.tracking import runs

    training = trained.read()
    generator, export = exports.load_generator(Path("models/generator.safetensors"))
    generator.to(devices.opened(params.training.device))
    paths = sorted(Path("results/train/samples").glob("*.png"))
    epochs = of_epochs(paths)
    render, latent = params.render, generator.architecture
    gif.gif(epochs, RESULTS / "training.gif", frame_ms=render.frame_ms, hold_ms=render.hold_ms)

    walks = []
    for number in range(WALKS):
        points = sampling.latents(
            range(render.walk_points), seed=params.seed, z_dim=latent.z_dim,
            distribution=latent.z_distribution, stream=f"walk {number}",
        )  # fmt: skip
        walks.append(gif.walk(points, render.walk_frames, latent.z_distribution))
    latents = torch.stack(walks, dim=1)

    def step(z: torch.Tensor) -> grids.Picture:
        return grids.shown(grids.tile(sampling.generate(generator, z), columns=8))

    steps = latents[gif.chosen(len(latents), step(latents[0])[..., 0].size)]
    gif.gif(gif.Drawn(len(steps), lambda i: step(steps[i])), RESULTS / "walk.gif", frame_ms=WALK_MS)
    test = data.open_split(Path("data/prepared"), "test")
    shown = rng.choose_of_each(test.labels, 64, params.seed, "real")
    made = sampling.sample(generator, 64, seed=params.seed, stream="final")
    real, fake = (grids.shown(grids.tile(each, columns=8)) for each in (test.images[shown], made))
    title = f"generated, epoch {export['epoch']}, {export['weights']} weights"
    comparison = RESULTS / "real_and_generated.png"
    grids.save_png(comparison, grids.beside(real, "real, test split", fake, title))
    with runs.open_run(training["fingerprint"], dataset=training["dataset"]) as run:
        run.log_folder(RESULTS, "render")
        run.log_image(comparison, "real_and_generated", export["epoch"])
    every = "" if len(epochs) == len(paths) else f" ({len(epochs)} of {len(paths)} grids)"
    what = f"epochs 0 to {len(paths) - 1}{every}, a walk of {len(steps)} frames and a comparison"
    print(f"render: {what} in {RESULTS}")


def of_epochs(paths: "Sequence[Path]") -> "Sequence[grids.Picture]":
    """The grids of the epochs, of very many some, each under its number.

    Raises:
        DataError: there is none.
    """
    from dcgan.errors import DataError
    from dcgan.pictures import gif, grids

    if not paths:
        raise DataError("results/train/samples: has no grid, expected one an epoch: run train")

    def frame(epoch: int) -> grids.Picture:
        return grids.labelled(grids.read(paths[epoch]), f"epoch {epoch}")

    chosen = gif.chosen(len(paths), frame(0)[..., 0].size)
    return gif.Drawn(len(chosen), lambda i: frame(chosen[i]))


if __name__ == "__main__":
    cli.run(main)
