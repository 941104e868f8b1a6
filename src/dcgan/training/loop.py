"""The training loop: one batch from the memory-mapped array to two updates.

Nothing here knows of DVC or MLflow; whoever wants to watch passes a callback.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dcgan import data, rng
from dcgan.config.sections import AllParams
from dcgan.errors import DataError, Stopped
from dcgan.networks import exports, models, sampling
from dcgan.networks.models import Discriminator, Generator
from dcgan.pictures import grids
from dcgan.training import optimizers
from dcgan.training.checkpoint import Scratch, load_optimizer, optimizer_tensors
from dcgan.training.step import Row, State
from dcgan.training.updates import COLUMNS, train_step


def build(params: AllParams, image_channels: int, device: torch.device) -> State:
    """Both networks with their first weights, and their optimizers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.derive(params.seed, "init"))
        generator = Generator(params.generator, image_channels)
        discriminator = Discriminator(params.discriminator, image_channels, generator.image_size)
    generator.to(device).to(memory_format=torch.channels_last)
    discriminator.to(device).to(memory_format=torch.channels_last)
    ema = copy.deepcopy(generator).eval().requires_grad_(False)
    opt_g = optimizers.build(generator, params, params.lr * params.training.generator_lr_scale)
    opt_d = optimizers.build(discriminator, params, params.lr)
    return State(generator, discriminator, ema, opt_g, opt_d)


def set_learning_rates(state: State, params: AllParams, total: int) -> None:
    """Constant, and from `training.linear_decay_from` of all `total` steps on falling in a line, to 0 after the last."""
    start = params.training.linear_decay_from
    scale = 1.0 if start == 1 else min(1.0, (1 - state.step / total) / (1 - start))
    optimizers.set_lr(state.opt_d, params.lr * scale)
    optimizers.set_lr(state.opt_g, params.lr * params.training.generator_lr_scale * scale)


def train(
    params: AllParams,
    images: np.ndarray,  # uint8 N x C x H x W, memory-mapped
    scratch: Scratch,
    *,
    device: torch.device,
    precision: str,  # float32 or bfloat16
    on_row: Callable[[Row], None] = lambda row: None,
    on_step: Callable[[int, int], None] = lambda step, total: None,
    on_epoch: Callable[[int, State], None] = lambda epoch, state: (
        None
    ),  # epoch 0 is the untrained state
    stop_signal: Callable[[], int] = lambda: 0,  # the number of a signal that asks for the end
) -> State:
    """Train for `params.epochs`, or go on from the newest checkpoint in `scratch`.

    `on_epoch` comes before that epoch's checkpoint is written, so whatever it makes exists when
    training goes on from there.

    Raises:
        Diverged: a loss, gradient or buffer is not finite; the last checkpoint is from before.
        Stopped: a signal asked for the end; the checkpoint of this step is written.
        DataError: there are fewer images than one batch holds.
        NoCheckpoint: there are checkpoints and none is intact.
    """
    batch_size = params.batch_size
    steps_per_epoch = (
        len(images) // batch_size
        if params.training.drop_last
        else math.ceil(len(images) / batch_size)
    )
    if steps_per_epoch == 0:
        raise DataError(
            f"train split: {len(images)} images, batch_size = {batch_size}: lower batch_size or add images"
        )
    total = params.epochs * steps_per_epoch
    state = build(params, images.shape[1], device)
    if not restore(state, scratch):
        on_epoch(0, state)
        save(state, scratch)
    on_step(state.step, total)
    order_of, order = -1, torch.empty(0)
    while state.step < total:
        # Take the next batch.
        epoch, index = divmod(state.step, steps_per_epoch)
        if epoch != order_of:
            order_of, order = epoch, rng.epoch_order(len(images), params.seed, epoch)
        batch = order[index * batch_size : (index + 1) * batch_size].numpy()
        real = data.to_float(images[batch]).to(device)
        # Update both networks.
        last_of_epoch = index + 1 == steps_per_epoch
        set_learning_rates(state, params, total)
        row = train_step(
            state,
            params,
            real,
            precision,
            measure=last_of_epoch or (state.step + 1) % params.training.log_every == 0,
        )
        if row:
            row = {"epoch": epoch + 1, "step": state.step, **row}
            state.history.append(row)
            on_row(row)
        # Save and show.
        if last_of_epoch:
            on_epoch(epoch + 1, state)
        signal_number = stop_signal()
        if last_of_epoch or signal_number or state.step % params.training.save_every == 0:
            save(state, scratch)
        on_step(state.step, total)
        if signal_number and state.step < total:
            raise Stopped(
                f"stopped after step {state.step} of {total}; run the same command again to go on",
                signal_number,
            )
    return state


def write_epoch(epoch: int, state: State, params: AllParams, folder: Path) -> None:
    """Write an epoch's grid, from the same latent vectors each time, and exports of the networks; no exports for epoch 0."""
    z = params.generator
    latents = sampling.latents(
        range(params.training.num_samples),
        seed=params.seed,
        z_dim=z.z_dim,
        distribution=z.z_distribution,
        stream="grid",
    )
    grid = grids.tile(
        sampling.generate(state.ema, latents), columns=math.ceil(math.sqrt(len(latents)))
    )
    grids.save_png(folder / "samples" / f"epoch-{epoch:04d}.png", grid)
    if epoch:
        epoch_folder, when = (
            folder / "exports" / f"epoch-{epoch:04d}",
            {"epoch": epoch, "step": state.step},
        )
        exports.export(
            epoch_folder / "generator.safetensors", state.generator, {**when, "weights": "raw"}
        )
        exports.export(
            epoch_folder / "generator_ema.safetensors", state.ema, {**when, "weights": "ema"}
        )
        exports.export(epoch_folder / "discriminator.safetensors", state.discriminator, when)


def describe(state: State) -> str:
    """Both networks as tables: layer, output shape, parameters."""
    lines = []
    for name, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        trainable, running = models.count_parameters(network)
        lines.append(f"{name}: {trainable:,} trainable parameters, {running:,} running statistics")
        lines += [
            f"  {kind:<16} {shape:>16} {count:>12,}"
            for kind, shape, count in models.summary(network)
        ]
    return "\n".join(lines) + "\n"


def save(state: State, scratch: Scratch) -> None:
    """Write a checkpoint of this step."""
    networks = {
        "generator": state.generator,
        "discriminator": state.discriminator,
        "ema": state.ema,
    }
    tensors = {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    tensors |= optimizer_tensors(state.opt_g, "opt_g") | optimizer_tensors(state.opt_d, "opt_d")
    scratch.save(state.step, tensors, {"history": state.history})


def restore(state: State, scratch: Scratch) -> bool:
    """Load the newest intact checkpoint; False when there is none."""
    found = scratch.load()
    if found is None:
        return False
    tensors, about = found
    for name, network in {
        "generator": state.generator,
        "discriminator": state.discriminator,
        "ema": state.ema,
    }.items():
        prefix = f"{name}."
        network.load_state_dict(
            {
                key.removeprefix(prefix): value
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
        )
    load_optimizer(state.opt_g, "opt_g", tensors)
    load_optimizer(state.opt_d, "opt_d", tensors)
    state.step = about["step"]
    state.history = [{name: row[name] for name in COLUMNS} for row in about["history"]]
    return True
