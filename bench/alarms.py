"""What the alarms of a training see in trainings that go well and in spoilt ones.

    python bench/alarms.py                  # after `dvc repro -s prepare`; some twenty minutes
    python bench/alarms.py --only mnist-tf  # those whose name begins so

Each training takes a few hundred steps on Fashion-MNIST, enlarged and padded to the size that its
recipe asks for. The table of docs/protocol.md has the lowest figure of each after the steps in
which no alarm is given.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np

from dcgan import data, rng
from dcgan.config import recipes
from dcgan.networks import devices, sampling
from dcgan.reports import markdown
from dcgan.training import alarms, loop
from dcgan.training.state import finish_ema
from dcgan.training.step import train_step

HEALTHY = [
    *(("best28", seed) for seed in (1, 2)),
    *(("mnist-tf", seed) for seed in (1, 2)),
    *(("fashion-adam", seed) for seed in (1, 2)),
    *(("fashion-rmsprop", seed) for seed in (1, 2)),
    ("svhn32", 1),
    ("celeba64", 1),
]
# What spoils them.
SICK: list[tuple[str, int, dict[str, Any]]] = [
    ("mnist-tf", 1, {"training.generator_lr_scale": 0.01, "lr": 0.001}),
    ("fashion-adam", 1, {"lr": 0.02}),
    ("celeba64", 1, {"training.generator_lr_scale": 0.01, "lr": 0.002}),
]
STEPS, EVERY, IMAGES = 1200, 150, 64
# Images, where the recipe's own number takes too long here.
PER_STEP = {"mnist-tf": 64, "svhn32": 64, "celeba64": 32}


def main() -> None:
    """Train them, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="the beginning of a recipe's name")
    parser.add_argument("--sick", action="store_true", help="only the spoilt ones")
    args = parser.parse_args()
    healthy = [] if args.sick else [(name, seed, {}) for name, seed in HEALTHY]
    rows = []
    for name, seed, edits in [*healthy, *SICK]:
        if name.startswith(args.only):
            share, variety = watched(name, seed, edits)
            changed = ", ".join(f"{key} {value:g}" for key, value in edits.items()) or "as it is"
            rows.append([name, str(seed), changed, f"{min(share):.3f}", f"{min(variety):.2f}"])
            print(", ".join(rows[-1]), flush=True)
    head = ["recipe", "seed", "changed", "lowest share of D's loss", "lowest variety"]
    print(markdown.table(head, rows))


def watched(name: str, seed: int, edits: dict[str, Any]) -> tuple[list[float], list[float]]:
    """`alarms.loss_share` and `alarms.variety` of each EVERY steps after the first ones."""
    params = recipes.load(Path("recipes") / f"{name}.yaml").params
    for key, value in edits.items():
        section, _, field = key.rpartition(".")
        if section:
            old = getattr(params, section)
            params = params.model_copy(update={section: old.model_copy(update={field: value})})
        else:
            params = params.model_copy(update={field: value})
    images = sized(params.dataset.image_size, params.dataset.channels)
    device = devices.opened("cpu")
    precision = devices.choose_precision("auto", device)
    training = params.training
    state = loop.build(
        params.dataset.channels, seed=seed, lr=params.lr, beta1=params.beta1,
        generator=params.generator, discriminator=params.discriminator, training=training,
        device=device,
    )  # fmt: skip
    latents = sampling.latents(
        range(IMAGES), seed=seed, z_dim=params.generator.z_dim,
        distribution=params.generator.z_distribution,
    )  # fmt: skip
    batch_size = PER_STEP.get(name, params.batch_size)
    real = images[rng.choose(len(images), IMAGES, seed, "real").numpy()]
    shares, varieties, rows = [], [], []
    for step in range(STEPS):
        chosen = rng.choose(len(images), batch_size, seed, f"batch {step}").numpy()
        outcome = train_step(
            state, data.to_float(images[chosen]), seed=seed, training=training,
            precision=precision, measure=step % 10 == 9,
        )  # fmt: skip
        row = outcome.read()
        if row:
            rows.append(row)
        if (step + 1) % EVERY == 0:
            finish_ema(state, training)
            made = sampling.generate(state.ema, latents)
            share = alarms.loss_share(rows, training)
            variety = alarms.variety(made, real)
            print(f"  {name} {seed} step {step + 1}: {share:.3f} {variety:.2f}", flush=True)
            if step + 1 >= alarms.FEWEST_STEPS:
                shares.append(share)
                varieties.append(variety)
            rows = []
    return shares, varieties


def sized(size: int, channels: int) -> data.Images:
    """Some train images, enlarged by a whole number and padded with black to `size`."""
    split = data.open_split(Path("data/prepared"), "train")
    rows = rng.choose_of_each(split.labels, 10_000, 0, "alarms")
    images = np.array(split.images[rows])
    times = max(1, size // images.shape[-1])
    images = images.repeat(times, axis=2).repeat(times, axis=3).repeat(channels, axis=1)
    pad = size - images.shape[-1]
    around = (pad // 2, pad - pad // 2)
    return np.pad(images, ((0, 0), (0, 0), around, around))


if __name__ == "__main__":
    main()
