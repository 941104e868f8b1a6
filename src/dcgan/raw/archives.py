"""Bytes out of gzip, tar and zip files that others made, and into a zip of our own.

Only the members that were asked for come out, each up to a limit. Every refusal is a DataError that
names the file.
"""

import contextlib
import hashlib
import io
import itertools
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from dcgan import files
from dcgan.errors import DataError
from dcgan.raw import idx

CHUNK = 1 << 16
MAX_MEMBERS = 1000  # of a tar
MAX_TAR_HEADER = 1 << 16  # bytes of an extended header
TAR_ROOM = 16 << 20  # bytes for headers and for members that were not asked for
TAR_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE)
# Photographs that are compressed already shrink by nothing, raw pixels to a half; small files of
# one colour may shrink more.
PICTURES_RATIO, PICTURES_ROOM = 20, 64 << 20
# What zipfile and its inflater raise at damaged, encrypted and unknown data.
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


def check_digest(path: Path, digest: str) -> None:
    """Compare a file with "algorithm:hex"; raise DataError where they differ."""
    algorithm, expected = digest.split(":")
    with open(path, "rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    if actual != expected:
        raise DataError(f"{path.name}: {algorithm} is {actual}, expected {expected}: refused")


def copy(path: Path, target: Path, limit: int) -> None:
    """Copy a file of at most `limit` bytes."""
    _write(_read(path), target, limit, path.name)


def unpack_idx(path: Path, target: Path, limit: int) -> None:
    """Write the uncompressed bytes of an IDX file, which is gzipped if its name ends in .gz.

    Written are as many bytes as its header says, at most `limit`; more are an error.
    """
    chunks = _gunzip(path) if path.suffix == ".gz" else _read(path)
    head = next(chunks, b"")
    size = idx.parse(head[:16], path.name)[0]
    _write(itertools.chain([head], chunks), target, min(size, limit), path.name)


def unpack_tar(path: Path, targets: Mapping[str, Path], limit: int) -> None:
    """Write some members of a gzipped tar.

    Args:
        path: the tar.
        targets: where each goes, by its name in the tar; other members are skipped.
        limit: bytes that each may have.

    Raises:
        DataError: a member is missing, comes twice or is too long; anything in the archive is a
            link, a device or sparse, or has a name that leads elsewhere; the archive is damaged,
            holds far more than was asked for, or has too many members.
    """
    missing = set(targets)
    content = _Limited(_gunzip(path), len(targets) * limit + TAR_ROOM, path.name)
    try:
        with tarfile.open(
            fileobj=content, mode="r|", tarinfo=_PlainMember, bufsize=CHUNK
        ) as archive:
            for number, member in enumerate(archive):
                if number >= MAX_MEMBERS:
                    raise DataError(f"{path.name}: has more than {MAX_MEMBERS} members: refused")
                _check_name(member.name, path)
                if member.issparse():
                    raise DataError(f"{path.name}: {member.name!r} is sparse: refused")
                if member.name in targets:
                    if member.name not in missing or not member.isreg():
                        raise DataError(
                            f"{path.name}: {member.name!r} comes twice or is no regular file:"
                            " refused"
                        )
                    missing.remove(member.name)
                    inside = archive.extractfile(member)
                    assert inside is not None  # of a regular file it never is
                    _write(_chunks(inside), targets[member.name], limit, member.name)
        # To the end, so that what follows the last member is checked too.
        while content.read(CHUNK):
            pass
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}: is damaged or no tar file ({error}): refused") from error
    if missing:
        raise DataError(f"{path.name}: has no {', '.join(sorted(missing))}: is it the right file?")


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """A zip and its regular files by name, after its whole directory is checked.

    Raises:
        DataError: the file is no zip; a name comes twice or leads elsewhere; an entry is a link,
            encrypted, packed in an unusual way, or lies over another.
    """
    try:
        archive = zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise DataError(f"{path.name}: is damaged or no zip file ({error}): refused") from error
    with archive:
        entries: dict[str, zipfile.ZipInfo] = {}
        end = 0
        for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
            _check_entry(entry, path)
            if entry.filename in entries:
                raise DataError(f"{path.name}: {entry.filename!r} comes twice: refused")
            # 30: the fixed part of the header before the packed bytes.
            if entry.header_offset < end:
                raise DataError(f"{path.name}: {entry.filename!r} lies over another entry: refused")
            end = entry.header_offset + 30 + len(entry.filename) + entry.compress_size
            entries[entry.filename] = entry
        yield archive, {name: entry for name, entry in entries.items() if not entry.is_dir()}


def most_unpacked(packed: int) -> int:
    """Bytes that pictures may have which are packed into `packed`: more is a bomb."""
    return PICTURES_RATIO * packed + PICTURES_ROOM


def unpack_zip(
    path: Path,
    name: str,
    target: Path,
    limit: int,
    check: Callable[[bytes], None] = lambda start: None,
) -> None:
    """Write one member of a zip.

    Args:
        path: the zip.
        name: of the member, which holds pictures.
        target: where it goes.
        limit: bytes that it may have.
        check: called with the member's first bytes before any is written.

    Raises:
        DataError: as `open_zip`; or the member is missing, damaged, longer than `limit` bytes, or
            packed smaller than pictures can be.
    """
    with open_zip(path) as (archive, entries):
        if name not in entries:
            raise DataError(f"{path.name}: has no {name}: is it the right file?")
        size = entries[name].file_size
        if size > most_unpacked(entries[name].compress_size):
            raise DataError(
                f"{path.name}: {name} has {size} bytes in {entries[name].compress_size}:"
                " photographs cannot be packed so small: refused"
            )
        if size > limit:
            raise DataError(
                f"{path.name}: {name} has {size} bytes, more than the allowed {limit}: refused"
            )
        try:
            with archive.open(name) as inside:
                chunks = _chunks(inside)
                start = next(chunks, b"")
                check(start)
                _write(itertools.chain([start], chunks), target, limit, name)
        except ZIP_ERRORS as error:
            raise DataError(f"{path.name}: {name} is damaged ({error}): refused") from error


def store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a member whose bytes in the zip depend on its name and its content alone."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    archive.writestr(entry, content)


class _PlainMember(tarfile.TarInfo):
    """A member whose raw header is checked before tarfile acts on it.

    Otherwise tarfile would read an extended header of a gigabyte into memory.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_PlainMember":
        member = super().frombuf(buf, encoding, errors)
        extended = member.type in (tarfile.XHDTYPE, tarfile.XGLTYPE)
        if (
            member.type not in TAR_TYPES
            or (extended and member.size > MAX_TAR_HEADER)
            or member.size < 0
        ):
            raise DataError(
                f"tar: {member.name!r} is of type {member.type!r}, expected regular files: refused"
            )
        return member


class _Limited(io.RawIOBase):
    """Chunks as a file, which refuses to give more than `limit` bytes."""

    def __init__(self, chunks: Iterator[bytes], limit: int, name: str) -> None:
        self.chunks, self.left, self.limit, self.name = chunks, b"", limit, name
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, b"" at the end."""
        chunk = self.left or next(self.chunks, b"")
        chunk, self.left = chunk[:size], chunk[size:]
        self.given += len(chunk)
        if self.given > self.limit:
            raise DataError(
                f"{self.name}: holds more than the expected {self.limit} bytes: refused"
            )
        return chunk


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    _check_name(entry.filename, path)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or entry.flag_bits & 0x1:
        problem = "encrypted" if entry.flag_bits & 0x1 else "a link"
        raise DataError(f"{path.name}: {entry.filename!r} is {problem}: refused")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path.name}: {entry.filename!r} is packed by method {entry.compress_type},"
            " expected 0 or 8: refused"
        )


def _check_name(name: str, path: Path) -> None:
    if (
        not name
        or name.startswith("/")
        or re.match("[A-Za-z]:", name)
        or {"..", ""} & set(name.rstrip("/").split("/"))
        or "\\" in name
    ):
        raise DataError(f"{path.name}: has a member {name!r}, which leads elsewhere: refused")


def _write(chunks: Iterable[bytes], target: Path, limit: int, name: str) -> None:
    size = 0
    with files.replacing(target) as temporary, open(temporary, "wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise DataError(f"{name}: holds more than the expected {limit} bytes: refused")
            file.write(chunk)


def _read(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from _chunks(file)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _gunzip(path: Path) -> Iterator[bytes]:
    """The uncompressed bytes, at most CHUNK at a time, of a file with exactly one gzip member."""
    inflater = zlib.decompressobj(wbits=31)
    with open(path, "rb") as file:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or file.read(CHUNK)
            try:
                chunk = inflater.decompress(packed, CHUNK)
            except zlib.error as error:
                raise DataError(
                    f"{path.name}: is damaged or no gzip file ({error}): refused"
                ) from error
            if chunk:
                yield chunk
            elif not packed and not inflater.eof:
                raise DataError(f"{path.name}: is truncated after {file.tell()} bytes: refused")
        rest = inflater.unused_data + file.read(2)
    if rest[:2] == b"\x1f\x8b":
        raise DataError(f"{path.name}: has a second gzip member: refused")
    if rest:
        raise DataError(f"{path.name}: has garbage after its end: refused")
