"""The classifier, which is trained here for its features and verdicts.

With labels it learns the classes. Without labels it learns by how many quarter turns an image was
rotated (Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations",
2018): that needs no download, and depends on shapes and their places, as the classes do.

It is trained in float32 or bfloat16, and always used in float32.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from dcgan import files, rng
from dcgan.data import Images
from dcgan.errors import DataError, Diverged
from dcgan.judging.sample import Verdicts
from dcgan.networks import batches, devices
from dcgan.networks.layers import Conv

CPU = torch.device("cpu")
NUM_FEATURES = 128
NUM_TURNS = 4
MAP_SIZE = 7  # side of the last maps of a 28 x 28 image; those of other sizes are averaged to it
ARCHITECTURE = (
    "conv5s2-32, conv3-64, pool2, conv3-128, average 7x7, linear 128, linear classes;"
    " batch norm, relu"
)


class Classifier(nn.Module):
    """Three convolutions, one hidden layer of 128 features, one logit a class.

    Images may have any size from 8 x 8. The stride of the first layer makes it four times as fast
    as a full-resolution one.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, 32, kernel=5, stride=2),
            *_convolution(32, 64, kernel=3),
            nn.MaxPool2d(2),
            *_convolution(64, 128, kernel=3),
            nn.AdaptiveAvgPool2d(MAP_SIZE),
            nn.Flatten(),
            nn.Linear(MAP_SIZE**2 * 128, NUM_FEATURES, bias=False),
            nn.BatchNorm1d(NUM_FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features N x 128, at least 0, and logits N x num_classes.

        `images` are N x C x H x W in [-1, 1].
        """
        features = self.body(images)
        return features, self.head(features)


def train_classifier(
    images: Images,  # N x C x H x W
    labels: npt.NDArray[np.integer[Any]] | None,  # N, 0 .. num_classes - 1; None: learn rotations
    *,
    num_classes: int = NUM_TURNS,
    seed: int,
    epochs: int,
    lr: float,  # peak of the one-cycle schedule
    batch_size: int,
    flip: bool = True,  # whether mirror images mean the same
    device: torch.device = CPU,
    # epoch from 1, mean loss, the classifier so far
    on_epoch: Callable[[int, float, Classifier], None] | None = None,
) -> Classifier:
    """Train a classifier with AdamW, a one-cycle learning rate and, with `flip`, horizontal flips.

    On the CPU the result is bit-identical from run to run at one thread count. Draws are the same
    on every device.

    Returns:
        The classifier, in evaluation mode.

    Raises:
        DataError: an empty array, sizes that do not fit, a label out of range.
        Diverged: the loss is no longer finite.
    """
    _check(images, labels, num_classes)
    # Only whole batches, because one image alone has no batch statistics: each epoch leaves out up
    # to batch_size - 1 images, others each time.
    batch_size = min(batch_size, len(images))
    steps = len(images) // batch_size
    bfloat16 = devices.computes_in_bfloat16(device)
    net = _initialised(Classifier(images.shape[1], num_classes), seed)
    net = net.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=epochs * steps + 1
    )
    # A copy, because mapped labels are read only.
    targets = None if labels is None else torch.from_numpy(np.array(labels, np.int64))

    for epoch in range(1, epochs + 1):
        net.train()
        generator = rng.generator(seed, "reference", epoch)
        order = torch.randperm(len(images), generator=generator)
        flips = torch.rand(len(images), generator=generator) < 0.5
        answers = (
            targets
            if targets is not None
            else torch.randint(NUM_TURNS, (len(images),), generator=generator)
        )
        total = torch.zeros((), device=device)
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            batch = batches.on_device(torch.from_numpy(images[chosen.numpy()]), device)
            expected = answers[chosen].to(device)
            if flip:
                mirrored = flips[chosen, None, None, None].to(device)
                batch = torch.where(mirrored, batch.flip(3), batch)
            if targets is None:
                batch = rotated(batch, expected)
            batch = batch.to(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                _, logits = net(batch)
            loss = F.cross_entropy(logits.float(), expected)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        mean_loss = total.item() / steps
        if not np.isfinite(mean_loss):
            raise Diverged(
                f"reference: loss is {mean_loss} in epoch {epoch}: must be finite;"
                f" lower reference.lr = {lr}"
            )
        if on_epoch is not None:
            on_epoch(epoch, mean_loss, net.eval())
    return net.eval()


@torch.inference_mode()
def extract(
    classifier: Classifier,
    images: Images,
    batch_size: int = 500,
    on_batch: Callable[[int, int], None] | None = None,  # images done, images in all
) -> tuple[npt.NDArray[np.float32], Verdicts]:
    """Features and verdicts of uint8 images N x C x H x W, in float32.

    The last batch is filled up: an image's features do not depend on the number of images.

    Returns:
        Features float32 N x 128 and the most likely class int64 N.

    Raises:
        DataError: no images, or not uint8 N x C x H x W.
    """
    features = np.empty((len(images), NUM_FEATURES), np.float32)
    verdicts = np.empty(len(images), np.int64)
    for part, batch_features, logits in _outputs(classifier, images, batch_size):
        features[part] = batch_features.cpu().numpy()
        verdicts[part] = logits.argmax(1).cpu().numpy()
        if on_batch is not None:
            on_batch(part.stop, len(images))
    return features, verdicts


@torch.inference_mode()
def probabilities(
    classifier: Classifier, images: Images, batch_size: int = 500
) -> npt.NDArray[np.float32]:
    """How likely each class is for each of uint8 images N x C x H x W; errors as `extract`'s.

    Returns:
        float32 N x num_classes, 0 to 1.
    """
    shares = np.empty((len(images), classifier.head.out_features), np.float32)
    for part, _, logits in _outputs(classifier, images, batch_size):
        shares[part] = logits.softmax(1).cpu().numpy()
    return shares


def rotated(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Images N x C x H x H, each turned by its number of quarter turns."""
    choices = torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(NUM_TURNS)])
    return choices[turns, torch.arange(len(images), device=images.device)]


def accuracy(
    classifier: Classifier,
    images: Images,
    labels: npt.NDArray[np.integer[Any]] | None,
) -> float:
    """Share of uint8 images N x C x H x W that the classifier gets right, 0 to 1.

    Without labels: of these images after 0, 1, 2, 3, 0, ... quarter turns.
    """
    if labels is None:
        turns = torch.arange(len(images)) % NUM_TURNS
        images, labels = rotated(torch.from_numpy(np.array(images)), turns).numpy(), turns.numpy()
    return float((extract(classifier, images)[1] == labels).mean())


def save_classifier(path: Path, classifier: Classifier, description: dict[str, Any]) -> str:
    """Write the weights as safetensors, `description` with the architecture as JSON beside them.

    Returns:
        The sha256 of the safetensors file.
    """
    first, last = classifier.body[0], classifier.head
    assert isinstance(first, nn.Conv2d)
    shape = {
        "channels": first.in_channels,
        "num_classes": last.out_features,
        "num_features": NUM_FEATURES,
    }
    return files.write_tensors(
        path, classifier.state_dict(), {**description, **shape, "architecture": ARCHITECTURE}
    )


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """Read what `save_classifier` wrote.

    Returns:
        The classifier in evaluation mode, and its description with the sha256.

    Raises:
        DataError: a file is missing, damaged, or of another architecture.
    """
    tensors, description = files.read_tensors(path)
    if description.get("architecture") != ARCHITECTURE:
        raise DataError(
            f"{path}: architecture is {description.get('architecture')!r}:"
            f" must be {ARCHITECTURE!r}; run reference"
        )
    try:
        classifier = Classifier(int(description["channels"]), int(description["num_classes"]))
        classifier.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{path}: does not fit its description ({' '.join(str(error).split())}): run reference"
        ) from error
    return classifier.eval(), description


def _outputs(
    classifier: Classifier, images: Images, batch_size: int
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """For each batch: the positions of its images, their features and their logits."""
    _check(images)
    classifier.eval()
    device = classifier.head.weight.device
    start = 0
    for batch, count in batches.padded(images, batch_size):
        features, logits = classifier(batches.on_device(batch, device))
        yield slice(start, start + count), features[:count], logits[:count]
        start += count


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> list[nn.Module]:
    # No bias: the batch norm that follows would remove it again.
    convolution = Conv(
        inputs, outputs, kernel=kernel, stride=stride, padding="symmetric", bias=False
    )
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _initialised(net: Classifier, seed: int) -> Classifier:
    # torch's own initialisation draws from the global generator, so every weight is drawn again
    # from ours.
    generator = rng.generator(seed, "reference")
    for module in net.body.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    # Equal logits at the start, so that the first steps need not undo wrong verdicts.
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    return net


def _check(
    images: Images,
    labels: npt.NDArray[np.integer[Any]] | None = None,
    num_classes: int = 0,
) -> None:
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or len(images) == 0
        or min(images.shape[2:]) < 8
    ):
        raise DataError(
            f"images: {images.dtype} {images.shape}: must be uint8 N x C x H x W, N at least 1,"
            " H and W at least 8"
        )
    if labels is None:
        return
    if labels.shape != (len(images),):
        raise DataError(
            f"labels: shape is {labels.shape} for {len(images)} images:"
            " must be one label an image; run prepare"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"labels: {labels.min()} to {labels.max()}: must be 0 to {num_classes - 1}; run prepare"
        )
