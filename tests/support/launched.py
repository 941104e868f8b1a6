"""A stage for the tests of the launcher: what it does is said by HOW."""

import os
import signal
import time
from pathlib import Path

import torch

from dcgan.errors import DataError, Stopped
from pipeline import cli, launcher


def main() -> None:
    """Fail, die, wait for a signal, or end well."""
    how, stop = os.environ["HOW"], cli.catch_signals()

    def damaged() -> None:
        raise DataError("train.images.npy: damaged")

    with launcher.joined(torch.device("cpu")) as ranks:
        Path(f"pid-{ranks.rank}").write_text(str(os.getpid()))
        if how == "fails":
            ranks.from_first(damaged)
        elif how == "one is killed":
            if not ranks.first:
                os.kill(os.getpid(), signal.SIGKILL)
            ranks.agree(1)
        elif how == "waits":
            for _ in range(600):
                (number,) = ranks.agree(stop())
                if number:
                    time.sleep(2.5)  # it saves; longer than a repeated signal counts as the same
                    Path(f"saved-{ranks.rank}").touch()
                    raise Stopped("stopped after step 3", number)
                time.sleep(0.1)
        else:
            print(f"agreed on {ranks.agree(ranks.rank)[0]}\n", end="", flush=True)


if __name__ == "__main__":
    cli.run(main)
