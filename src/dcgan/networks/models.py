"""Generator and discriminator, built from their architectures.

Images are float32 N x C x H x W in [-1, 1]; latent vectors are N x z_dim; what D returns is N
logits.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from dcgan import rng
from dcgan.networks.architecture import DiscriminatorArchitecture, GeneratorArchitecture


class Conv(nn.Conv2d):
    """A convolution whose 'same' padding is Keras's.

    It gives ceil(size / stride) pixels; an odd pixel of padding goes after the image.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, padding: str, bias: bool
    ) -> None:
        self.same = padding == "same"
        super().__init__(
            inputs,
            outputs,
            kernel,
            stride,
            padding=0 if self.same else (kernel - 1) // 2,
            bias=bias,
        )

    def forward(self, images: Tensor) -> Tensor:
        """N x C x H x W to N x outputs x H' x W'."""
        if self.same:
            kernel, stride, size = self.kernel_size[0], self.stride[0], images.shape[-1]
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            before, after = total // 2, total - total // 2
            images = F.pad(images, (before, after, before, after))
        return super().forward(images)


class ConvTranspose(nn.ConvTranspose2d):
    """A transposed convolution to exactly stride times the size.

    'same' crops as Keras does: of the full (size - 1) * stride + kernel pixels, the odd one goes at
    the end. torch's padding 2 with output_padding 1 (here 'symmetric', for a kernel of 5) is the
    same net one pixel off.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, padding: str, bias: bool
    ) -> None:
        before = (kernel - stride) // 2 if padding == "same" else (kernel - 1) // 2
        self.surplus = kernel - stride - 2 * before if padding == "same" else 0
        output_padding = 0 if padding == "same" else stride - kernel + 2 * before
        super().__init__(
            inputs,
            outputs,
            kernel,
            stride,
            padding=before,
            output_padding=output_padding,
            bias=bias,
        )

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """N x C x H x W to N x outputs x stride*H x stride*W."""
        images = super().forward(images, output_size)
        if not self.surplus:
            return images
        # A copy, because batch norm's backward pass over a cropped view takes thirty times as long.
        return images[..., : -self.surplus, : -self.surplus].contiguous(
            memory_format=torch.channels_last
        )


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
        """Zero each value with the probability, scale the rest; nothing in evaluation mode."""
        if not self.training or self.threshold == 0:
            return values
        assert rng is not None, "dropout in training mode needs the step's generator"
        words = torch.empty(math.ceil(values.numel() / 4), dtype=torch.int64, device=values.device)
        bits = words.random_(torch.iinfo(torch.int64).min, None, generator=rng).view(torch.int16)[
            : values.numel()
        ]
        keep = (bits >= self.threshold - 2**15).view(values.shape)
        return values * (keep * self.scale).to(values.dtype)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode of before afterwards."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def activation(name: str, slope: float) -> nn.Module:
    """The activation layer called `name`; `slope` is leaky_relu's below zero."""
    if name == "leaky_relu":
        return nn.LeakyReLU(slope)
    return {"relu": nn.ReLU, "selu": nn.SELU}[name]()


class Generator(nn.Module):
    """Latent vectors to images."""

    def __init__(self, architecture: GeneratorArchitecture, *, init: str | None = None) -> None:
        """Build it.

        Args:
            architecture: what it is.
            init: how `initialise` draws its first weights; None: not at all, as they are read from
                a file.
        """
        super().__init__()
        a = self.architecture = architecture
        self.start = self._start()
        self.start_activation = (
            activation(a.activation, a.slope) if a.start_activation else nn.Identity()
        )
        outputs = [*a.channels[1:], a.image_channels]
        layers: list[nn.Module] = []
        for i, (inputs, channels, stride) in enumerate(
            zip(a.channels, outputs, a.strides, strict=True)
        ):
            layers.append(
                ConvTranspose(
                    inputs,
                    channels,
                    kernel=a.kernel,
                    stride=stride,
                    padding=a.padding,
                    bias=a.bias,
                )
            )
            if i < len(outputs) - 1:
                after = [activation(a.activation, a.slope)]
                if a.norm == "batch":
                    norm = nn.BatchNorm2d(channels, eps=a.norm_eps, momentum=a.norm_momentum)
                    after.insert(0 if a.norm_order == "before" else 1, norm)
                layers += after
        self.layers = nn.Sequential(*layers, nn.Tanh())
        if init is not None:
            initialise(self, init)

    def _start(self) -> nn.Sequential:
        a = self.architecture
        size, channels = a.start_size, a.channels[0]
        layers: list[nn.Module]
        if a.start == "projection":
            layers = [nn.Linear(a.z_dim, channels * size * size, bias=a.bias)]
            if a.start_norm == "flat":
                layers.append(
                    nn.BatchNorm1d(channels * size * size, eps=a.norm_eps, momentum=a.norm_momentum)
                )
            layers.append(nn.Unflatten(1, (channels, size, size)))
        else:
            layers = [
                nn.Unflatten(1, (a.z_dim, 1, 1)),
                nn.ConvTranspose2d(a.z_dim, channels, size, bias=a.bias),
            ]
        if a.start_norm == "map":
            layers.append(nn.BatchNorm2d(channels, eps=a.norm_eps, momentum=a.norm_momentum))
        return nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """N x z_dim to N x C x H x W in [-1, 1]."""
        maps = self.start(z).contiguous(memory_format=torch.channels_last)
        return self.layers(self.start_activation(maps))


class Block(nn.Module):
    """One convolution of the discriminator with what follows it."""

    def __init__(self, architecture: DiscriminatorArchitecture, index: int, dropout: float) -> None:
        super().__init__()
        a = architecture
        outputs = a.channels[index]
        self.conv = Conv(
            a.channels[index - 1] if index else a.image_channels,
            outputs,
            kernel=a.kernel,
            stride=a.strides[index],
            padding=a.padding,
            bias=a.bias,
        )
        # None at the input, as in the paper (section 3).
        with_norm = a.norm == "batch" and index > 0
        self.norm = (
            nn.BatchNorm2d(outputs, eps=a.norm_eps, momentum=a.norm_momentum)
            if with_norm
            else nn.Identity()
        )
        self.activation = nn.LeakyReLU(a.slope)
        self.dropout = Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """The maps after the activation and before dropout."""
        return self.activation(self.norm(self.conv(maps)))


class Discriminator(nn.Module):
    """Images to logits."""

    def __init__(
        self,
        architecture: DiscriminatorArchitecture,
        *,
        init: str | None = None,
        dropout: Sequence[float] | None = None,
        spectral_norm: bool = False,
    ) -> None:
        """Build it.

        Args:
            architecture: what it is.
            init: how `initialise` draws its first weights; None: not at all, as they are read from
                a file.
            dropout: the probability after each layer; None: no dropout.
            spectral_norm: whether weights are divided by their largest singular value.
        """
        super().__init__()
        a = self.architecture = architecture
        probabilities = [0.0] * len(a.channels) if dropout is None else dropout
        self.blocks = nn.ModuleList(
            Block(a, i, probability) for i, probability in enumerate(probabilities)
        )
        self.eval()  # The probe image below must not touch BatchNorm's statistics.
        with torch.no_grad():
            last = self.features(torch.zeros(1, a.image_channels, a.image_size, a.image_size))[-1]
        self.train()
        channels, size = last.shape[1], last.shape[-1]
        if a.head == "linear":
            self.head = nn.Sequential(
                nn.Flatten(), nn.Linear(channels * size * size, 1, bias=a.bias)
            )
        else:
            self.head = nn.Sequential(nn.Conv2d(channels, 1, size, bias=a.bias), nn.Flatten())
        if init is not None:
            initialise(self, init)
        if spectral_norm:
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    parametrizations.spectral_norm(module)

    def forward(self, images: Tensor, dropout: torch.Generator | None = None) -> Tensor:
        """N x C x H x W in [-1, 1] to N logits.

        `dropout` draws the masks; it is needed in training mode if there is dropout.
        """
        maps = images.contiguous(memory_format=torch.channels_last)
        for block in cast(Iterable[Block], self.blocks):
            maps = block.dropout(block(maps), dropout)
        return self.head(maps).squeeze(1).float()

    def features(self, images: Tensor) -> list[Tensor]:
        """Every convolution's maps after the activation, first layer first, each N x C x H x W."""
        maps, features = images, []
        for block in self.blocks:
            maps = block(maps)
            features.append(maps)
        return features


def untrained(architecture: DiscriminatorArchitecture, *, seed: int, init: str) -> Discriminator:
    """A discriminator with fresh weights, in evaluation mode: what a trained one is compared with.

    Args:
        architecture: of the trained one.
        seed: of the weights.
        init: as the trained one began.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.derive(seed, "untrained"))
        return Discriminator(architecture, init=init).eval()


def initialise(network: nn.Module, init: str) -> None:
    """Draw the weights from torch's global generator.

    `glorot`: Glorot uniform, the Keras default. `normal`: N(0, .02), BatchNorm weights N(1, .02)
    (arXiv 1511.06434, section 4). Biases are 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if init == "glorot":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and init == "normal":
            nn.init.normal_(module.weight, 1.0, 0.02)


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Trainable parameters, and BatchNorm's running statistics (which Keras counts as well)."""
    running = sum(
        b.numel()
        for name, b in network.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    )
    return sum(p.numel() for p in network.parameters() if p.requires_grad), running


@torch.no_grad()
def summary(network: "Generator | Discriminator") -> list[tuple[str, str, int]]:
    """Its layers in the order in which they run.

    Returns:
        Kind, output shape C x H x W and number of parameters, running statistics not counted.
    """
    rows: list[tuple[str, str, int]] = []

    def note(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        kind = (
            type(layer).__bases__[0].__name__
            if parametrize.is_parametrized(layer)
            else type(layer).__name__
        )
        shape = " x ".join(map(str, output.shape[1:]))
        rows.append((kind, shape, sum(parameter.numel() for parameter in layer.parameters())))

    layers = (
        nn.Conv2d,
        nn.ConvTranspose2d,
        nn.Linear,
        nn.BatchNorm1d,
        nn.BatchNorm2d,
        nn.Tanh,
        nn.Flatten,
        nn.Unflatten,
    )
    shown = [
        layer
        for layer in network.modules()
        if isinstance(layer, (*layers, nn.ReLU, nn.LeakyReLU, nn.SELU, Dropout))
    ]
    hooks = [layer.register_forward_hook(note) for layer in shown]
    a = network.architecture
    shape: tuple[int, ...] = (a.image_channels, a.image_size, a.image_size)
    if isinstance(a, GeneratorArchitecture):
        shape = (a.z_dim,)
    with evaluating(network):  # batch norm takes no statistics of one image
        network(torch.zeros(1, *shape, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return rows


def plain_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights for an export: spectral norm divided in, so that the reader needs none of it."""
    weights = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if ".parametrizations." not in name
    }
    # In training mode a look at a normalised weight moves the estimate of its singular value.
    with evaluating(network):
        for name, module in network.named_modules():
            # Not `remove_parametrizations` on a copy: copies share their class, and the original
            # would lose its weight too.
            if parametrize.is_parametrized(module, "weight"):
                weights[f"{name}.weight"] = module.weight.detach()
    return weights
