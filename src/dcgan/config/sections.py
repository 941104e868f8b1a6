"""The schema of params.yaml: a class a section, with the type and range of every key.

A section has no defaults and no computed values, so that nothing here can change an output:
whatever a stage reads stands in params.yaml, where DVC sees it.
"""

import itertools
import math
import re
import reprlib
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

# The data sets, by whether the publisher keeps images apart for the test.
WithTestSplit = Literal["mnist", "fashion_mnist", "cifar10", "svhn", "celeba"]
WithoutTestSplit = Literal["lsun", "folder", "fake"]
WITHOUT_TEST_SPLIT = get_args(WithoutTestSplit)

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
BatchSize = Annotated[int, Field(ge=1, le=65536)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Rate = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Stride = Annotated[int, Field(ge=1, le=4)]
Kernel = Annotated[int, Field(ge=1, le=11)]
FEWEST = 20  # images that are held out: fewer give no figures
# A user before an @, or what stands in a port's place and is no number.
WITH_PASSWORD = re.compile(r"\w+://([^/?#]*@|[^/?#@\[\]:]+:(?!\d*([/?#]|$)))")
PixelValue = Annotated[float, Field(ge=0, le=255)]


class Section(BaseModel):
    """A part of params.yaml: no unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DatasetFiles(Section):
    """Which files are downloaded: the keys of `dataset` that the stage download reads."""

    name: Literal[WithTestSplit, WithoutTestSplit]
    source: str | None
    download_minutes: Annotated[float, Field(gt=0, le=100_000)] | None
    attributes: list[str] = Field(max_length=4)

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.name == "folder" and self.source is None:
            raise _mismatch("source = None: must be the folder with the images")
        if self.source is not None and not self.source.strip():
            raise _mismatch("source = '': must be a folder, an https URL or null")
        # dcgan.raw.sources says what else is wrong with a URL; this one must not reach dvc.lock.
        if self.source is not None and WITH_PASSWORD.match(self.source):
            raise _mismatch(
                "source = '***': must hold no user or password, because dvc.lock would keep them:"
                " put them into ~/.netrc"
            )
        return self

    @model_validator(mode="after")
    def _has_these_attributes(self) -> Self:
        if self.attributes and self.name != "celeba":
            raise _mismatch(
                f"attributes = {reprlib.repr(self.attributes)}: must be [] with name: {self.name};"
                " only celeba has any"
            )
        for position, name in enumerate(self.attributes):
            if not re.fullmatch(r"\w+", name, re.ASCII):
                raise _mismatch(
                    f"attributes[{position}] = {reprlib.repr(name)}:"
                    " must be a word of letters, digits and _"
                )
            if name in self.attributes[:position]:
                raise _mismatch(
                    f"attributes[{position}] = {reprlib.repr(name)}: must not come twice"
                )
        return self


class Dataset(DatasetFiles):
    """What is downloaded and how it becomes arrays of one size."""

    title: Annotated[str, Field(pattern=r"^[\w][\w .-]{0,99}$")] | None
    image_size: int = Field(ge=8, le=1024)
    channels: Literal[1, 3]
    crop: Annotated[int, Field(ge=1, le=65536)] | None
    fit: Literal["crop", "pad", "stretch"]
    background: Annotated[str, Field(pattern=r"^(white|black|grey|#[0-9a-f]{6})$")]
    enlarge: Literal["twice", "bilinear", "nearest"]
    max_value: Annotated[float, Field(gt=0)] | None
    class_folders: bool
    validation_size: int = Field(ge=FEWEST, le=1_000_000)
    test_size: int = Field(ge=0, le=1_000_000)
    max_images: Annotated[int, Field(ge=1, le=1_000_000_000)] | None
    on_bad_image: Literal["refuse", "skip"]
    duplicates: Literal["keep", "exact", "near"]
    near_bits: int = Field(ge=0, le=16)

    @model_validator(mode="after")
    def _has_a_test_split(self) -> Self:
        if self.name not in WITHOUT_TEST_SPLIT and self.test_size > 0:
            raise _mismatch(
                f"test_size = {self.test_size}: must be 0, because {self.name} has a test split"
                " of its own"
            )
        # A folder may have a test split of its own, a folder `test`.
        if self.name in ("lsun", "fake") and self.test_size == 0:
            raise _mismatch(
                f"test_size = 0: must be at least {FEWEST}, because {self.name} has no test split"
                " of its own"
            )
        if 0 < self.test_size < FEWEST:
            raise _mismatch(f"test_size = {self.test_size}: must be 0, or at least {FEWEST}")
        return self


class Expectations(Section):
    """Limits of brightness and contrast in the stage validate, and what it does about them."""

    judgements: Literal["auto", "refuse", "warn"]
    min_mean: PixelValue | None
    max_mean: PixelValue | None
    min_contrast: PixelValue | None
    min_brightest: PixelValue
    max_darkest: PixelValue


class Reference(Section):
    """The frozen feature extractor: which one, how it is trained, or where its weights are."""

    extractor: Literal["auto", "classifier", "rotation", "inception"]
    epochs: int = Field(ge=1, le=1000)
    lr: Rate
    batch_size: int = Field(ge=2, le=65536)  # one image alone has no batch statistics
    flip: Literal["auto", "always", "never"]
    weights: str | None
    weights_sha256: str | None

    @model_validator(mode="after")
    def _is_a_hash(self) -> Self:
        if self.weights_sha256 is None:
            return self
        if not re.fullmatch("[0-9a-f]{64}", self.weights_sha256):
            raise _mismatch(
                f"weights_sha256 = {reprlib.repr(self.weights_sha256)}:"
                " must be 64 digits of 0-9 and a-f, or null"
            )
        if self.weights is None:
            raise _mismatch(
                "weights_sha256: must be null with weights: null,"
                " which stands for the published file and its hash"
            )
        return self


class GeneratorParams(Section):
    """The generator, from the latent vector to the image."""

    z_dim: int = Field(ge=1, le=4096)
    z_distribution: Literal["normal", "uniform"]
    start: Literal["projection", "transposed_conv"]
    start_size: int = Field(ge=1, le=64)
    start_norm: Literal["flat", "map", "none"]
    start_activation: bool
    channels: list[Channels] = Field(min_length=1, max_length=12)
    strides: list[Stride] = Field(min_length=1, max_length=12)
    kernel: Kernel
    padding: Literal["same", "symmetric"]
    norm: Literal["batch", "none"]
    norm_order: Literal["before", "after"]
    norm_momentum: Rate
    norm_eps: Rate
    activation: Literal["relu", "leaky_relu", "selu"]
    slope: Fraction
    bias: bool
    init: Literal["glorot", "normal"]

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        _same_length("channels", self.channels, "strides", self.strides)
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
                raise _mismatch(
                    f"kernel = {self.kernel} with a stride of {stride} and {self.padding} padding"
                    f" cannot give {stride} x the size: must be at least the stride, and odd where"
                    " a symmetric layer has stride 1"
                )
        if self.start == "transposed_conv" and self.start_norm == "flat":
            raise _mismatch(
                "start_norm = 'flat': must be one of: map, none"
                " (a transposed_conv start has no flat vector)"
            )
        return self


class DiscriminatorParams(Section):
    """The discriminator, from the image to one logit."""

    channels: list[Channels] = Field(min_length=1, max_length=12)
    strides: list[Stride] = Field(min_length=1, max_length=12)
    kernel: Kernel
    padding: Literal["same", "symmetric"]
    norm: Literal["batch", "none"]
    norm_momentum: Rate
    norm_eps: Rate
    slope: Fraction
    dropout: list[Fraction] = Field(min_length=1, max_length=12)
    bias: bool
    head: Literal["linear", "conv"]
    spectral_norm: bool
    init: Literal["glorot", "normal"]

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        _same_length("channels", self.channels, "strides", self.strides)
        _same_length("channels", self.channels, "dropout", self.dropout)
        return self


class OnDevice(Section):
    """The key of `training` that every stage with a network reads."""

    device: Literal["auto", "cpu", "cuda", "mps", "xpu"]


class OnDevices(OnDevice):
    """The keys of `training` that a stage reads whose work several processes may share."""

    processes: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"]


class Training(OnDevices):
    """How the two networks are trained."""

    update: Literal["simultaneous", "alternating", "concatenated", "one_network"]
    discriminator_steps: int = Field(ge=1, le=100)
    loss: Literal["non_saturating", "minimax", "least_squares", "hinge"]
    label_smoothing: float = Field(ge=0, lt=0.5)
    r1_gamma: float = Field(ge=0, le=1000)
    r1_every: int = Field(ge=1, le=1000)
    diff_augment: list[Literal["color", "translation", "cutout"]] = Field(max_length=3)
    optimizer: Literal["adam", "adam_keras", "rmsprop_keras"]
    generator_lr_scale: float = Field(gt=0, le=100)
    beta2: Fraction
    eps: Rate
    linear_decay_from: float = Field(ge=0, le=1)
    ema_half_life: float = Field(ge=0, le=1e9)
    drop_last: bool
    precision: Literal["auto", "float32", "bfloat16"]
    deterministic: bool
    num_samples: int = Field(ge=1, le=1024)
    log_every: int = Field(ge=1, le=1_000_000)
    keep_every: int = Field(ge=1, le=1_000_000)
    keep_last: int = Field(ge=1, le=1_000_000)
    start_from: Annotated[str, Field(min_length=1)] | None
    save_seconds: float = Field(ge=0, le=86_400)
    sync_batch_norm: bool
    cuda_graphs: bool

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.update == "simultaneous" and self.discriminator_steps != 1:
            raise _mismatch(
                f"discriminator_steps = {self.discriminator_steps}:"
                " must be 1 with update: simultaneous, whose steps are one"
            )
        if self.label_smoothing and self.loss == "hinge":
            raise _mismatch(
                f"label_smoothing = {self.label_smoothing}:"
                " must be 0 with loss: hinge, which knows no labels"
            )
        if self.cuda_graphs and self.processes != 1:
            raise _mismatch(
                f"cuda_graphs = true: needs processes = 1, not {self.processes}:"
                " what processes tell each other cannot be recorded"
            )
        return self


class Evaluate(Section):
    """How checkpoints are judged."""

    num_samples: int = Field(ge=2, le=1_000_000)


class Probe(Section):
    """The linear L2-SVM on discriminator features."""

    protocol: Literal["cifar10", "svhn1000"]
    c: list[Annotated[float, Field(gt=0, le=1e6)]] = Field(min_length=1, max_length=32)
    c_unit: Literal["one", "features"]
    num_train: int = Field(ge=2, le=10_000_000)
    labels_per_class: int = Field(ge=1, le=1_000_000)
    num_draws: int = Field(ge=2, le=10_000)


class Render(Section):
    """The animations."""

    frame_ms: int = Field(ge=20, le=10_000)
    hold_ms: int = Field(ge=20, le=60_000)
    walk_points: int = Field(ge=2, le=64)
    walk_frames: int = Field(ge=1, le=120)


class Paper(Section):
    """The experiments of the DCGAN paper on the chosen checkpoint."""

    num_candidates: int = Field(ge=50, le=1_000_000)
    arithmetic: list[str] = Field(max_length=3)
    forget: str | None

    @model_validator(mode="after")
    def _three_or_none(self) -> Self:
        if len(self.arithmetic) in (1, 2):
            raise _mismatch(
                f"arithmetic has {len(self.arithmetic)} values:"
                " must have three, A, B and C of A - B + C, or none"
            )
        return self


class Tracking(Section):
    """How MLflow is written to. It cannot change an output, so no stage depends on it."""

    required: bool
    system_metrics: bool


class Gate(Section):
    """When a challenger becomes the champion; null switches a limit off."""

    absolute: Annotated[float, Field(ge=0)]
    relative: Fraction
    z: Annotated[float, Field(ge=0, le=10)]
    max_kid: Annotated[float, Field(gt=0)] | None
    min_recall: Fraction | None
    min_class_share: Fraction | None
    min_probe: Fraction | None
    min_memorisation: Annotated[float, Field(ge=0)] | None


class AllParams(Section):
    """The whole of params.yaml."""

    seed: Seed
    lr: Rate
    beta1: Fraction
    batch_size: BatchSize
    epochs: Epochs
    dataset: Dataset
    expectations: Expectations
    reference: Reference
    generator: GeneratorParams
    discriminator: DiscriminatorParams
    training: Training
    evaluate: Evaluate
    probe: Probe
    render: Render
    paper: Paper
    tracking: Tracking
    gate: Gate

    @model_validator(mode="after")
    def _image_size(self) -> Self:
        made = self.generator.start_size * math.prod(self.generator.strides)
        if made != self.dataset.image_size:
            raise _mismatch(
                f"generator.start_size x strides gives {made} x {made} images:"
                f" must be dataset.image_size = {self.dataset.image_size}"
            )
        return self

    @model_validator(mode="after")
    def _maps_have_pixels(self) -> Self:
        d, sides = self.discriminator, self._discriminator_sides()
        for layer, (side, made) in enumerate(itertools.pairwise(sides), start=1):
            if made < 1:
                raise _mismatch(
                    f"discriminator: layer {layer} of {len(d.channels)} gets maps of {side} x"
                    f" {side} pixels, too small for a kernel of {d.kernel} with symmetric padding:"
                    f" use {layer - 1} layers, smaller strides, or padding: same"
                )
        return self

    @model_validator(mode="after")
    def _batch_norm_has_two_values(self) -> Self:
        """One image and one pixel have no mean and deviation that mean anything."""
        if self.batch_size > 1:
            return self
        g, d = self.generator, self.discriminator
        norms = []
        if g.start_norm == "flat" or (g.start_norm == "map" and g.start_size == 1):
            norms.append(f"generator.start_norm = {g.start_norm}")
        if g.norm == "batch" and g.start_size * g.strides[0] == 1 and len(g.channels) > 1:
            norms.append("generator.norm = batch, on maps of 1 x 1")
        if d.norm == "batch" and 1 in self._discriminator_sides()[2:]:
            norms.append("discriminator.norm = batch, on maps of 1 x 1")
        if norms:
            raise _mismatch(f"batch_size = 1: must be at least 2 with {norms[0]}")
        return self

    def _discriminator_sides(self) -> list[int]:
        """Sides of the image and of each layer's maps, pixels; see layers.Conv."""
        d, sides = self.discriminator, [self.dataset.image_size]
        for stride in d.strides:
            if d.padding == "same":
                sides.append(math.ceil(sides[-1] / stride))
            else:
                sides.append((sides[-1] + 2 * ((d.kernel - 1) // 2) - d.kernel) // stride + 1)
            if sides[-1] < 1:
                break
        return sides


def _mismatch(message: str) -> PydanticCustomError:
    # Braces in the message would be read as placeholders; ours hold numbers and key names only.
    return PydanticCustomError("mismatch", message)  # type: ignore[arg-type]  # wants a LiteralString


def _same_length(
    first: str, first_values: list[Any], second: str, second_values: list[Any]
) -> None:
    if len(first_values) != len(second_values):
        raise _mismatch(
            f"{first} has {len(first_values)} values, {second} has {len(second_values)}:"
            " must have one a layer each"
        )
