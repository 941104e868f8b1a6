"""Adam and RMSprop, as torch and as Keras compute them, and their moments for a checkpoint.

The two add eps at different places, which matters where gradients are small.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dcgan.config.sections import Training


def build(
    network: nn.Module, training: Training, *, lr: float, beta1: float
) -> torch.optim.Optimizer:
    """The optimizer that `training.optimizer` names; RMSprop has no `beta1`."""
    beta2, eps = training.beta2, training.eps
    if training.optimizer == "rmsprop_keras":
        return KerasRMSprop(network.parameters(), lr=lr, rho=beta2, eps=eps)
    kind = KerasAdam if training.optimizer == "adam_keras" else torch.optim.Adam
    return kind(network.parameters(), lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


class KerasAdam(torch.optim.Adam):
    """Adam with eps added to the root of the second moment before its bias is corrected.

    The second form of Kingma and Ba 2015, end of section 2. torch adds eps after the correction: at
    the first step, with beta2 .999, its 1e-7 is Keras's 3e-9.
    """

    def __init__(self, parameters: Any, *, eps: float, **options: Any) -> None:
        super().__init__(parameters, eps=eps, **options)
        self._eps = eps
        self._steps: int | None = None

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch's is overloaded
        """One step."""
        for group in self.param_groups:
            if self._steps is None:  # after a restart the count comes from the checkpoint
                self._steps = int(self.state[group["params"][0]].get("step", 0))
            correction = math.sqrt(1 - group["betas"][1] ** (self._steps + 1))
            group["eps"] = self._eps / correction
        assert self._steps is not None
        self._steps += 1
        return super().step(closure)


class KerasRMSprop(torch.optim.Optimizer):
    """RMSprop with eps inside the root: w -= lr g / sqrt(v + eps).

    v is a mean of g^2 that decays by rho. torch adds eps outside the root: with 1e-7 that makes a
    difference for every gradient below 3e-4.
    """

    def __init__(self, parameters: Any, *, lr: float, rho: float, eps: float) -> None:
        super().__init__(parameters, {"lr": lr, "rho": rho, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch's is overloaded
        """One step."""
        assert closure is None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients = [weight.grad for weight in weights]
            squares = [
                self.state[weight].setdefault("square", torch.zeros_like(weight))
                for weight in weights
            ]
            torch._foreach_mul_(squares, group["rho"])
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["rho"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(weights, gradients, roots, -group["lr"])


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use another learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def moments(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The optimizer's moments and step counts, named `prefix.<index of the parameter>.<name>`."""
    tensors: dict[str, Tensor] = {}
    for i, parameter in enumerate(_parameters(optimizer)):
        tensors |= {
            f"{prefix}.{i}.{name}": value for name, value in optimizer.state[parameter].items()
        }
    return tensors


def load_moments(optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor]) -> None:
    """Put saved moments back under their parameters; learning rate and the like stay as they are.

    `Optimizer.load_state_dict` is not used: it accepts wrong parameter ids in silence.
    """
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        if not name.startswith(f"{prefix}."):
            continue
        _, index, field = name.split(".")
        parameter = parameters[int(index)]
        if value.dim() == 0:
            # The step count, which only the fused optimizers keep beside the weights.
            device = parameter.device if optimizer.defaults.get("fused") else "cpu"
            optimizer.state[parameter][field] = value.to(device)
        else:
            # Like the parameter in memory layout, so that the next step is the same to the last
            # bit.
            optimizer.state[parameter][field] = torch.empty_like(parameter).copy_(value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
