"""The training loop: one batch from the memory-mapped array to two updates.

Nothing here knows of DVC or MLflow; a caller that wants to watch passes callbacks.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from dcgan import data, rng
from dcgan.config.sections import DiscriminatorParams, GeneratorParams, Training
from dcgan.errors import ConfigError, DataError, Stopped
from dcgan.networks import exports, sampling
from dcgan.networks.models import Discriminator, Generator
from dcgan.networks.weights import load_plain_weights, plain_weights
from dcgan.pictures import grids
from dcgan.training import feeding, fresh, optimizers, saving, synchronised
from dcgan.training.checkpoint import Checkpoints
from dcgan.training.ranks import ALONE, Ranks
from dcgan.training.replay import Recordings
from dcgan.training.state import Row, State, finish_ema
from dcgan.training.step import Outcome, train_step


def train(
    images: data.Images,  # N x C x H x W, memory-mapped
    checkpoints: Checkpoints | None,  # locked; resumed from; None in processes but the first
    *,
    seed: int,
    lr: float,  # of D, and of G before `training.generator_lr_scale`
    beta1: float,  # of Adam
    batch_size: int,  # images
    epochs: int,  # in all, those of the newest checkpoint among them
    generator: GeneratorParams,
    discriminator: DiscriminatorParams,
    training: Training,
    device: torch.device,
    precision: str,  # float32 or bfloat16
    ranks: Ranks = ALONE,  # the processes; all of them call this
    start_from: Mapping[str, Generator | Discriminator] | None = None,  # see `start`
    on_row: Callable[[Sequence[Row]], None] = lambda rows: None,  # all rows, the newest last
    on_step: Callable[[int, int], None] = lambda step, total: None,
    on_epoch: Callable[[int, State], None] = lambda epoch, state: None,  # epoch 0: untrained
    stop_signal: Callable[[], int] = lambda: 0,  # number of a signal that asks for the end, or 0
) -> State:
    """Train for `epochs`, or resume from the newest checkpoint.

    `on_epoch` comes before that epoch's checkpoint is written, so whatever it makes exists when
    training resumes from there.

    Raises:
        Diverged: a loss, gradient or buffer is not finite; the last checkpoint is from before.
        Stopped: a signal asked for the end; the checkpoint of this step is written.
        DataError: there are fewer images than one batch holds.
        NoCheckpoint: there are checkpoints and none is intact.
        ConfigError: `start_from` is of another architecture.
    """
    steps_per_epoch = len(images) // batch_size
    if not training.drop_last and last_batch(len(images), batch_size, ranks.count):
        steps_per_epoch += 1
    if steps_per_epoch == 0:
        raise DataError(
            f"train split: {len(images)} images, batch_size = {batch_size}:"
            " lower batch_size or add images"
        )
    total = epochs * steps_per_epoch
    state = build(
        images.shape[1], seed=seed, lr=lr, beta1=beta1,
        generator=generator, discriminator=discriminator, training=training, device=device,
        ranks=ranks,
    )  # fmt: skip

    def begin() -> tuple[int, list[Row]]:
        assert checkpoints is not None
        if not saving.restore(state, checkpoints, ranks):
            if start_from:
                start(state, start_from)
            finish_ema(state, training)
            on_epoch(0, state)
            saving.save(state, checkpoints, ranks)
        return state.step, state.history

    state.step, state.history = ranks.from_first(begin)
    ranks.share(list(saving.tensors(state).values()))
    on_step(state.step, total)
    batches = feeding.batches(
        images, range(state.step, total), steps_per_epoch=steps_per_epoch, batch_size=batch_size,
        seed=seed, device=device, ranks=ranks,
    )  # fmt: skip
    recordings = Recordings() if training.cuda_graphs and device.type == "cuda" else None
    unread: list[Outcome] = []
    for real in batches:
        # Update both networks.
        epoch, index = divmod(state.step, steps_per_epoch)
        last_of_epoch = index + 1 == steps_per_epoch
        set_learning_rates(state, total, lr=lr, training=training)
        measure = last_of_epoch or (state.step + 1) % training.log_every == 0
        outcome = train_step(
            state, real, seed=seed, training=training, precision=precision, measure=measure,
            ranks=ranks, recordings=recordings,
        )  # fmt: skip
        old = checkpoints is not None and checkpoints.age() >= training.save_seconds
        signal_number, save_now = ranks.agree(stop_signal(), old)
        writes = bool(last_of_epoch or signal_number or save_now)
        # See whether all is finite. A GPU may be one step ahead of it, but never of a file.
        unread.append(outcome)
        while len(unread) > (0 if measure or writes else 1):
            figures = unread.pop(0).read()
            if figures:
                row = {"epoch": epoch + 1, "step": state.step, **figures}
                state.history.append(row)
                on_row(state.history)
        # Save and show.
        if writes and checkpoints is not None:
            finish_ema(state, training)
            if last_of_epoch:
                on_epoch(epoch + 1, state)
            saving.save(state, checkpoints, ranks)
            if signal_number or state.step == total:
                checkpoints.wait()
        on_step(state.step, total)
        if signal_number and state.step < total:
            raise Stopped(
                f"stopped after step {state.step} of {total}; run the same command again to go on",
                signal_number,
            )
    return state


def last_batch(num_images: int, batch_size: int, processes: int) -> int:
    """How many images an epoch's last, smaller batch has; 0: there is none.

    All processes have equally many, and one image alone has no batch statistics: what is over is
    left out.
    """
    share = num_images % batch_size // processes
    return share * processes if share > 1 else 0


def left_out(num_images: int, batch_size: int, processes: int, *, drop_last: bool) -> int:
    """How many images each epoch leaves out though the parameters do not ask for it."""
    if drop_last:
        return 0
    return num_images % batch_size - last_batch(num_images, batch_size, processes)


def build(
    image_channels: int,
    *,
    seed: int,
    lr: float,
    beta1: float,
    generator: GeneratorParams,
    discriminator: DiscriminatorParams,
    training: Training,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> State:
    """The state of a training before its first step.

    Args:
        image_channels: 1 or 3.
        seed: of the first weights, which are drawn on the CPU, so that every device has the same.
        lr: of D, and of G before `training.generator_lr_scale`.
        beta1: of Adam.
        generator: the section of params.yaml.
        discriminator: the section of params.yaml.
        training: the section of params.yaml.
        device: where both networks, the average and the optimizers go.
        ranks: the processes, which may find the statistics of a batch together.

    Returns:
        Both networks, the average (a copy of G) and both optimizers. Weights are float32 with any
        precision: bfloat16 is used by autocast, in the steps alone. Layouts are channels-last.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.derive(seed, "init"))
        g = fresh.generator(generator, image_channels)
        d = fresh.discriminator(discriminator, image_channels, g.architecture.image_size)
    g.to(device).to(memory_format=torch.channels_last)
    d.to(device).to(memory_format=torch.channels_last)
    ema = copy.deepcopy(g).eval().requires_grad_(False)
    if training.sync_batch_norm and ranks.count > 1:
        for network in (g, d):
            synchronised.convert(network)
    opt_g = optimizers.build(g, training, lr=lr * training.generator_lr_scale, beta1=beta1)
    opt_d = optimizers.build(d, training, lr=lr, beta1=beta1)
    return State(g, d, ema, opt_g, opt_d)


def set_learning_rates(state: State, total: int, *, lr: float, training: Training) -> None:
    """Both learning rates for the next step.

    They are constant up to the share `training.linear_decay_from` of all `total` steps, and fall
    from there in a line, to 0 after the last step.
    """
    start = training.linear_decay_from
    scale = 1.0 if start == 1 else min(1.0, (1 - state.step / total) / (1 - start))
    optimizers.set_lr(state.opt_d, lr * scale)
    optimizers.set_lr(state.opt_g, lr * training.generator_lr_scale * scale)


def start(state: State, given: Mapping[str, Generator | Discriminator]) -> None:
    """Give the networks the weights of trained ones.

    Args:
        state: before its first step.
        given: the `generator`, and perhaps the `discriminator`.

    Raises:
        ConfigError: one is of another architecture; weights of the same shapes would fit it, and
            give other images.
    """
    for name, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        if name not in given:
            continue
        own, theirs = (dataclasses.asdict(each.architecture) for each in (network, given[name]))
        for key in own:
            # How fast running statistics move is no matter of what the weights mean.
            if own[key] != theirs[key] and key != "norm_momentum":
                raise ConfigError(
                    f"training.start_from: the model's {name}.{key} is {theirs[key]}, in"
                    f" params.yaml it is {own[key]}: give params.yaml the model's"
                )
        load_plain_weights(network, plain_weights(given[name]))
    with torch.no_grad():
        torch._foreach_copy_(state.ema_parameters, state.g.parameters)


def write_epoch(
    epoch: int, state: State, folder: Path, *, seed: int, training: Training, kept: bool
) -> data.Images:
    """Write an epoch's grid, and its exports if they are kept, into the folder of its trajectory.

    The grid shows `training.num_samples` images, of the same latent vectors in each epoch. Without
    an average there is one export of the generator.

    Returns:
        The images of the grid, uint8 num_samples x C x H x W.
    """
    g, count = state.generator.architecture, training.num_samples
    latents = sampling.latents(
        range(count), seed=seed, z_dim=g.z_dim, distribution=g.z_distribution, stream="grid"
    )
    images = sampling.generate(state.ema, latents)
    grid = grids.tile(images, columns=math.ceil(math.sqrt(count)))
    grids.save_png(folder / "samples" / f"{epoch:04d}.png", grids.shown(grid))
    if not kept:
        return images
    target = folder / "exports" / f"epoch-{epoch:04d}"
    when = {"epoch": epoch, "step": state.step}
    networks: list[tuple[str, Generator | Discriminator, dict[str, str]]] = [
        ("generator", state.generator, {"weights": "raw"}),
        ("discriminator", state.discriminator, {}),
    ]
    if training.ema_half_life:
        networks.append(("generator_ema", state.ema, {"weights": "ema"}))
    for name, network, weights in networks:
        exports.export(target / f"{name}.safetensors", network, {**when, **weights})
    return images
