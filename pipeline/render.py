"""The render stage: the training as a GIF, a walk through the latent space, and real beside generated images."""

from pathlib import Path

from dcgan.config import reading, sections
from pipeline import cli

RESULTS = Path("results/render")
SCALE = 2  # times the grid's own pixels, for the eye


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    render: sections.Render


def main() -> None:
    """Make the GIFs and the comparison: python -m pipeline.render."""
    params = reading.load(Params)
    import torch

    from dcgan import data, files
    from dcgan.networks import exports, sampling
    from dcgan.pictures import gif as render
    from dcgan.pictures import grids
    from dcgan.tracking import runs

    about = files.read_json(Path("results/train/run.json"))
    generator, export = exports.load_generator(Path("models/generator.safetensors"))

    # The training, a frame an epoch, from the grids of the same latent vectors.
    epochs = sorted(Path("results/train/samples").glob("epoch-*.png"))
    frames = [
        render.labelled(render.read(path, SCALE), f"epoch {i}") for i, path in enumerate(epochs)
    ]
    render.gif(
        frames,
        RESULTS / "training.gif",
        frame_ms=params.render.frame_ms,
        hold_ms=params.render.hold_ms,
    )

    # A walk: 16 of them side by side, each through its own points and back.
    latent, count, between = generator.params, params.render.walk_points, params.render.walk_frames
    walks = []
    for stream in (f"walk {i}" for i in range(16)):
        points = sampling.latents(
            range(count),
            seed=params.seed,
            z_dim=latent.z_dim,
            distribution=latent.z_distribution,
            stream=stream,
        )
        walks.append(render.walk(points, between, latent.z_distribution))
    pictures = [
        grids.tile(sampling.generate(generator, z), columns=8) for z in torch.stack(walks, dim=1)
    ]
    render.gif(
        [render.enlarged(picture, SCALE) for picture in pictures], RESULTS / "walk.gif", frame_ms=80
    )

    # Real beside generated, the same number of each.
    real = data.open_split(Path("data/prepared"), "test").images[:64]
    fake = sampling.sample(generator, 64, seed=params.seed, stream="final")
    title = f"generated, epoch {export['epoch']}, {export['weights']} weights"
    picture = render.beside(
        grids.tile(real, columns=8), "real, test split", grids.tile(fake, columns=8), title
    )
    grids.save_png(RESULTS / "real_and_generated.png", picture)

    with runs.open_run(about["fingerprint"], dataset=about["dataset"]) as run:
        run.log_folder(RESULTS, "render")
        run.log_image(RESULTS / "real_and_generated.png", "real_and_generated", export["epoch"])
    print(
        f"render: {len(frames)} epochs, a walk of {len(pictures)} frames and a comparison in {RESULTS}"
    )


if __name__ == "__main__":
    cli.run(main)
