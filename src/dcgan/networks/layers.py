"""The layers of both networks that torch does not have in this form.

Maps are N x C x H x W.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Conv2d):
    """A convolution whose 'same' padding is Keras's.

    It gives ceil(size / stride) pixels; an odd pixel of padding goes after the image.

    That of a single channel is computed on the CPU as a product of matrices: oneDNN's gradients of
    such a layer take three times as long (docs/performance.md).
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, padding: str, bias: bool
    ) -> None:
        self.same = padding == "same"
        symmetric = 0 if self.same else (kernel - 1) // 2
        super().__init__(inputs, outputs, kernel, stride, padding=symmetric, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """N x C x H x W to N x outputs x H' x W'."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        before = after = int(self.padding[0])
        if self.same:
            size = images.shape[-1]
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            before, after = total // 2, total - total // 2
        if self.in_channels == 1 and images.device.type == "cpu":
            return self._as_product(F.pad(images, (before, after, before, after)))
        if before != after:
            images, before = F.pad(images, (before, after, before, after)), 0
        return F.conv2d(images, self.weight, self.bias, self.stride, before)

    def _as_product(self, padded: Tensor) -> Tensor:
        """The windows of all images, one a row, times the kernels."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        windows = padded[:, 0].unfold(1, kernel, stride).unfold(2, kernel, stride)
        count, height, width = windows.shape[:3]
        rows = windows.reshape(-1, kernel**2)
        maps = F.linear(rows, self.weight.reshape(-1, kernel**2), self.bias)
        return maps.view(count, height, width, -1).permute(0, 3, 1, 2)


class ConvTranspose(nn.ConvTranspose2d):
    """A transposed convolution to exactly stride times the size.

    'same' crops the full (size - 1) * stride + kernel pixels as Keras does: an odd pixel is cropped
    at the end. torch's padding 2 with output_padding 1 (here 'symmetric', for a kernel of 5) gives
    the same network, shifted by one pixel.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, padding: str, bias: bool
    ) -> None:
        before = self.before = (kernel - stride) // 2 if padding == "same" else (kernel - 1) // 2
        self.surplus = kernel - stride - 2 * before if padding == "same" else 0
        output_padding = 0 if padding == "same" else stride - kernel + 2 * before
        super().__init__(
            inputs, outputs, kernel, stride,
            padding=before, output_padding=output_padding, bias=bias,
        )  # fmt: skip

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """N x C x H x W to N x outputs x stride*H x stride*W."""
        # In bfloat16 a CPU takes up to four times as long when it adds the bias in the same call.
        apart = self.bias is not None and images.device.type == "cpu"
        images = F.conv_transpose2d(
            images, self.weight, None if apart else self.bias,
            self.stride, self.before, self.output_padding,
        )  # fmt: skip
        if self.surplus:
            images = images[..., : -self.surplus, : -self.surplus]
        if apart and self.bias is not None:
            images = images + self.bias.to(images.dtype)[:, None, None]
        # A copy, because batch norm's backward pass over a cropped view takes thirty times as long.
        return images.contiguous(memory_format=torch.channels_last)


class Logit(nn.Linear):
    """One number from all values of the maps, whose weights are in the order C, H, W.

    The maps are not copied into that order, they stay channels last. So do the gradients that come
    back, or else every layer before would take three times as long with them.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """N x C x H x W to N x 1."""
        weight = self.weight.view(1, *maps.shape[1:])
        rows = maps.permute(0, 2, 3, 1).flatten(1)
        return F.linear(rows, weight.permute(0, 2, 3, 1).flatten(1), self.bias)


class Dropout(nn.Module):
    """Dropout whose mask comes from a given generator.

    So a step's draws depend on (seed, step) alone.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        # 16 random bits a value: the kept share is exact to 1/65536, and so is the scale that goes
        # with it.
        self.threshold = round(probability * 2**16)
        self.scale = 2**16 / (2**16 - self.threshold)

    def forward(self, values: Tensor, rng: torch.Generator | None) -> Tensor:
        """Zero each value with the probability, scale the rest; in evaluation mode change none."""
        if not self.training or self.threshold == 0:
            return values
        assert rng is not None, "dropout in training mode needs the step's generator"
        words = torch.empty(math.ceil(values.numel() / 4), dtype=torch.int64, device=values.device)
        bits = words.random_(torch.iinfo(torch.int64).min, None, generator=rng).view(torch.int16)[
            : values.numel()
        ]
        mask = (bits >= self.threshold - 2**15).to(values.dtype).mul_(self.scale)
        # In the memory order of the maps, channels last: another order takes three times as long.
        count, channels, *size = values.shape
        return values * mask.view(count, *size, channels).movedim(-1, 1)


def activation(name: str, slope: float) -> nn.Module:
    """The activation layer called `name`; `slope` is leaky_relu's below zero."""
    if name == "leaky_relu":
        return nn.LeakyReLU(slope)
    return {"relu": nn.ReLU, "selu": nn.SELU}[name]()
