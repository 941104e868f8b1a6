import functools
import gzip
import io
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib

import pytest

from dcgan.errors import DataError
from dcgan.raw import archives, downloads
from tests.raw.given import IMAGES, LABELS, copy_of, fashion

WANTED = "data/wanted.bin"
CONTENT = bytes(range(250)) * 40  # 10,000 bytes


@pytest.fixture
def path(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source" / "archive"


def member(name=WANTED, content=CONTENT, kind=tarfile.REGTYPE, **attributes):
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


gzipped = functools.partial(
    gzip.compress, mtime=0
)  # the bytes name tests: both workers must see the same ones


def tar(*members, form=tarfile.GNU_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return gzipped(buffer.getvalue(), compresslevel=1)


def untar(path, packed, limit=10_000):
    path.write_bytes(packed)
    archives.unpack_tar(path, {WANTED: path.parent.parent / "out.bin"}, limit)
    return (path.parent.parent / "out.bin").read_bytes()


def outside(path):
    """Everything but the archive itself."""
    return [found for found in path.parent.parent.rglob("*") if found not in (path, path.parent)]


def peak_memory(unpack, path, packed, complaint):
    """Bytes, while an archive is being refused."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=complaint):
            unpack(path, packed)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# tar


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_wanted_member_comes_out_whatever_lies_beside_it(path, form):
    folder = member("data", b"", tarfile.DIRTYPE)
    dated = member(mtime=1.5)  # which needs an extended header in the newest format
    assert (
        untar(
            path,
            tar(folder, member("data/readme", b"text"), dated, member("more", b"x"), form=form),
        )
        == CONTENT
    )
    assert outside(path) == [path.parent.parent / "out.bin"]


def pax(size):
    """An extended header that says it has `size` bytes."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    return info


SPARSE = member(kind=tarfile.GNUTYPE_SPARSE)
PAX_SPARSE = member(
    pax_headers={"GNU.sparse.map": "0,10", "GNU.sparse.size": "99999", "GNU.sparse.name": WANTED}
)


@pytest.mark.holds("R-56")
@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (tar(member("../x"), member()), "'../x', which leads elsewhere"),
        (tar(member("data/../../x"), member()), "leads elsewhere"),
        (tar(member("/abs"), member()), "'/abs', which leads elsewhere"),
        (tar(member("C:/x"), member()), "leads elsewhere"),
        (tar(member("", b""), member()), "leads elsewhere"),
        (tar(member("data", b"", tarfile.SYMTYPE, linkname="/tmp"), member()), "is of type b'2'"),
        (tar(member(WANTED, b"", tarfile.SYMTYPE, linkname="/etc/passwd")), "is of type b'2'"),
        (tar(member(), member("hard", b"", tarfile.LNKTYPE, linkname=WANTED)), "is of type b'1'"),
        (tar(member("null", b"", tarfile.CHRTYPE), member()), "is of type b'3'"),
        (tar(member("disk", b"", tarfile.BLKTYPE), member()), "is of type b'4'"),
        (tar(member("pipe", b"", tarfile.FIFOTYPE), member()), "is of type b'6'"),
        (tar(SPARSE), "is of type b'S'"),
        (tar(PAX_SPARSE, form=tarfile.PAX_FORMAT), "is sparse"),
        (tar(member("x" * 300), member(), form=tarfile.GNU_FORMAT), "is of type b'L'"),
        (tar(member("../" + "x" * 300), member(), form=tarfile.PAX_FORMAT), "leads elsewhere"),
        (
            tar(member(pax_headers={"comment": "x" * 70_000}), form=tarfile.PAX_FORMAT),
            "is of type b'x'",
        ),
        (tar(member(), member()), "comes twice"),
        (tar(member(WANTED, b"", tarfile.DIRTYPE)), "is no regular file"),
        (tar(member("other")), "has no data/wanted.bin"),
        (tar(), "has no data/wanted.bin"),
        (
            tar(*(member(f"f{number}", b"") for number in range(10_000))),
            "has more than 1000 members",
        ),
        (tar(member(content=CONTENT + b"x")), "holds more than the expected 10000 bytes"),
        (tar(member("beside", bytes(20 << 20)), member()), "holds more than the expected"),
        (tar(member())[:-20], "is truncated"),
        (tar(member()) + b"more", "has garbage after its end"),
        (tar(member()) + gzipped(b"more"), "has a second gzip member"),
        (gzipped(b"no tar" * 500), "is damaged or no tar file"),
        (gzipped(b""), "is damaged or no tar file|has no"),
        (gzipped(gzip.decompress(tar(member()))[:5000]), "is damaged or no tar file"),
        (b"BZh9", "is damaged or no gzip file"),
        (b"", "is truncated"),
    ],
)
def test_hostile_and_damaged_tars_are_refused_and_leave_nothing(path, packed, complaint):
    with pytest.raises(DataError, match=complaint):
        untar(path, packed)
    assert [found for found in outside(path) if found.name != "out.bin"] == []


@pytest.mark.holds("R-58", "R-61")
def test_neither_a_bomb_nor_a_giant_header_takes_memory_or_time(path):
    def bomb(*blocks):
        squeezer = zlib.compressobj(1, wbits=31)
        return b"".join(squeezer.compress(block) for block in blocks) + squeezer.flush()

    zeros = [bytes(1 << 20)] * 200
    big, _ = member("beside", b"")
    big.size = 200 << 20
    wanted, _ = member()
    wanted.size = 200 << 20
    for packed in (
        bomb(big.tobuf(), *zeros),
        bomb(wanted.tobuf(), *zeros),
        bomb(pax(200 << 20).tobuf(tarfile.USTAR_FORMAT), *zeros),
    ):
        start = time.monotonic()
        assert peak_memory(untar, path, packed, "refused") < 4_000_000
        assert time.monotonic() - start < 2


# zip


def zipped(*entries):
    """(name or ZipInfo, content) as a zip; a name may come twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return bytearray(buffer.getvalue())


def patched(packed, value, *, local, central):
    """The zip with a two-byte field of its first entry changed in both of its headers."""
    struct.pack_into("<H", packed, local, value)
    struct.pack_into("<H", packed, packed.index(b"PK\x01\x02") + central, value)
    return packed


def unzip(path, packed, limit=10_000):
    path.write_bytes(packed)
    archives.unpack_zip(path, WANTED, path.parent.parent / "out.bin", limit)
    return (path.parent.parent / "out.bin").read_bytes()


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


def overlapping():
    """The second entry's directory record points at the first entry's bytes."""
    packed = zipped((WANTED, CONTENT), ("other", CONTENT))
    second = packed.rindex(b"PK\x01\x02")
    struct.pack_into("<I", packed, second + 42, 0)
    return packed


def broken_crc():
    packed = zipped((WANTED, CONTENT))
    for offset in (14, packed.index(b"PK\x01\x02") + 16):
        packed[offset] ^= 1
    return packed


def test_the_wanted_entry_comes_out_of_a_zip(path):
    assert unzip(path, zipped(("data/", b""), ("data/readme", b"x"), (WANTED, CONTENT))) == CONTENT
    assert outside(path) == [path.parent.parent / "out.bin"]


@pytest.mark.holds("R-57")
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (lambda: zipped(("../x", b""), (WANTED, CONTENT)), "'../x', which leads elsewhere"),
        (lambda: zipped(("/abs", b""), (WANTED, CONTENT)), "leads elsewhere"),
        (lambda: zipped(("C:/x", b""), (WANTED, CONTENT)), "leads elsewhere"),
        (lambda: zipped(("a\\..\\x", b""), (WANTED, CONTENT)), "leads elsewhere"),
        (lambda: zipped((link("data"), b"/tmp"), (WANTED, CONTENT)), "'data' is a link"),
        (lambda: zipped((link(WANTED), b"/etc/passwd")), "is a link"),
        (lambda: zipped((WANTED, CONTENT), (WANTED, CONTENT)), "comes twice"),
        (overlapping, "lies over another|comes twice"),
        (
            lambda: patched(zipped((WANTED, CONTENT)), 1, local=6, central=8),
            "is encrypted: refused",
        ),
        (
            lambda: patched(zipped((WANTED, CONTENT)), 12, local=8, central=10),
            "is packed by method 12",
        ),
        (broken_crc, "is damaged .*CRC"),
        (lambda: zipped(("other", CONTENT)), "has no data/wanted.bin"),
        (lambda: zipped((WANTED, CONTENT + b"x")), "has 10001 bytes, more than the allowed 10000"),
        (lambda: zipped((WANTED, CONTENT))[:-30], "is damaged or no zip file"),
        (lambda: b"no zip", "is damaged or no zip file"),
        (lambda: b"", "is damaged or no zip file"),
    ],
)
def test_hostile_and_damaged_zips_are_refused_and_leave_nothing(path, packed, complaint):
    with pytest.raises(DataError, match=f"archive: .*{complaint}"):
        unzip(path, packed())
    assert outside(path) == []


@pytest.mark.holds("R-57")
def test_a_zip_that_hides_its_size_gives_no_more_than_it_declares(path):
    packed = zipped((WANTED, bytes(100 << 20)))
    directory = packed.index(b"PK\x01\x02")
    for offset in (22, directory + 24):
        struct.pack_into("<I", packed, offset, 10_000)
    assert peak_memory(unzip, path, packed, "is damaged") < 4_000_000
    assert outside(path) == []


@pytest.mark.holds("R-59")
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda packed: packed[:-9], "is truncated after"),
        (
            lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
            "incorrect data check",
        ),
        (lambda packed: packed + b"more", "has garbage after its end"),
        (lambda packed: packed + b"\x1f", "has garbage after its end"),
        (lambda packed: packed + gzip.compress(b"more"), "has a second gzip member"),
        (lambda packed: b"PK\x03\x04" + packed, "incorrect header check"),
    ],
)
def test_damaged_gzip_files_are_told_apart_and_named(tmp_path, idx_source, damage, complaint):
    source = copy_of(idx_source, tmp_path / "source")
    path = source / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{IMAGES}.gz: .*{complaint}"):
        downloads.fetch(tmp_path / "raw", fashion(str(source)))
    assert not (tmp_path / "raw").exists()


@pytest.mark.holds("R-58")
def test_a_gzip_bomb_is_stopped_at_its_expected_size(tmp_path, idx_source):
    source = copy_of(idx_source, tmp_path / "source")
    bomb = gzip.compress(struct.pack(">2I", 0x801, 100) + bytes(200 << 20), compresslevel=1)
    (source / f"{LABELS}.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{LABELS}.gz: holds more than the expected 108 bytes"):
            downloads.fetch(tmp_path / "raw", fashion(str(source)))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.holds("R-58")
def test_a_zip_bomb_is_refused_before_a_byte_is_written(path):
    packed = zipped((WANTED, bytes(100 << 20)))
    with pytest.raises(DataError, match="photographs cannot be packed so small: refused"):
        unzip(path, packed, limit=1 << 30)
    assert not (path.parent.parent / "out.bin").exists()


@pytest.mark.holds("R-58")
def test_a_member_that_is_something_else_is_refused_before_a_byte_is_written(path):
    def check(start):
        raise DataError(f"begins with {start[:3]!r}")

    path.write_bytes(zipped((WANTED, b"abc")))
    target = path.parent.parent / "out.bin"
    with pytest.raises(DataError, match="begins with b'abc'"):
        archives.unpack_zip(path, WANTED, target, 100, check)
    assert not target.exists()


def test_what_is_stored_in_a_zip_of_ours_has_no_time_and_is_not_compressed(tmp_path):
    for name in ("a.zip", "b.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archives.store(archive, "x/1.jpg", bytes(1000))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with archives.open_zip(tmp_path / "a.zip") as (archive, entries):
        entry = entries["x/1.jpg"]
        assert (entry.compress_size, entry.date_time[0]) == (1000, 1980)
        assert archive.read("x/1.jpg") == bytes(1000)
