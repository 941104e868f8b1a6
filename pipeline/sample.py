"""Images from a registered or exported generator."""

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from pipeline import cli

if TYPE_CHECKING:
    from dcgan.data import Images

BETWEEN = 16  # frames of a walk from one image to the next
FRAME_MS, SMALLEST_SIDE = 80, 128  # of a walk; pixels
# The highest --count, by the suffix of the file.
LIMITS = {".png": 10_000, ".gif": 200, ".npz": 100_000}
MODEL_HELP = (
    "models:/NAME@ALIAS, models:/NAME/NUMBER, runs:/ID/PATH, a model folder or a generator's file."
)
WALK_HELP = "A GIF that passes the images one after the other and returns."


def main(
    model: Annotated[str, Option(help=MODEL_HELP)] = "models/generator.safetensors",
    seed: Annotated[
        int, Option(help="Image i depends on the seed and i alone.", min=0, max=2**32 - 1)
    ] = 0,
    count: Annotated[
        int, Option(help="Number of images, or of those that the walk passes.", min=1)
    ] = 64,
    out: Annotated[Path | None, Option(help="Default: samples.png, .gif or .npz.")] = None,
    latent_walk: Annotated[bool, Option("--latent-walk", metavar="", help=WALK_HELP)] = False,
    npz: Annotated[
        bool, Option("--npz", metavar="", help="An .npz with `images`: uint8, N x C x H x W.")
    ] = False,
) -> None:
    """Draw images from a model: python -m pipeline sample --model models:/dcgan-svhn@champion."""
    out = output_file(out, count, latent_walk, npz)
    import numpy as np

    from dcgan import files
    from dcgan.networks import devices, exports, sampling
    from dcgan.pictures import gif
    from dcgan.promotion import bundle, registry

    with tempfile.TemporaryDirectory() as folder:
        fetched = registry.fetch(model, Path(folder, "model"))
        generator, _ = exports.load_generator(fetched / bundle.GENERATOR)
    generator.to(devices.opened("auto"))
    a = generator.architecture
    z = sampling.latents(range(count), seed=seed, z_dim=a.z_dim, distribution=a.z_distribution)
    images = sampling.generate(
        generator, gif.walk(z, BETWEEN, a.z_distribution) if latent_walk else z
    )
    if latent_walk:
        write_walk(images, out)
    elif npz:
        with files.replacing(out) as temporary:
            np.savez_compressed(temporary, images=images)
    else:
        write_grid(images, out)
    print(f"sample: {count} images of seed {seed} from {model} in {out}")


def write_grid(images: "Images", out: Path) -> None:
    """As nearly square as can be."""
    from dcgan.pictures import grids

    grid = grids.tile(images, columns=math.ceil(math.sqrt(len(images))))
    grids.save_png(out, grids.shown(grid))


def write_walk(images: "Images", out: Path) -> None:
    """A frame an image, large enough for a screen."""
    from dcgan.pictures import gif, grids

    scale = max(1, SMALLEST_SIDE // images.shape[-1])
    frames = [grids.enlarged(grids.tile(image[None], columns=1), scale) for image in images]
    gif.gif(frames, out, frame_ms=FRAME_MS)


def output_file(out: Path | None, count: int, latent_walk: bool, npz: bool) -> Path:
    """The file to write, in a folder that exists.

    Raises:
        ConfigError: the options do not go together, or ask for too much.
        EnvironmentProblem: the file's folder cannot be made.
    """
    from dcgan.errors import ConfigError, EnvironmentProblem

    if latent_walk and npz:
        raise ConfigError("--latent-walk and --npz: give one of them")
    suffix, kind = ".png", "a grid"
    if latent_walk:
        suffix, kind = ".gif", "--latent-walk"
    elif npz:
        suffix, kind = ".npz", "--npz"
    out = out or Path(f"samples{suffix}")
    if out.suffix != suffix:
        raise ConfigError(f"--out {out}: must end in {suffix}, because {kind} is written")
    least, most = 2 if latent_walk else 1, LIMITS[suffix]
    if not least <= count <= most:
        raise ConfigError(f"--count {count}: must be {least} to {most} for {kind}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"--out {out}: its folder cannot be made ({error.strerror}): give another"
        ) from error
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder: give a file")
    return out


if __name__ == "__main__":
    cli.run(main)
