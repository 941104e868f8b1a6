"""The state of a training to a checkpoint and back."""

import logging

import torch
from torch import Tensor, nn

from dcgan.training import optimizers
from dcgan.training.checkpoint import Checkpoints
from dcgan.training.ranks import Ranks
from dcgan.training.state import State
from dcgan.training.step import FIGURES

log = logging.getLogger(__name__)


def save(state: State, checkpoints: Checkpoints, ranks: Ranks) -> None:
    """Write a checkpoint of this step."""
    description = {"history": list(state.history), "made_by": _decides_bits(state, ranks)}
    checkpoints.save(state.step, tensors(state), description)


def restore(state: State, checkpoints: Checkpoints, ranks: Ranks) -> bool:
    """Load the newest intact checkpoint; False in a new folder."""
    own = tensors(state)
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in own.items()}

    def check(read: dict[str, Tensor]) -> str | None:
        found = {name: (tensor.shape, tensor.dtype) for name, tensor in read.items()}
        wrong = [name for name in found | expected if found.get(name) != expected.get(name)]
        return f"tensor {wrong[0]}, among {len(wrong)}" if wrong else None

    newest = checkpoints.load_newest(check)
    if newest is None:
        return False
    read, description = newest
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(read[name])  # in its own memory layout: the next step's bits depend on it
    state.step = description["step"]
    # JSON has sorted the columns; history.csv and the bar show them in this order.
    columns = ("epoch", "step", *FIGURES)
    state.history = [{name: row[name] for name in columns} for row in description["history"]]
    before, now = description["made_by"], _decides_bits(state, ranks)
    changed = [f"{key} {before[key]}, now {now[key]}" for key in now if before[key] != now[key]]
    if changed:
        log.warning(
            "train: going on, but not to the bits of a training that was never stopped: %s",
            "; ".join(changed),
        )
    return True


def tensors(state: State) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, by name; the state's own, no copies."""
    networks: dict[str, nn.Module] = {
        "generator": state.generator,
        "discriminator": state.discriminator,
        "ema": state.ema,
    }
    of_networks = {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    moments = optimizers.moments(state.opt_g, "opt_g") | optimizers.moments(state.opt_d, "opt_d")
    return of_networks | moments


def _decides_bits(state: State, ranks: Ranks) -> dict[str, int | str]:
    """What the bits of a step depend on and the trajectory's name does not."""
    made_by: dict[str, int | str] = {"processes": ranks.count}
    if state.bad.device.type == "cpu":
        made_by["threads"] = torch.get_num_threads()
        made_by["instructions"] = torch.backends.cpu.get_cpu_capability()
    return made_by
