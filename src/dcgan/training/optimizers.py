"""Adam and RMSprop, as torch and as Keras compute them: they differ in where eps stands, which small gradients feel."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dcgan.config.sections import AllParams


def build(network: nn.Module, params: AllParams, lr: float) -> torch.optim.Optimizer:
    """The optimizer that `training.optimizer` names."""
    t = params.training
    if t.optimizer == "rmsprop_keras":
        return KerasRMSprop(network.parameters(), lr=lr, rho=t.beta2, eps=t.eps)
    kind = KerasAdam if t.optimizer == "adam_keras" else torch.optim.Adam
    return kind(network.parameters(), lr=lr, betas=(params.beta1, t.beta2), eps=t.eps, fused=True)


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
    """RMSprop with eps inside the root: w -= lr g / sqrt(v + eps), where v is a mean of g^2 that decays by rho.

    torch's adds eps outside. With 1e-7, every gradient below 3e-4 feels the difference.
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
