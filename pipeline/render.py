"""The render stage: the training and a latent walk as GIFs, real images beside generated ones."""

from pathlib import Path

from dcgan.config import reading, sections, trained
from pipeline import cli

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
    epochs: list[grids.Picture] = []
    for path in sorted(Path("results/train/samples").glob("*.png")):
        epochs.append(grids.labelled(grids.read(path), f"epoch {len(epochs)}"))
    render, latent, paths = params.render, generator.architecture, []
    gif.gif(epochs, RESULTS / "training.gif", frame_ms=render.frame_ms, hold_ms=render.hold_ms)

    for number in range(WALKS):
        points = sampling.latents(
            range(render.walk_points), seed=params.seed, z_dim=latent.z_dim,
            distribution=latent.z_distribution, stream=f"walk {number}",
        )  # fmt: skip
        paths.append(gif.walk(points, render.walk_frames, latent.z_distribution))
    steps = (sampling.generate(generator, z) for z in torch.stack(paths, dim=1))
    walk = [grids.shown(grids.tile(images, columns=8)) for images in steps]
    gif.gif(walk, RESULTS / "walk.gif", frame_ms=WALK_MS)
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
    what = f"epochs 0 to {len(epochs) - 1}, a walk of {len(walk)} frames and a comparison"
    print(f"render: {what} in {RESULTS}")


if __name__ == "__main__":
    cli.run(main)
