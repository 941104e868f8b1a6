"""Second names of large files, so that they are on the disk once."""

import os
from pathlib import Path

from dcgan import files


def second_name(path: Path, target: Path) -> None:
    """Let `target` be the same file, in one visible step; a copy where the disk has no such thing.

    The file's rights stay: with DVC's hard links it is in the cache too, and there read-only.

    Raises:
        EnvironmentProblem: a copy is needed, and the disk is full, or a file cannot be read or
            written.
    """
    temporary = target.with_name(f".part-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        os.link(path, temporary)
        os.replace(temporary, target)
    except OSError:
        files.copy(path, target)
    finally:
        # It stays where both names were the same file already.
        temporary.unlink(missing_ok=True)
