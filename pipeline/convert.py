"""A copy of the prepared images that is read image by image, from a disk that many machines share.

Its shards are ArrayRecord files, which Google's Grain reads too. For data that no single machine
has room for: the copy lies elsewhere, and data/prepared is a link to it (docs/scale.md).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import cli

if TYPE_CHECKING:
    import numpy.typing as npt

    from dcgan import data
    from dcgan.errors import DataError

PREPARED = Path("data/prepared")
RECORDS = ".array_record"
# Each image by itself, as it is: groups would have to be read whole.
OPTIONS = "group_size:1,uncompressed"

To = Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the copy goes.")]


def main(to: To) -> None:
    """Copy data/prepared to ArrayRecord files, for a disk that many machines share.

    Example: python -m pipeline convert --to /mnt/shared/prepared.
    """
    from dcgan import data, files
    from dcgan.errors import ConfigError
    from dcgan.progress import Bar

    if to.resolve() == PREPARED.resolve():
        raise ConfigError(f"--to {to}: is data/prepared itself: choose another folder")
    manifest = data.read_manifest(PREPARED)
    # Of the files as `prepare` wrote them: a training is the same, whichever it reads.
    converted = {**manifest, "data_sha256": data.data_sha256(manifest), "files": {}}
    total = sum(
        described["shape"][0]
        for name, described in manifest["files"].items()
        if name.startswith("images-")
    )
    (to / "manifest.json").unlink(missing_ok=True)  # until the copy is whole
    with Bar("convert", unit="images") as bar:
        done = 0
        for name, described in manifest["files"].items():
            files.verify(PREPARED / name, described["sha256"])
            target = to / name
            if name.startswith("images-"):
                target = target.with_suffix(RECORDS)
                with files.replacing(target) as temporary:
                    _write(PREPARED / name, temporary)
                done += described["shape"][0]
                bar.update(done, total)
            else:
                files.copy(PREPARED / name, target)
            converted["files"][target.name] = {**described, "sha256": files.sha256(target)}
    files.write_json(to / "manifest.json", converted)
    print(f"convert: {total} images in {to}; to train on them, make data/prepared a link to it")


def _write(shard: Path, target: Path) -> None:
    import numpy as np

    writer = array_records().ArrayRecordWriter(str(target), OPTIONS)
    for image in np.load(shard, mmap_mode="r", allow_pickle=False):
        writer.write(image.tobytes())
    writer.close()


def open_shards() -> "data.OpenShard | None":
    """What opens the shards of data/prepared: of a copy `RecordShard`, else None."""
    from dcgan import data

    copied = any(name.endswith(RECORDS) for name in data.read_manifest(PREPARED)["files"])
    return RecordShard if copied else None


class RecordShard:
    """A shard as an ArrayRecord file: one read for each image.

    On a disk that is far away a mapped file would be read page by page, each after the other.
    """

    def __init__(self, path: Path, described: Mapping[str, Any]) -> None:
        """Open it; DataError where it is none, or has another number of images than described."""
        import numpy as np

        shape = described["shape"]
        self.shape, self.dtype = tuple(shape), np.dtype(described["dtype"])
        self.nbytes = self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))
        self._path = path
        try:
            self._reader = array_records().ArrayRecordReader(str(path))
            count = self._reader.num_records()
        except (RuntimeError, ValueError, OSError) as error:
            raise self._unreadable(error) from error
        if count != shape[0]:
            raise self._unreadable(f"it has {count} images, the manifest says {shape[0]}")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, place: int) -> "npt.NDArray[Any]":
        """One image, C x H x W; a negative number counts from the end."""
        try:
            import numpy as np

            (content,) = self._reader.read([place % len(self)])
            return np.frombuffer(content, self.dtype).reshape(self.shape[1:])
        except (RuntimeError, ValueError, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, why: object) -> "DataError":
        from dcgan.errors import DataError

        return DataError(f"{self._path}: cannot be read ({why}): run pipeline convert again")


def array_records() -> Any:
    """The package that reads and writes ArrayRecord files; ConfigError where it is missing."""
    from dcgan.errors import ConfigError

    try:
        from array_record.python import array_record_module
    except ImportError:
        raise ConfigError("the package array_record is missing: pip install array_record") from None
    return array_record_module


if __name__ == "__main__":
    cli.run(main)
