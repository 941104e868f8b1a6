"""Batch norm over the batch of all processes.

torch's own SyncBatchNorm refuses tensors of the CPU, so that nobody without several GPUs could test
it. This one is the same arithmetic, on any device, and has second derivatives.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dcgan.training.ranks import total


class BatchNorm(_BatchNorm):
    """One channel's mean and variance are those of all processes' images.

    Each process must have as many as the others.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take N x C, and N x C x H x W."""

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        others = [dim for dim in range(values.dim()) if dim != 1]
        shape = [1 if dim in others else -1 for dim in range(values.dim())]
        count = values.numel() // values.shape[1] * torch.distributed.get_world_size()
        mean = total(values.sum(others)) / count
        centred = values - mean.view(shape)
        variance = total(centred.square().sum(others)) / count
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None and self.momentum is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


def convert(network: nn.Module) -> None:
    """Let every batch norm of a network find its statistics together with the other processes."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                together = BatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
                # The parameters and buffers themselves: an optimizer may have them already.
                together._parameters, together._buffers = child._parameters, child._buffers
                setattr(module, name, together)
