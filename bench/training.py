"""Time the training loop beside plain tutorial loops; writes a table of docs/performance.md.

    python bench/training.py                                # all systems, some ten minutes
    python bench/training.py --only fashion-adam --rounds 1 # a look

The two sides take turns on the same made-up pictures and the same cores, round after round, each
time in a process of its own, so that both see the same machine; the table has the ratio of their
medians.

* The tutorials' side is what a reader of the PyTorch DCGAN tutorial types: torchvision dataset and
  transforms, a DataLoader with two workers, sigmoid and BCELoss, `backward()` through D's weights
  also in G's step, `.item()` every step, float32.
* Ours is `loop.train` with the recipe as it stands, on arrays as `prepare` writes them.

Also measured: how fast this machine multiplies matrices, and which share of that the convolutions
of our side make use of.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch
import torchvision
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from dcgan import data, files
from dcgan.config import recipes
from dcgan.networks import devices
from dcgan.reports import markdown
from dcgan.training import loop
from dcgan.training.checkpoint import Checkpoints
from dcgan.training.ranks import ALONE, Ranks

DOCUMENT, PICTURE = Path("docs/performance.md"), Path("docs/images/performance.png")
MARKS = ("<!-- {} -->", "<!-- end of {} -->")
SYSTEMS = ("mnist-tf", "fashion-adam", "celeba64")
WORKERS = 2
WARM_UP = 3  # steps of a round that are not timed: the first ones choose and allocate
CPU = torch.device("cpu")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=SYSTEMS, choices=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round of each side")
    parser.add_argument("--write", action="store_true", help="put the table into its document")
    parser.add_argument("--draw", action="store_true", help="only draw the document's tables anew")
    parser.add_argument("--side", nargs=4, metavar="", help="of one process: see `in_a_process`")
    args = parser.parse_args()
    if args.side:
        side, name, folder, steps = args.side
        print(SIDES[side](name, Path(folder), int(steps)))
        return
    if args.draw:
        draw()
        return
    precision = devices.choose_precision("auto", CPU)
    rows = []
    for name in args.only:
        theirs, ours, rates = compare(name, args.rounds, args.seconds)
        flops = flops_of_a_step(name)
        share = ours * flops / rates[precision]
        matrices = f"{rates[precision] / 1e9:.0f}"
        rates_and_ratio = f"{theirs:.0f}", f"{ours:.0f}", f"{ours / theirs:.2f}"
        rows.append([name, *rates_and_ratio, matrices, f"{100 * share:.0f} %"])
        print(", ".join(rows[-1]), flush=True)
    text = (
        f"{markdown.table(HEAD, rows)}\n\n{machine()}, {precision}. Medians of {args.rounds}"
        " rounds; matrices of 2,048 x 2,048, multiplied in the same rounds."
    )
    print(f"\n{text}")
    if args.write:
        put_table(f"training.py, {precision}", text)
        draw()


HEAD = [
    "recipe", "tutorial's loop, images/s", "ours, images/s", "ratio",
    "matrices, GFLOP/s", "share of it that ours uses",
]  # fmt: skip


def put_table(name: str, text: str) -> None:
    """Put the text between its marks in the document."""
    start, end = (mark.format(f"the table of bench/{name}") for mark in MARKS)
    before, _, rest = DOCUMENT.read_text().partition(start)
    assert rest, f"{DOCUMENT} has no {start}"
    files.write_text(DOCUMENT, f"{before}{start}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def draw() -> None:
    """Draw the document's tables of both precisions: images a second of both loops, and the ratio.

    Each recipe has a scale of its own, because they differ by tens.
    """
    text = DOCUMENT.read_text()
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, len(SYSTEMS), squeeze=False)
    for row, precision in zip(panels, ("float32", "bfloat16"), strict=True):
        start, end = (mark.format(f"the table of bench/training.py, {precision}") for mark in MARKS)
        table = text.partition(start)[2].partition(end)[0]
        for panel, name in zip(row, SYSTEMS, strict=True):
            found = re.search(rf"\| {name} \| (\d+) \| (\d+) \| ([\d.]+)", table)
            assert found, f"{DOCUMENT}: no row of {name} in {precision}"
            theirs, ours = int(found[1]), int(found[2])
            bars = panel.bar(["tutorial", "ours"], [theirs, ours], color=["0.7", "C0"])
            panel.bar_label(bars)
            panel.set_title(f"{name}, {precision}: {found[3]} x", fontsize=10)
            panel.margins(y=0.15)
    figure.supylabel("images a second")
    with files.replacing(PICTURE) as temporary:
        figure.savefig(temporary, format="png", dpi=80, metadata={"Software": None})


def machine() -> str:
    """What a table was measured on, and when."""
    return (
        f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__},"
        f" {datetime.now(UTC):%Y-%m-%d}"
    )


def processor() -> str:
    """Its name and what it has for matrices."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name or os.uname().machine} ({', '.join(known)})"


def compare(name: str, rounds: int, seconds: float) -> tuple[float, float, dict[str, float]]:
    """Images a second of the tutorial's loop and of ours; FLOP a second of matrices, by dtype.

    Medians of `rounds` rounds in turns.
    """
    params = recipes.load(Path("recipes") / f"{name}.yaml").params
    theirs, ours, rates = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder), name, 20 * params.batch_size)
        first = in_a_process("ours", name, folder, 2 * WARM_UP)
        steps = max(2 * WARM_UP, int(seconds * first / params.batch_size))
        for _ in range(rounds):
            rates.append({kind: matrix_rate(kind) for kind in kinds()})
            ours.append(in_a_process("ours", name, folder, steps))
            theirs.append(in_a_process("theirs", name, folder, steps))
    middle = {kind: statistics.median(each[kind] for each in rates) for kind in kinds()}
    return statistics.median(theirs), statistics.median(ours), middle


def in_a_process(side: str, name: str, folder: str, steps: int) -> float:
    """Images a second of one side."""
    command = [sys.executable, __file__, "--side", side, name, folder, str(steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def kinds() -> list[str]:
    """The dtypes that this processor computes in."""
    return ["float32", "bfloat16"] if devices.computes_in_bfloat16(CPU) else ["float32"]


def matrix_rate(kind: str) -> float:
    """FLOP a second of a product of two matrices of 2,048 x 2,048; the best of three."""
    one = torch.randn(2048, 2048).to(getattr(torch, kind))
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def flops_of_a_step(name: str) -> float:
    """FLOP an image of our step, by torch's counter: matrix products and convolutions."""
    params = recipes.load(Path("recipes") / f"{name}.yaml").params
    shape = (params.batch_size, params.dataset.channels, *2 * [params.dataset.image_size])
    images = np.zeros(shape, np.uint8)
    with FlopCounterMode(display=False) as counter:
        run(name, images, 1, lambda step, total: None)
    return counter.get_total_flops() / params.batch_size


def our_rate(name: str, folder: Path, steps: int, ranks: Ranks = ALONE) -> float:
    """Images a second of our loop, without its first steps."""
    devices.set_switches(CPU, deterministic=False)  # as the train stage does
    images = np.load(folder / "prepared.npy", mmap_mode="r")
    ends: list[float] = []
    run(name, images, steps, lambda step, total: ends.append(time.perf_counter()), ranks)
    timed = ends[WARM_UP:-1]  # the last one has the checkpoint in it
    batch_size = recipes.load(Path("recipes") / f"{name}.yaml").params.batch_size
    return batch_size * (len(timed) - 1) / (timed[-1] - timed[0])


def run(
    name: str,
    images: data.Images,
    steps: int,
    on_step: Callable[[int, int], None],
    ranks: Ranks = ALONE,
) -> None:
    """Train `steps` steps in our loop."""
    params = recipes.load(Path("recipes") / f"{name}.yaml").params
    repeated = np.resize(images, (steps * params.batch_size, *images.shape[1:]))
    with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder), name) as checkpoints:
        loop.train(
            repeated, checkpoints if ranks.first else None,
            seed=1, lr=params.lr, beta1=params.beta1,
            batch_size=params.batch_size, epochs=1, generator=params.generator,
            discriminator=params.discriminator,
            training=params.training.model_copy(update={"save_seconds": 1e4}), device=CPU,
            precision=devices.choose_precision("auto", CPU), on_step=on_step, ranks=ranks,
        )  # fmt: skip


# The tutorials' side.


def their_rate(name: str, folder: Path, steps: int) -> float:
    """Images a second of the tutorial's loop, without its first steps."""
    params = recipes.load(Path("recipes") / f"{name}.yaml").params
    return params.batch_size / TUTORIALS[name](DATASETS[name](folder), params.batch_size, steps)


SIDES = {"ours": our_rate, "theirs": their_rate}


def make_pictures(folder: Path, name: str, count: int) -> None:
    """Write made-up pictures: the data set's own files, and the array that `prepare` makes."""
    draw = np.random.default_rng(1)
    if name == "celeba64":
        (folder / "people").mkdir()
        for i in range(count):
            # Smooth, as photographs are, so that a JPEG has its usual size.
            small = Image.fromarray(draw.integers(0, 256, (14, 11, 3), np.uint8))
            small.resize((178, 218), Image.Resampling.BICUBIC).save(
                folder / "people" / f"{i:06}.jpg"
            )
        decoded = torchvision.datasets.ImageFolder(folder, transforms.Compose(crop_and_resize()))
        images = np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in decoded])
        np.save(folder / "prepared.npy", images)
        return
    images = draw.integers(0, 256, (count, 1, 28, 28), np.uint8)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        head = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = np.array([0x801, count], ">i4").tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(count))
    np.save(folder / "prepared.npy", images)


def crop_and_resize() -> list[Callable[[Image.Image], Image.Image]]:
    """The tutorial's, with the recipe's crop."""
    return [transforms.CenterCrop(178), transforms.Resize(64)]


def mnist(folder: Path) -> Dataset[tuple[Tensor, int]]:
    """As tutorials read it."""
    steps = [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    return torchvision.datasets.MNIST(folder, transform=transforms.Compose(steps))


def celeba(folder: Path) -> Dataset[tuple[Tensor, int]]:
    """As the PyTorch tutorial reads it."""
    steps = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    return torchvision.datasets.ImageFolder(
        folder, transforms.Compose([*crop_and_resize(), *steps])
    )


def batches(dataset: Dataset[tuple[Tensor, int]], batch_size: int, steps: int) -> Iterator[Tensor]:
    """Batches of a DataLoader, again and again; its workers live on."""
    loader = DataLoader(
        dataset, batch_size, shuffle=True, drop_last=True, num_workers=WORKERS,
        persistent_workers=True,
    )  # fmt: skip
    done = 0
    while True:
        for images, _ in loader:
            yield images
            done += 1
            if done == steps:
                return


def timed(step: Callable[[Tensor], None], real: Iterator[Tensor]) -> float:
    """Seconds a step, without the first ones."""
    ends = []
    for images in real:
        step(images)
        ends.append(time.perf_counter())
    return (ends[-1] - ends[WARM_UP]) / (len(ends) - 1 - WARM_UP)


def adam(network: nn.Module, lr: float, beta1: float) -> torch.optim.Optimizer:
    """Adam as a tutorial makes it."""
    return torch.optim.Adam(network.parameters(), lr=lr, betas=(beta1, 0.999))


def tutorial_celeba(dataset: Dataset[tuple[Tensor, int]], batch_size: int, steps: int) -> float:
    """The PyTorch tutorial: D on real and on fake, then G on the same fakes."""
    g = nn.Sequential(
        nn.ConvTranspose2d(100, 512, 4, 1, 0, bias=False), nn.BatchNorm2d(512), nn.ReLU(True),
        nn.ConvTranspose2d(512, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU(True),
        nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(True),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    d = nn.Sequential(
        nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2, True),
        nn.Conv2d(128, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.LeakyReLU(0.2, True),
        nn.Conv2d(256, 512, 4, 2, 1, bias=False), nn.BatchNorm2d(512), nn.LeakyReLU(0.2, True),
        nn.Conv2d(512, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    )  # fmt: skip
    opt_g, opt_d, loss = adam(g, 2e-4, 0.5), adam(d, 2e-4, 0.5), nn.BCELoss()

    def step(real: Tensor) -> None:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        d.zero_grad()
        out = d(real).view(-1)
        loss_real = loss(out, ones)
        loss_real.backward()
        out.mean().item()
        fake = g(torch.randn(len(real), 100, 1, 1))
        out = d(fake.detach()).view(-1)
        loss_fake = loss(out, zeros)
        loss_fake.backward()
        out.mean().item()
        opt_d.step()
        g.zero_grad()
        out = d(fake).view(-1)
        loss_g = loss(out, ones)
        loss_g.backward()
        out.mean().item()
        opt_g.step()
        (loss_real + loss_fake).item(), loss_g.item()

    return timed(step, batches(dataset, batch_size, steps))


def small_discriminator(slope: float) -> nn.Module:
    """D of both tutorials for 28 x 28."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2), nn.LeakyReLU(slope), nn.Dropout(0.3),
        nn.Conv2d(64, 128, 5, 2, 2), nn.LeakyReLU(slope), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(128 * 49, 1), nn.Sigmoid(),
    )  # fmt: skip


def tutorial_mnist(dataset: Dataset[tuple[Tensor, int]], batch_size: int, steps: int) -> float:
    """The TensorFlow tutorial in PyTorch: both gradients at the same weights."""
    g = nn.Sequential(
        nn.Linear(100, 256 * 49, bias=False), nn.BatchNorm1d(256 * 49), nn.LeakyReLU(0.3),
        nn.Unflatten(1, (256, 7, 7)),
        nn.ConvTranspose2d(256, 128, 5, 1, 2, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(128, 64, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(64, 1, 5, 2, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    d = small_discriminator(0.3)
    opt_g, opt_d, loss = adam(g, 1e-4, 0.9), adam(d, 1e-4, 0.9), nn.BCELoss()

    def step(real: Tensor) -> None:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        fake = g(torch.randn(len(real), 100))
        out_real, out_fake = d(real).view(-1), d(fake).view(-1)
        loss_g = loss(out_fake, ones)
        loss_d = loss(out_real, ones) + loss(out_fake, zeros)
        g.zero_grad()
        loss_g.backward(retain_graph=True)  # fills D's gradients too
        d.zero_grad()
        loss_d.backward(inputs=list(d.parameters()))
        opt_g.step()
        opt_d.step()
        loss_d.item(), loss_g.item()

    return timed(step, batches(dataset, batch_size, steps))


def tutorial_fashion(dataset: Dataset[tuple[Tensor, int]], batch_size: int, steps: int) -> float:
    """The Keras books in PyTorch: D on fake and real in one batch, then G on fresh fakes."""
    g = nn.Sequential(
        nn.Linear(100, 128 * 49), nn.Unflatten(1, (128, 7, 7)), nn.BatchNorm2d(128),
        nn.ConvTranspose2d(128, 64, 5, 2, 2, 1), nn.SELU(), nn.BatchNorm2d(64),
        nn.ConvTranspose2d(64, 1, 5, 2, 2, 1), nn.Tanh(),
    )  # fmt: skip
    d = small_discriminator(0.2)
    opt_g, opt_d, loss = adam(g, 1e-3, 0.9), adam(d, 1e-3, 0.9), nn.BCELoss()

    def step(real: Tensor) -> None:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        with torch.no_grad():
            fake = g.eval()(torch.randn(len(real), 100))
        g.train()
        d.zero_grad()
        loss_d = loss(d(torch.cat([fake, real])).view(-1), torch.cat([zeros, ones]))
        loss_d.backward()
        opt_d.step()
        g.zero_grad()
        loss_g = loss(d(g(torch.randn(len(real), 100))).view(-1), ones)
        loss_g.backward()
        opt_g.step()
        loss_d.item(), loss_g.item()

    return timed(step, batches(dataset, batch_size, steps))


TUTORIALS = {
    "mnist-tf": tutorial_mnist,
    "fashion-adam": tutorial_fashion,
    "celeba64": tutorial_celeba,
}
DATASETS = {"mnist-tf": mnist, "fashion-adam": mnist, "celeba64": celeba}


if __name__ == "__main__":
    main()
