"""A training state of seconds, a step of it, and whether two of them are the same."""

import torch

from dcgan.training import optimizers, step
from dcgan.training.state import State
from tests.support import small_training

CPU = torch.device("cpu")


def build(params) -> State:
    return small_training.build(params, 1, CPU)


def train_step(state, params, real, *, precision="float32", measure=False):
    return step.train_step(
        state,
        real,
        seed=params.seed,
        training=params.training,
        precision=precision,
        measure=measure,
    ).read()


def fingerprint(state) -> dict[str, torch.Tensor]:
    """Everything that a step changes, as plain tensors."""
    networks = {"g": state.generator, "d": state.discriminator, "ema": state.ema}
    tensors = {
        f"{name}.{key}": value.clone()
        for name, net in networks.items()
        for key, value in net.state_dict().items()
    }
    for name, optimizer in (("opt_g", state.opt_g), ("opt_d", state.opt_d)):
        tensors |= {
            key: value.clone() for key, value in optimizers.moments(optimizer, name).items()
        }
    tensors["step"] = torch.tensor(state.step)
    tensors["history"] = torch.tensor(
        [list(row.values()) for row in state.history], dtype=torch.float64
    )
    return tensors


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


UPDATES = ["simultaneous", "alternating", "concatenated", "one_network"]
