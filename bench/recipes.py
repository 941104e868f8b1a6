"""Compare recipes at equal minutes of training on Fashion-MNIST; writes docs/recipes.md's table.

    make recipes-table                                    # hours; after `dvc repro -s reference`
    python bench/recipes.py --minutes 1 --seeds 1         # a look
    python bench/recipes.py --only best28 --probe         # make probe-table: its discriminators

1. Speed: each recipe's training steps are timed in turns, several rounds, so that all see the same
   machine.
2. A recipe gets the whole epochs that fit into the minutes at its speed. Equal minutes are thus
   equal work, and a machine that is busy with something else slows the benchmark and changes no
   figure.
3. Each seed is trained, every epoch judged on validation, the best one reported on test: the
   protocol of the evaluate stage.
4. `--probe` then fits the L2-SVM on the chosen discriminators and writes the table of
   docs/protocol.md (`make probe-table`).

Results are kept in .scratch/recipes-table, and a second run resumes from there; delete the folder
to start anew.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch

from dcgan import data, files
from dcgan.config import recipes, sections
from dcgan.judging import evaluation
from dcgan.judging.comparison import Real
from dcgan.judging.reference import Reference
from dcgan.judging.sample import Sample
from dcgan.networks import devices, exports, models
from dcgan.probing import probe
from dcgan.progress import Bar
from dcgan.reports import markdown
from dcgan.training import loop
from dcgan.training.checkpoint import Checkpoints
from dcgan.training.state import State
from dcgan.training.step import train_step

SCRATCH = Path(".scratch/recipes-table")
REFERENCE = Path("results/reference")
DOCUMENTS = {"recipes-table": Path("docs/recipes.md"), "probe-table": Path("docs/protocol.md")}
MARKS = ("<!-- the table below is written by make {} -->", "<!-- end of the table -->")
ROUNDS, STEPS = 5, 40


def main() -> None:
    """Measure, train, judge, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--only",
        nargs="+",
        default=["best28", "fashion-adam"],
        help="names of recipes for 28 x 28 images",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="probe the discriminators instead of comparing the recipes",
    )
    parser.add_argument(
        "--epochs", type=int, help="train this many epochs, whatever the speed, and write no table"
    )
    args = parser.parse_args()
    images = data.open_split(Path("data/prepared"), "train").images
    device = devices.choose_device("auto")
    devices.set_switches(device, deterministic=False)
    if args.epochs:
        for name in args.only:
            for seed in args.seeds:
                judged(name, seed, args.epochs, images, device)
        return
    rates = speeds(args.only, images, device)
    rows = []
    for name in args.only:
        epochs = max(1, int(args.minutes * 60 * rates[name] / len(images)))
        reports = [judged(name, seed, epochs, images, device) for seed in args.seeds]
        if args.probe:
            rows += probe_rows(
                name,
                [probed(name, seed, row) for seed, row in zip(args.seeds, reports, strict=True)],
            )
        else:
            rows.append(line(name, rates[name], epochs, reports))
        print(", ".join(rows[-1]), flush=True)
    write(rows, args.minutes, args.seeds, args.probe)


def parameters(name: str, seed: int, epochs: int) -> sections.AllParams:
    """A recipe on Fashion-MNIST, in the precision that this machine would use by itself."""
    return recipes.load(Path("recipes") / f"{name}.yaml").params.model_copy(
        update={"seed": seed, "epochs": epochs}
    )


def build(params: sections.AllParams, image_channels: int, device: torch.device) -> State:
    """The networks of a recipe with their first weights."""
    return loop.build(
        image_channels, seed=params.seed, lr=params.lr, beta1=params.beta1,
        generator=params.generator, discriminator=params.discriminator,
        training=params.training, device=device,
    )  # fmt: skip


def speeds(names: list[str], images: Any, device: torch.device) -> dict[str, float]:
    """Images a second of each recipe's training steps; the median of some rounds taken in turns."""
    path = SCRATCH / "speeds.json"
    measured: dict[str, float] = files.read_json(path) if path.is_file() else {}
    if set(names) <= set(measured):
        return measured
    seconds: dict[str, list[float]] = {name: [] for name in names}
    made = {}
    for name in names:
        params = parameters(name, 1, 1)
        made[name] = (params, build(params, images.shape[1], device))
    for _ in range(ROUNDS):
        for name, (params, state) in made.items():
            precision = devices.choose_precision(params.training.precision, device)
            began = time.perf_counter()
            for i in range(STEPS):
                batch = images[i * params.batch_size : (i + 1) * params.batch_size]
                train_step(
                    state, data.to_float(batch).to(device),
                    seed=params.seed, training=params.training, precision=precision, measure=False,
                )  # fmt: skip
            seconds[name].append((time.perf_counter() - began) / STEPS / params.batch_size)
    rates = {name: 1 / statistics.median(each) for name, each in seconds.items()}
    files.write_json(path, rates)
    return rates


def judged(name: str, seed: int, epochs: int, images: Any, device: torch.device) -> dict[str, Any]:
    """Train one seed and judge it; uses again what an earlier run has left."""
    params = parameters(name, seed, epochs)
    precision = devices.choose_precision(params.training.precision, device)
    decays = params.training.linear_decay_from < 1
    folder = f"{name}-seed{seed}" + (f"-{epochs}" if decays else "")
    judge, real, train = judge_and_images(seed)
    with (
        Checkpoints(SCRATCH, folder) as checkpoints,
        Bar(folder, unit="images", per_step=params.batch_size) as bar,
    ):

        def on_epoch(epoch: int, state: State) -> None:
            loop.write_epoch(
                epoch, state, checkpoints.folder, seed=seed, training=params.training,
                kept=epoch > 0,
            )  # fmt: skip

        loop.train(
            images, checkpoints, seed=seed, lr=params.lr, beta1=params.beta1,
            batch_size=params.batch_size, epochs=epochs, generator=params.generator,
            discriminator=params.discriminator, training=params.training,
            device=device, precision=precision, on_epoch=on_epoch, on_step=bar.update,
        )  # fmt: skip
        rows = []
        for epoch_folder in evaluation.epochs(checkpoints.folder / "exports")[:epochs]:
            path = epoch_folder / "judged.json"
            if not path.is_file():
                files.write_json(path, judge.row(epoch_folder, real["validation"]))
            rows.append(files.read_json(path))
            best = min(rows[-1]["fid_raw"], rows[-1]["fid_ema"])
            bar.say(f"{folder}: epoch {rows[-1]['epoch']}: FID {best:.2f} on validation")
        index, weights = evaluation.choose(rows)
        chosen = (
            checkpoints.folder / "exports" / f"epoch-{index + 1:04d}" / evaluation.WEIGHTS[weights]
        )
        path = chosen.with_suffix(".figures.json")
        if not path.is_file():
            files.write_json(path, judge.report(chosen, real["test"], train).figures)
        return {
            **files.read_json(path),
            "epoch": index + 1,
            "weights": weights,
            "folder": str(chosen.parent),
        }


def judge_and_images(seed: int) -> tuple[evaluation.Judge, dict[str, Real], Sample]:
    """What the evaluate stage judges with.

    Returns:
        The judge, the real images of validation and test, and the train images.
    """
    reference = Reference.open(REFERENCE, seed)
    real = {split: reference.real(split) for split in ("validation", "test")}
    return evaluation.Judge(reference.extractor, 10_000, seed), real, reference.sample("train")


def probed(name: str, seed: int, row: dict[str, Any]) -> dict[str, Any]:
    """Test accuracies of the L2-SVM on the chosen epoch's discriminator and on its baselines."""
    path = Path(row["folder"]) / "probed.json"
    if not path.is_file():
        params = parameters(name, seed, 1)
        splits = {split: data.open_split(Path("data/prepared"), split) for split in data.SPLITS}
        discriminator, _ = exports.load_discriminator(
            Path(row["folder"]) / "discriminator.safetensors"
        )
        networks = {
            "discriminator": discriminator,
            "untrained": models.untrained(
                discriminator.architecture, seed=seed, init=params.discriminator.init
            ),
            "pixels": None,
        }
        cpu = torch.device("cpu")
        trained_in = devices.choose_precision(params.training.precision, cpu)
        figures = {}
        for which, network in networks.items():
            precision = probe.choose_precision(trained_in, cpu)
            figures[which] = probe.measure(
                network, splits, params.probe, 10, seed, precision
            ).figures
            print(
                f"{name}, seed {seed}, {which}: {100 * figures[which]['test_accuracy']:.2f} %",
                flush=True,
            )
        files.write_json(path, figures)
    return dict(files.read_json(path))


def probe_rows(name: str, results: list[dict[str, Any]]) -> list[list[str]]:
    """The rows of the probe's table: mean and deviation over the seeds; accuracy and C of each."""
    rows = []
    for which, title in (
        ("discriminator", f"D of {name}"),
        ("untrained", "the same D, untrained"),
        ("pixels", "raw pixels"),
    ):
        figures = [result[which] for result in results]
        single = ", ".join(f"{100 * one['test_accuracy']:.2f} ({one['c']:g})" for one in figures)
        accuracies = [100 * one["test_accuracy"] for one in figures]
        rows.append([title, f"{figures[0]['num_features']:,}", spread(accuracies), single])
    return rows


def line(name: str, rate: float, epochs: int, results: list[dict[str, Any]]) -> list[str]:
    """One row of the table of recipes."""
    chosen = ", ".join(f"{result['epoch']} {result['weights']}" for result in results)
    smallest = min(100 * result["smallest_class_share"]["mean"] for result in results)
    return [
        name, f"{rate:.0f}", str(epochs),
        *(
            spread([result[key]["mean"] for result in results])
            for key in ("fid", "kid", "precision", "recall")
        ),
        f"{smallest:.1f}", chosen,
    ]  # fmt: skip


def spread(values: list[float]) -> str:
    """Mean and, of several seeds, standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return markdown.number(statistics.mean(values), deviation)


def write(rows: list[list[str]], minutes: float, seeds: list[int], probe_table: bool) -> None:
    """Put the table between its marks in its document."""
    target = "probe-table" if probe_table else "recipes-table"
    head = [
        "recipe", "images/s", "epochs", "FID", "KID", "precision", "recall", "smallest class, %",
        "chosen epochs",
    ]  # fmt: skip
    if probe_table:
        head = ["features", "number", "test accuracy, %", "by seed (C)"]
    setup = (
        f"{minutes:g} minutes of training ({torch.get_num_threads()} threads,"
        f" {os.uname().machine}, torch {torch.__version__}),"
        f" seeds {', '.join(map(str, seeds))}, mean ± standard deviation."
    )
    text = DOCUMENTS[target].read_text()
    mark = MARKS[0].format(target)
    before, _, rest = text.partition(mark)
    _, _, after = rest.partition(MARKS[1])
    table = markdown.table(head, rows)
    files.write_text(
        DOCUMENTS[target], f"{before}{mark}\n\n{table}\n\n{setup}\n\n{MARKS[1]}{after}"
    )


if __name__ == "__main__":
    main()
