"""Adam and RMSprop, as torch and as Keras compute them, and their moments for a checkpoint.

The two add eps at different places, which matters where gradients are small.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from dcgan.config.sections import Training


def build(
    network: nn.Module, training: Training, *, lr: float, beta1: float
) -> torch.optim.Optimizer:
    """The optimizer that `training.optimizer` names; RMSprop has no `beta1`.

    Its learning rate is a tensor beside the weights. While its attribute `found_inf`, also a
    tensor, is 1, a step moves no weight: so a GPU passes over a broken step before anyone looks.
    """
    beta2, eps = training.beta2, training.eps
    parameters = list(network.parameters())
    rate = torch.tensor(lr, device=parameters[0].device)
    if training.optimizer == "rmsprop_keras":
        return KerasRMSprop(parameters, lr=rate, rho=beta2, eps=eps)
    if training.optimizer == "adam_keras":
        return KerasAdam(parameters, lr=rate, betas=(beta1, beta2), eps=eps)
    adam_of_torch = torch.optim.Adam(
        parameters, lr=rate, betas=(beta1, beta2), eps=eps, fused=True, capturable=rate.is_cuda
    )
    for weight in parameters:
        adam_of_torch.state[weight] = _first_moments(weight)
    return adam_of_torch


def _first_moments(weight: Tensor) -> dict[str, Tensor]:
    """Adam's, as torch makes them at the first step; made here, a checkpoint of step 0 has them."""
    return {
        "step": torch.zeros((), device=weight.device),
        "exp_avg": torch.zeros_like(weight),
        "exp_avg_sq": torch.zeros_like(weight),
    }


class KerasAdam(torch.optim.Optimizer):
    """Adam with eps added to the root of the second moment before its bias is corrected.

    The second form of Kingma and Ba 2015, end of section 2:
    w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps).

    torch adds eps after the correction: at the first step, with beta2 .999, its 1e-7 is Keras's
    3e-9. Here torch's kernel gets the corrected rate, and a step count so large that it corrects
    nothing itself.
    """

    FAR = 2.0**24  # beta^FAR is 0, and in float32 FAR + 1 is FAR

    def __init__(
        self, parameters: Any, *, lr: Tensor, betas: tuple[float, float], eps: float
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})
        for weight in self.param_groups[0]["params"]:
            self.state[weight] = _first_moments(weight)
        self._far = {
            weight: torch.full_like(state["step"], self.FAR) for weight, state in self.state.items()
        }
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch's is overloaded
        """One step."""
        assert closure is None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            weights = [weight for weight in group["params"] if weight.grad is not None]
            states = [self.state[weight] for weight in weights]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            rate = group["lr"] * (
                _correction(beta2, steps[0]).sqrt() / _correction(beta1, steps[0])
            )
            adam(
                weights,
                [cast(Tensor, weight.grad) for weight in weights],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [self._far[weight] for weight in weights],
                fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=rate,
                weight_decay=0.0, eps=group["eps"], maximize=False, found_inf=self.found_inf,
            )  # fmt: skip


def _correction(beta: float, step: Tensor) -> Tensor:
    """1 - beta^step, to all digits of float32."""
    return -torch.expm1(step * math.log(beta)) if beta else torch.ones_like(step)


class KerasRMSprop(torch.optim.Optimizer):
    """RMSprop with eps inside the root: w -= lr g / sqrt(v + eps).

    v is a mean of g^2 that decays by rho. torch adds eps outside the root: with 1e-7 that makes a
    difference for every gradient below 3e-4.
    """

    def __init__(self, parameters: Any, *, lr: Tensor, rho: float, eps: float) -> None:
        super().__init__(parameters, {"lr": lr, "rho": rho, "eps": eps})
        for weight in self.param_groups[0]["params"]:
            self.state[weight]["square"] = torch.zeros_like(weight)
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch's is overloaded
        """One step."""
        assert closure is None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients = [weight.grad for weight in weights]
            if self.found_inf is not None:
                gradients = [torch.where(self.found_inf > 0, 0.0, each) for each in gradients]
            squares = [self.state[weight]["square"] for weight in weights]
            torch._foreach_mul_(squares, group["rho"])
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["rho"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            moves = torch._foreach_div(gradients, roots)
            torch._foreach_mul_(moves, group["lr"])
            torch._foreach_sub_(weights, moves)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use another learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"].fill_(lr)


def moments(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The optimizer's moments and step counts, named `prefix.<index of the parameter>.<name>`.

    `Optimizer.load_state_dict` is not used: it accepts wrong parameter ids in silence.
    """
    tensors: dict[str, Tensor] = {}
    for i, parameter in enumerate(_parameters(optimizer)):
        tensors |= {
            f"{prefix}.{i}.{name}": value for name, value in optimizer.state[parameter].items()
        }
    return tensors


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
