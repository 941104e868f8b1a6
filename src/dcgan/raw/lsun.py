"""LSUN, bedrooms or another category: encoded RGB photographs, unlabelled, in an LMDB database."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dcgan.config import sections
from dcgan.errors import DataError
from dcgan.raw import apart, archives, readers, unpacking
from dcgan.raw.dataset import GIB, HOUR, DataSet, File, Labels, Pin, Raw, Unreadable

ZIP, DATABASE = "bedroom_train_lmdb.zip", "train.mdb"
ENDING = "_train_lmdb"  # of the name of each category's zip and folder
MAX_BYTES = 64 * GIB
LMDB_MAGIC = b"\xde\xc0\xef\xbe"


class _DatabaseRecords:
    """Encoded images in LSUN's database, in the order of their keys."""

    labels: Labels | None = None

    def __init__(self, environment: Any, keys: Sequence[bytes]) -> None:
        self.environment, self.keys = environment, keys
        self.digests: Sequence[bytes] | None = keys  # the publisher's, the same in every copy

    def __len__(self) -> int:
        return len(self.keys)

    def name(self, index: int) -> str:
        return f"{DATABASE}[{self.keys[index].decode('ascii', 'backslashreplace')}]"

    def read(self, index: int) -> bytes:
        with self.environment.begin() as transaction:
            content: bytes = transaction.get(self.keys[index], b"")
        if not content:
            raise Unreadable("is empty")
        return content


def _unpack(
    served: Path, target: Path, pins: Mapping[str, Pin], dataset: sections.DatasetFiles
) -> None:
    """The database of one category, out of its zip or as it is."""
    path = _find(served)
    if path.suffix == ".zip":
        member = f"{path.stem}/data.mdb"
        archives.unpack_zip(path, member, target / DATABASE, MAX_BYTES, check=_check_start)
    else:
        archives.copy(path, target / DATABASE, MAX_BYTES)
    database = target / DATABASE
    apart.try_reading(_try, database, readers.size_of(database) + 2 * GIB)
    _read(database)[0].close()


def _try(path: Path) -> None:
    """Read every key and every image, as `prepare` will."""
    environment, keys = _read(path)
    with environment:
        records = _DatabaseRecords(environment, keys)
        for index in range(len(keys)):
            with contextlib.suppress(Unreadable):  # prepare decides about empty ones
                records.read(index)


def _check_start(start: bytes) -> None:
    if start[16:20] != LMDB_MAGIC:
        raise DataError(f"{DATABASE}: is no LMDB file: get it again")


def _find(served: Path) -> Path:
    """The one database that is there: a category's zip, or its folder, or data.mdb itself."""
    # A zip comes last, so that it is taken where the same category is unpacked beside it.
    found = {
        path.relative_to(served).parts[0].removesuffix(".zip"): path
        for pattern in ("data.mdb", f"*{ENDING}/data.mdb", f"*{ENDING}.zip")
        for path in sorted(served.glob(pattern))
    }
    if len(found) > 1:
        databases = ", ".join(str(path.relative_to(served)) for path in found.values())
        raise DataError(
            f"{served}: has {len(found)} databases, {databases}: expected one; set"
            " dataset.source to a folder with one of them"
        )
    if not found:
        raise DataError(
            f"{served}: has no {ZIP}, nor another category's, nor an unpacked data.mdb:"
            " check dataset.source"
        )
    return unpacking.find(served, str(next(iter(found.values())).relative_to(served)))


def _open(folder: Path, dataset: sections.Dataset, seed: int) -> Raw:
    """LMDB opens a database only once at a time in a process."""
    return Raw(_DatabaseRecords(*_read(folder / DATABASE)), None)


def _read(path: Path) -> tuple[Any, list[bytes]]:
    """The database, an `lmdb.Environment`, and its keys, sorted.

    What the two first pages say is compared with the file's length. A forged database can still
    break the reading process: see `apart`.
    """
    import lmdb

    size = readers.size_of(path)
    with open(path, "rb") as file:
        if file.read(20)[16:] != LMDB_MAGIC:
            raise DataError(f"{path}: is no LMDB file: get it again")
    with contextlib.ExitStack() as stack:
        try:
            environment = lmdb.open(
                str(path), subdir=False, readonly=True, lock=False, create=False, readahead=False
            )
            stack.callback(environment.close)
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if size < needed:
                raise DataError(
                    f"{path}: has {size} bytes, its header says {needed}: is truncated:"
                    " get it again"
                )
            with environment.begin() as transaction:
                keys = list(transaction.cursor().iternext(keys=True, values=False))
        except lmdb.Error as error:
            raise DataError(
                f"{path}: is a damaged LMDB file or cannot be opened ({error}): get it again"
            ) from error
        if not keys:
            raise DataError(f"{path}: holds 0 images: is it the right file?")
        stack.pop_all()  # it is good: stays open
    return environment, keys


LSUN = DataSet(
    raw=(DATABASE,),
    unpack=_unpack,
    open=_open,
    licence="unknown (https://www.yf.io/p/lsun)",
    drawings=False,
    test_split=False,
    files=(File((ZIP,), MAX_BYTES, 24 * HOUR),),
    by_hand=(
        f"get {ZIP} from https://www.yf.io/p/lsun and set dataset.source to the folder or https URL"
        " that holds it"
    ),
)
