"""Resumable checkpoints in a scratch folder, and exports for use.

A checkpoint `state-<step>.safetensors` + `.json` is everything a training needs to go on. An export
is one network's plain weights and a JSON file that says how to build it. Neither is ever pickled;
both are read only after their sha256 is checked.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import filelock
import torch
from torch import Tensor, nn

from dcgan import files
from dcgan.errors import DataError, EnvironmentProblem, NoCheckpoint

Network = TypeVar("Network", bound=nn.Module)
log = logging.getLogger(__name__)

KEPT_STATES = 2


def fingerprint(values: dict[str, Any], code: Mapping[str, Path]) -> str:
    """Hex name, 16 digits, of one trajectory: whatever changes it is in `values` or in the bytes of `code`."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode())
    for name, path in sorted(code.items()):
        digest.update(f"{name} {files.sha256(path)}".encode())
    return digest.hexdigest()[:16]


class Scratch:
    """The folder of one trajectory: its last two states and every export and picture made so far.

    It is no output of DVC, which deletes outputs before a stage runs; that is why a killed training
    can go on.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.folder = root / name
        self._lock = filelock.FileLock(root / f"{name}.lock", timeout=0)

    def __enter__(self) -> "Scratch":
        """Lock the folder.

        Raises:
            EnvironmentProblem: another process trains in it, or it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except filelock.Timeout:
            holder = self.folder / "holder"
            who = holder.read_text() if holder.is_file() else "another process"
            raise EnvironmentProblem(
                f"{self.folder}: in use by {who}: wait for it or stop it, then run again"
            ) from None
        except OSError as error:
            raise EnvironmentProblem(
                f"{self.folder}: cannot be used ({error.strerror}): check the folder and its rights"
            ) from error
        files.write_text(self.folder / "holder", f"process {os.getpid()} on {os.uname().nodename}")
        # A process that was killed may have left a half-written file, or a state whose JSON was not
        # yet written or already deleted.
        states = [
            path
            for path in self.folder.glob("state-*.safetensors")
            if not path.with_suffix(".json").exists()
        ]
        for left_over in [*self.folder.rglob(".part-*"), *states]:
            left_over.unlink()
        os.utime(self.folder)  # `prune` goes by the time of last use
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def save(self, step: int, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        """Write the state after `step` steps, then drop all but the two newest."""
        files.write_tensors(
            self.folder / f"state-{step:09d}.safetensors", tensors, {**description, "step": step}
        )
        for old in self._states()[:-KEPT_STATES]:
            # The JSON goes first: a state without it does not count.
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest intact state, or None in a new folder.

        Raises:
            NoCheckpoint: there are states and none is intact.
        """
        states = self._states()
        for path in reversed(states):
            try:
                return files.read_tensors(path)
            except DataError as error:
                log.warning("%s; trying the checkpoint before it", error)
        if states:
            raise NoCheckpoint(
                f"{self.folder}: none of its {len(states)} checkpoints is intact: delete the folder to start anew"
            )
        return None

    def last_step(self) -> int:
        """The step of the newest state, intact or not; 0 without one."""
        states = self._states()
        return int(states[-1].stem.removeprefix("state-")) if states else 0

    def _states(self) -> list[Path]:
        return sorted(path.with_suffix(".safetensors") for path in self.folder.glob("state-*.json"))

    def prune(self, keep: int = 3) -> None:
        """Delete the folders beside this one that were not used lately; `keep` stay, this one among them."""
        others = [
            path for path in self.folder.parent.iterdir() if path.is_dir() and path != self.folder
        ]
        for path in sorted(others, key=lambda path: path.stat().st_mtime)[
            : max(len(others) - keep + 1, 0)
        ]:
            lock = filelock.FileLock(path.with_name(f"{path.name}.lock"), timeout=0)
            try:
                with lock:
                    for file in sorted(path.rglob("*"), reverse=True):
                        file.rmdir() if file.is_dir() else file.unlink()
                    path.rmdir()
            except filelock.Timeout:
                continue  # in use: somebody trains there


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The optimizer's moments and step counts, named `prefix.<index of the parameter>.<name>`."""
    tensors: dict[str, Tensor] = {}
    for i, parameter in enumerate(_parameters(optimizer)):
        tensors |= {
            f"{prefix}.{i}.{name}": value for name, value in optimizer.state[parameter].items()
        }
    return tensors


def load_optimizer(
    optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor]
) -> None:
    """Put saved moments back under their parameters; the learning rate and the like stay as params.yaml says.

    `Optimizer.load_state_dict` is not used: it accepts wrong parameter ids in silence.
    """
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        if name.startswith(f"{prefix}."):
            _, index, field = name.split(".")
            parameter = parameters[int(index)]
            if (
                value.dim() == 0
            ):  # the step count, which only the fused optimizers keep beside the weights
                optimizer.state[parameter][field] = value.to(
                    parameter.device if optimizer.defaults.get("fused") else "cpu"
                )
            else:
                # Like the parameter in memory layout, so that the next step is the same to the last
                # bit.
                optimizer.state[parameter][field] = torch.empty_like(parameter).copy_(value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
