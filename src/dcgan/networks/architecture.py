"""The architecture of a network: the shape that its weights fit, as an export describes it.

It is not the schema of params.yaml: how a network is trained (init, dropout, spectral norm) is no
part of it, and a new key there changes no export. A change here needs a new format in `exports`.

Every value is checked whenever an architecture is made, because an export may come from a registry:
the bounds limit the memory and the time that a number can ask for.
"""

import dataclasses
import math
import reprlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

MAX_LAYERS = 12


@dataclass(frozen=True)
class Between:
    """The bounds of a number, or of each number of a list; both are allowed values."""

    low: float
    high: float


Share = Annotated[float, Between(0, 1)]
Widths = Annotated[tuple[int, ...], Between(1, 4096)]
Strides = Annotated[tuple[int, ...], Between(1, 4)]
Kernel = Annotated[int, Between(1, 11)]
ImageSize = Annotated[int, Between(1, 1024)]


@dataclass(frozen=True)
class _Checked:
    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if not _fits(value, hint):
                raise ValueError(f"{name} is {reprlib.repr(value)}, expected {_expected(hint)}")


@dataclass(frozen=True, kw_only=True)
class GeneratorArchitecture(_Checked):
    """The generator, from the latent vector to the image.

    Raises:
        ValueError: a value is of another type or out of its bounds, or two do not fit together.
    """

    z_dim: Annotated[int, Between(1, 4096)]
    z_distribution: Literal["normal", "uniform"]
    start: Literal["projection", "transposed_conv"]
    start_size: Annotated[int, Between(1, 64)]  # pixels
    start_norm: Literal["flat", "map", "none"]
    start_activation: bool
    channels: Widths  # entering each layer
    strides: Strides
    kernel: Kernel
    padding: Literal["same", "symmetric"]
    norm: Literal["batch", "none"]
    norm_order: Literal["before", "after"]  # the activation
    norm_momentum: Share
    norm_eps: Share
    activation: Literal["relu", "leaky_relu", "selu"]
    slope: Share  # of leaky_relu below zero
    bias: bool
    image_channels: Literal[1, 3]
    image_size: ImageSize  # pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        _same_length(self)
        for stride in self.strides:
            # A transposed convolution must give exactly stride x its input; see
            # layers.ConvTranspose.
            surplus = self.kernel - stride
            if self.padding == "same":
                fits = surplus >= 0
            else:
                surplus -= 2 * ((self.kernel - 1) // 2)
                fits = -stride < surplus <= 0
            if not fits:
                raise ValueError(
                    f"kernel is {self.kernel}, expected one that gives {stride} x the size"
                    f" with {self.padding} padding"
                )
        made = self.start_size * math.prod(self.strides)
        if made != self.image_size:
            raise ValueError(
                f"image_size is {self.image_size}, expected {made}, which is start_size x strides"
            )


@dataclass(frozen=True, kw_only=True)
class DiscriminatorArchitecture(_Checked):
    """The discriminator, from the image to one logit.

    Raises:
        ValueError: a value is of another type or out of its bounds, or two do not fit together.
    """

    channels: Widths  # leaving each layer
    strides: Strides
    kernel: Kernel
    padding: Literal["same", "symmetric"]
    norm: Literal["batch", "none"]
    norm_momentum: Share
    norm_eps: Share
    slope: Share  # of leaky_relu below zero
    bias: bool
    head: Literal["linear", "conv"]
    image_channels: Literal[1, 3]
    image_size: ImageSize  # pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        _same_length(self)
        if min(self.sizes()) < 1:
            raise ValueError(
                f"image_size is {self.image_size}, expected one that leaves pixels after"
                f" {len(self.strides)} layers with a kernel of {self.kernel}"
            )

    def sizes(self) -> list[int]:
        """The side of the maps that leave each convolution, pixels; below 1: they have none."""
        sizes, size = [], self.image_size
        for stride in self.strides:
            if self.padding == "same":
                size = -(-size // stride)
            else:
                size = (size + 2 * ((self.kernel - 1) // 2) - self.kernel) // stride + 1
            sizes.append(size)
        return sizes


Architecture = TypeVar("Architecture", GeneratorArchitecture, DiscriminatorArchitecture)


def read(kind: type[Architecture], values: Any) -> Architecture:
    """An architecture from parsed JSON.

    Raises:
        ValueError: a field is missing, unknown, or has a value that the class does not take.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"architecture is {reprlib.repr(values)}, expected an object")
    names = [field.name for field in dataclasses.fields(kind)]
    for name in names:
        if name not in values:
            raise ValueError(f"architecture has no {name}")
    for name in values:
        if name not in names:
            raise ValueError(f"architecture has {reprlib.repr(name)}, which no {kind.__name__} has")
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return kind(**fields)


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is Literal:
        return any(
            type(value) is type(choice) and value == choice for choice in typing.get_args(hint)
        )
    if hint is bool:
        return isinstance(value, bool)
    kind, bounds = typing.get_args(hint)
    if typing.get_origin(kind) is tuple:
        return (
            isinstance(value, tuple)
            and 1 <= len(value) <= MAX_LAYERS
            and all(_fits(each, Annotated[int, bounds]) for each in value)
        )
    types = (int, float) if kind is float else (int,)
    # A bool is an int to isinstance; NaN is between no bounds.
    return type(value) in types and bounds.low <= value <= bounds.high


def _expected(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    if hint is bool:
        return "true or false"
    kind, bounds = typing.get_args(hint)
    if typing.get_origin(kind) is tuple:
        return f"1 to {MAX_LAYERS} whole numbers from {bounds.low} to {bounds.high}"
    number = "a number" if kind is float else "a whole number"
    return f"{number} from {bounds.low} to {bounds.high}"


def _same_length(architecture: GeneratorArchitecture | DiscriminatorArchitecture) -> None:
    widths, strides = len(architecture.channels), len(architecture.strides)
    if widths != strides:
        raise ValueError(f"strides has {strides} values, expected {widths}, as channels")
