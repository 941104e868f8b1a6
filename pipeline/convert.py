"""A copy of the prepared images that is read image by image, from a disk that many machines share.

Its shards are ArrayRecord files, which Google's Grain reads too. For data that no single machine
has room for: the copy lies elsewhere, and data/prepared is a link to it (docs/scale.md).
"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import cli

PREPARED = Path("data/prepared")
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
                target = target.with_suffix(data.RECORDS)
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

    from dcgan import data

    writer = data.array_records().ArrayRecordWriter(str(target), OPTIONS)
    for image in np.load(shard, mmap_mode="r", allow_pickle=False):
        writer.write(image.tobytes())
    writer.close()


if __name__ == "__main__":
    cli.run(main)
