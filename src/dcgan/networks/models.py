"""Generator and discriminator, built from their architectures.

Images are float32 N x C x H x W in [-1, 1]; latent vectors are N x z_dim; D returns N logits.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from dcgan import rng
from dcgan.networks.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from dcgan.networks.layers import Conv, ConvTranspose, Dropout, Logit, activation


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put the network into evaluation mode for the body, then back into the mode it had."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


class Generator(nn.Module):
    """Latent vectors to images."""

    def __init__(self, architecture: GeneratorArchitecture, *, init: str | None = None) -> None:
        """Build it.

        Args:
            architecture: its layers and their sizes.
            init: how `initialise` draws its first weights; None: they are not drawn, because they
                will be read from a file.
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
                    inputs, channels, kernel=a.kernel, stride=stride, padding=a.padding, bias=a.bias
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
        # No norm at the input, as in the paper (section 3).
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
            architecture: its layers and their sizes.
            init: how `initialise` draws its first weights; None: they are not drawn, because they
                will be read from a file.
            dropout: the probability after each layer; None: no dropout.
            spectral_norm: whether weights are divided by their largest singular value.
        """
        super().__init__()
        a = self.architecture = architecture
        probabilities = [0.0] * len(a.channels) if dropout is None else dropout
        self.blocks = nn.ModuleList(
            Block(a, i, probability) for i, probability in enumerate(probabilities)
        )
        self.draws = any(probabilities)  # whether a pass in training mode needs random numbers
        channels, size = a.channels[-1], a.sizes()[-1]
        if a.head == "linear":
            # Exports call it head.1.
            logit = Logit(channels * size * size, 1, bias=a.bias)
            self.head = nn.Sequential(OrderedDict({"1": logit}))
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
    """A discriminator with fresh weights, in evaluation mode, to compare a trained one with.

    Args:
        architecture: of the trained one.
        seed: of the weights.
        init: how the first weights of the trained one were drawn.
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
