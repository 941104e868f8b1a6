"""Time two processes of one thread beside one process of two threads, on a CPU of two cores.

    python bench/processes.py --write    # some three minutes

That is the price of several processes where nothing is gained by them. Both train the same recipe
with the same batches; they take turns, and the table has the ratio of their medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch
import training  # beside this file

from dcgan.config import recipes
from dcgan.networks import devices
from dcgan.reports import markdown
from dcgan.training.ranks import ALONE, Ranks

SYSTEMS = ("best28", "fashion-adam", "celeba64")
HEAD = ["recipe", "one process, images/s", "two processes, images/s", "ratio"]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round of each side")
    parser.add_argument("--write", action="store_true", help="put the table into its document")
    parser.add_argument("--process", nargs=3, metavar="", help="of one process: see `rate`")
    args = parser.parse_args()
    if args.process:
        name, folder, steps = args.process
        print(in_this_process(name, Path(folder), int(steps)))
        return
    precision = devices.choose_precision("auto", torch.device("cpu"))
    rows = []
    for name in SYSTEMS:
        batch_size = recipes.load(Path("recipes") / f"{name}.yaml").params.batch_size
        with tempfile.TemporaryDirectory() as folder:
            training.make_pictures(Path(folder), name, 20 * batch_size)
            first = rate(name, folder, 2 * training.WARM_UP, num=1)
            steps = max(2 * training.WARM_UP, int(args.seconds * first / batch_size))
            rounds = [
                [rate(name, folder, steps, num=num) for num in (1, 2)] for _ in range(args.rounds)
            ]
        one, two = (statistics.median(each) for each in zip(*rounds, strict=True))
        rows.append([name, f"{one:.0f}", f"{two:.0f}", f"{two / one:.2f}"])
        print(", ".join(rows[-1]), flush=True)
    text = f"{markdown.table(HEAD, rows)}\n\n{training.machine()}, {precision}."
    if args.write:
        training.put_table("processes.py", f"{text} Medians of {args.rounds} rounds.")


def rate(name: str, folder: str, steps: int, *, num: int) -> float:
    """Images a second of `num` processes, which share two threads."""
    # A new file each time, by which the processes find each other.
    meeting = f"file://{tempfile.mkdtemp(dir=folder)}/meeting"
    command = [sys.executable, __file__, "--process", name, folder, str(steps)]
    settings = {
        "OMP_NUM_THREADS": str(2 // num), "WORLD_SIZE": str(num), "MEETING": meeting,
    }  # fmt: skip
    running = [
        subprocess.Popen(
            command, env={**os.environ, **settings, "RANK": str(rank)},
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(num)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    assert not any(process.returncode for process in running)
    return float(said[0].splitlines()[-1])


def in_this_process(name: str, folder: Path, steps: int) -> float:
    """Images a second, of all processes together."""
    num = int(os.environ["WORLD_SIZE"])
    if num == 1:
        return training.our_rate(name, folder, steps, ALONE)
    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group(
        "gloo", init_method=os.environ["MEETING"], rank=rank, world_size=num
    )
    found = training.our_rate(name, folder, steps, Ranks(rank, num))
    torch.distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    main()
