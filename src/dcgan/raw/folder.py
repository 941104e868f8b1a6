"""A folder of the user's own images, once it is packed: which images it has, and as what."""

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcgan import files
from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.files import own_path
from dcgan.raw import layout, locks, packing
from dcgan.raw.dataset import DataSet, Labels, Pin, Raw, Unreadable

NUM_SHOWN = 10  # links in one sentence
LOCK_SECONDS = 900  # for another process that packs the same folder

logger = logging.getLogger(__name__)


class Images:
    """All images of the parts, by number; some are listed for their problem alone.

    Attributes:
        names: paths below the source.
        digests: sha256; b"" with a problem.
        problems: by number, why an image has no bytes.
    """

    def __init__(self, folder: Path) -> None:
        """Read the lists of the parts.

        Raises:
            DataError: a list is missing or is no JSON.
        """
        self.folder = folder
        self.names: list[str] = []
        self.digests: list[bytes] = []
        self.problems: dict[int, str] = {}
        places: list[tuple[int, int, int]] = []
        for number in range(files.read_json(folder / packing.LIST)["parts"]):
            listed = files.read_json(folder / packing.list_name(number))["images"]
            end = 0  # of the member before
            for position, image in enumerate(listed):
                if "problem" in image:
                    self.problems[len(self.names)] = image["problem"]
                self.names.append(image["name"])
                self.digests.append(bytes.fromhex(image["sha256"] or ""))
                start = end + packing.offset(packing.member(position, image["name"]))
                end = start + image["size"]
                places.append((number, start, image["size"]))
        # Part, offset in its zip and bytes.
        self._places = np.array(places, np.int64).reshape(-1, 3)

    def read(self, index: int) -> bytes:
        """The image file, compared with its sha256.

        It is read at its place: all zips, opened with all their members, would take gigabytes of
        memory for millions of images.

        Raises:
            Unreadable: the source had no good bytes of it.
            DataError: these are other bytes than were packed, or the zip is missing.
        """
        if index in self.problems:
            raise Unreadable(self.problems[index])
        part, start, size = self._places[index].tolist()
        path = self.folder / packing.zip_name(part)
        try:
            with open(path, "rb") as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}): run the stage that makes it"
            ) from error
        digest = hashlib.sha256(content).digest()
        if digest != self.digests[index]:
            raise DataError(
                f"{path}: sha256 of {self.names[index]} in it is {digest.hex()[:16]}, expected"
                f" {self.digests[index].hex()[:16]}: the file is damaged; delete it and its copy in"
                " .dvc/cache, then run dvc repro"
            )
        return content


class FolderRecords:
    """Some of the images, in an order, with labels where there are any."""

    def __init__(self, images: Images, chosen: Labels, labels: Labels | None) -> None:
        self.images, self.chosen, self.labels = images, chosen, labels
        self.digests = [images.digests[number] for number in chosen.tolist()]

    def __len__(self) -> int:
        return len(self.chosen)

    def name(self, index: int) -> str:
        """Its path below the source."""
        return self.images.names[self.chosen[index]]

    def read(self, index: int) -> bytes:
        """The image file; see `Images.read`."""
        return self.images.read(int(self.chosen[index]))


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    kept = _kept(dataset)

    def said(parts: int, images: int) -> None:
        if parts > 1:  # a folder of one part is packed in seconds
            logger.info("%d images packed, in %d parts", images, parts)

    with locks.held(kept.with_name(f"{kept.name}.lock"), LOCK_SECONDS, "packs the same folder"):
        packing.pack(served, target, kept, said)


def _fetched(dataset: sections.DatasetFiles) -> None:
    kept = _kept(dataset)
    shutil.rmtree(kept, ignore_errors=True)
    locks.delete_others(kept)


def _kept(dataset: sections.DatasetFiles) -> Path:
    """Where the parts are kept until all of them are there."""
    source = str(own_path(dataset.source or ".").absolute()).encode()
    code = Path(packing.__file__).read_bytes()
    return files.scratch(f"packing-{hashlib.sha256(source + code).hexdigest()[:16]}")


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    """The images in the order of their digests, so that other names of the files change nothing."""
    images = Images(folder)
    order = sorted(range(len(images.names)), key=lambda i: (images.digests[i], images.names[i]))
    arranged = layout.arrange(
        [images.names[number] for number in order],
        [number not in images.problems for number in order],
        class_folders=dataset.class_folders,
        own_test=dataset.test_size == 0,
    )

    def records(chosen: list[int]) -> FolderRecords:
        labels = [arranged.labels[place] for place in chosen] if arranged.classes else None
        return FolderRecords(
            images,
            np.array([order[place] for place in chosen], np.int64),
            None if labels is None else np.array(labels, np.int64),
        )

    listed = files.read_json(folder / packing.LIST)
    links = [f"{name} {why}" for name, why in listed["not_followed"].items()]
    if len(links) > NUM_SHOWN:
        links = [*links[:NUM_SHOWN], f"and {len(links) - NUM_SHOWN} more"]
    not_followed = [f"links that are not followed: {', '.join(links)}"] if links else []
    convert = packing.advice(listed["left_out"])
    return Raw(
        records(arranged.pool),
        None if arranged.test is None else records(arranged.test),
        arranged.classes,
        listed["left_out"],
        (*arranged.notes, *not_followed, *([convert.removeprefix("; ")] if convert else [])),
    )


FOLDER = DataSet(
    raw=(packing.LIST, "images-*.json", "images-*.zip"),
    verified_when_read=("images-*.zip",),
    unpack=_unpack,
    fetched=_fetched,
    open=_open,
    licence="unknown: images of your own; their licence is for you to know",
    drawings=False,
    test_split=False,
)
