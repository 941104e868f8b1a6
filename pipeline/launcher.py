"""Run a stage in several processes that train together, under torch's elastic agent.

`torchrun ... -m pipeline.train` does the same over several machines: the stage then finds itself
launched and launches nothing.
"""

import contextlib
import datetime
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dcgan.errors import ConfigError, Diverged, EnvironmentProblem, Stopped
from pipeline import processes

if TYPE_CHECKING:
    import torch

    from dcgan.config import sections
    from dcgan.training.ranks import Ranks

# Rank 0 may check the images' bytes for so long, before the others hear from it.
PATIENCE = datetime.timedelta(minutes=30)
# Seconds to save a checkpoint, once a signal came; fewer than `run` gives the launcher.
SHUTDOWN = 45


def count(training: "sections.Training", device: "torch.device", batch_size: int) -> int:
    """How many processes are to train together.

    Args:
        training: its `processes`; auto: as many of this machine's GPUs as divide the batch.
        device: that of the training.
        batch_size: of all processes together.

    Raises:
        ConfigError: the batch cannot be shared out evenly, there are too few GPUs, or they cannot
            work together.
    """
    import torch

    asked = training.processes
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    if launched():
        found = int(os.environ["WORLD_SIZE"])
    elif asked == "auto":
        found = max((n for n in range(1, gpus + 1) if batch_size % n == 0), default=1)
    else:
        found = asked
    if batch_size % found:
        raise ConfigError(
            f"params.yaml: batch_size = {batch_size}: is that of all {found} processes together, so"
            f" it must be a multiple of {found}: change it or training.processes"
        )
    if found > 1 and training.cuda_graphs:
        raise ConfigError(
            f"params.yaml: training.cuda_graphs = true: is for one process, not {found}:"
            " set it to false"
        )
    if found > 1 and device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"params.yaml: training.processes = {found}: torch has no way for several processes on"
            f" '{device.type}' to talk to each other: use 1"
        )
    if device.type == "cuda" and not launched() and found > gpus:
        raise ConfigError(
            f"params.yaml: training.processes = {found}: this machine has {gpus} GPUs: use auto"
        )
    return found


def launched() -> bool:
    """Whether this process is one of several that were started together."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def launch(module: str, num: int) -> None:
    """Run `python -m <module>` in `num` processes, and exit as they do if they fail or are stopped.

    Raises:
        EnvironmentProblem: a process was killed.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // num)))
    print(f"{module.removeprefix('pipeline.')}: {num} processes", flush=True)
    # No restarts: whoever started us decides by our exit code.
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=num, run_id=f"{module}-{os.getpid()}",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, shutdown_timeout=SHUTDOWN,
    )  # fmt: skip
    logging.getLogger("torch.distributed.launcher").setLevel(logging.CRITICAL)
    try:
        elastic_launch(config, sys.executable)("-m", module)
    except SignalException as error:
        sys.exit(128 + int(error.sigval))
    except ChildFailedError as error:
        codes = [failure.exitcode for _, failure in sorted(error.failures.items())]
        said = [code for code in codes if code > 0 and code != EnvironmentProblem.exit_code]
        if said:
            sys.exit(said[0])
        # The agent ends by SIGTERM what is left after a failure; what was killed is the cause.
        killed = [-code for code in codes if code < 0 and -code != signal.SIGTERM]
        if killed:
            raise EnvironmentProblem(
                f"a process of the training was ended by {signal.Signals(killed[0]).name}:"
                " run the same command again, and it goes on from the last checkpoint"
            ) from None
        sys.exit(EnvironmentProblem.exit_code)


@contextlib.contextmanager
def joined(device: "torch.device") -> Iterator["Ranks"]:
    """This process among those that were launched with it; alone, if it was not launched.

    What all processes find at once has no words in all but the first.
    """
    from dcgan.training import ranks

    if not launched():
        yield ranks.ALONE
        return
    import torch
    import torch.distributed as dist

    processes.die_with_parent()
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE
    )
    group = ranks.Ranks(dist.get_rank(), dist.get_world_size())
    try:
        yield group
    except (ranks.Lost, ranks.Silent, Diverged, Stopped) as error:
        if group.first:
            raise
        sys.exit(error.exit_code)
    finally:
        dist.destroy_process_group()
