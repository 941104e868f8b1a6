"""Memory and time of the stages that see every image, at several numbers of images.

Generated images of 64 x 64 x 3 are prepared, validated, measured and trained on in a folder of
their own; a million take 12 GB of disk. The networks are small, because their memory does not
depend on the number of images; the training is stopped after a minute. Anonymous memory is that of
the stage and of its processes, sampled ten times a second; pages of mapped files do not count,
because the system takes them back when it needs them.

    python bench/many_images.py --write    # 100,000 and a million images: most of an hour
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import training  # beside this file
import yaml

from dcgan.reports import markdown

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("prepare", "validate", "reference", "train")
HEAD = ["stage", "images", "seconds", "anonymous memory, MiB"]
TRAIN_SECONDS = 60.0
HELD_OUT = 10_000  # images for validation, and as many for the test
CHANGES: dict[str, dict[str, Any]] = {
    "dataset": {
        "name": "fake", "image_size": 64, "channels": 3, "duplicates": "exact",
        "test_size": HELD_OUT, "validation_size": HELD_OUT,
    },
    "reference": {"epochs": 1, "flip": "never"},
    "generator": {"start_size": 16, "channels": [16, 16], "strides": [2, 2], "z_dim": 16},
    "discriminator": {
        "channels": [16, 16, 16], "strides": [2, 2, 2], "dropout": [0.0, 0.0, 0.0],
    },
    "tracking": {"system_metrics": False},
}  # fmt: skip


def main() -> None:
    """Measure each stage at each number of images, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where the images go; default: a new one")
    parser.add_argument("--write", action="store_true", help="put the table into its document")
    args = parser.parse_args()
    rows = []
    for count in args.images:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            prepare_folder(Path(folder), count)
            for stage in STAGES:
                limit = TRAIN_SECONDS if stage == "train" else None
                seconds, memory = measured(stage, Path(folder), limit)
                rows.append([stage, f"{count:,}", f"{seconds:.0f}", f"{memory / 1024:.0f}"])
                print(", ".join(rows[-1]), flush=True)
    rows.sort(key=lambda row: STAGES.index(row[0]))  # stable: the numbers of images stay in order
    text = f"{markdown.table(HEAD, rows)}\n\n{training.machine()}."
    if args.write:
        training.put_table("many_images.py", text)


def prepare_folder(folder: Path, count: int) -> None:
    """What the stages read: params.yaml, and a download of a data set without files."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, changes in CHANGES.items():
        params[section] |= changes
    params["dataset"]["max_images"] = count - HELD_OUT  # test images are not among these
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "requirements.lock", folder)  # `train` names a training after it too
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/manifest.json").write_text("{}")


def measured(stage: str, folder: Path, limit: float | None) -> tuple[float, int]:
    """Seconds and the peak of anonymous memory, KiB, of a stage; `limit` seconds, then SIGTERM.

    The limit counts from the first line of progress on.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started, peak, asked = time.monotonic(), 0, False
    with (
        open(folder / f"{stage}.log", "wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", f"pipeline.{stage}"],
            cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
        ) as process,
    ):  # fmt: skip
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            since = time.monotonic() - started
            if limit is not None and since > limit and not asked and _trains(folder):
                process.send_signal(signal.SIGTERM)
                asked = True
            time.sleep(0.1)
    if process.returncode not in ((0,) if limit is None else (0, 143)):
        raise SystemExit((folder / f"{stage}.log").read_text())
    return time.monotonic() - started, peak


def anonymous(parent: int) -> int:
    """Anonymous memory of a process and of all below it, KiB."""
    total = 0
    try:
        status = Path(f"/proc/{parent}/status").read_text().splitlines()
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:  # it has just ended
        return 0
    total += sum(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    return total + sum(anonymous(int(child)) for child in children)


def _trains(folder: Path) -> bool:
    return b"images/s" in (folder / "train.log").read_bytes()


if __name__ == "__main__":
    main()
