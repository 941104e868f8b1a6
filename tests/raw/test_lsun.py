import lmdb
import pytest

from dcgan.errors import DataError
from dcgan.raw import downloads
from dcgan.raw.dataset import Unreadable
from tests.raw.given import raw_of, read_all
from tests.support.tiny import section, write_lsun


def test_lsun_images_come_in_the_order_of_their_keys(tmp_path):
    values = write_lsun(tmp_path / "source", count=7)
    raw = raw_of(tmp_path, "lsun", tmp_path / "source")
    assert read_all(raw.pool) == [values[key] for key in sorted(values)]
    assert (raw.test, raw.pool.labels, raw.classes) == (None, None, ())
    assert raw.pool.digests == sorted(values)
    assert raw.pool.name(0) == f"train.mdb[{min(values).decode()}]"


def test_an_empty_value_in_the_database_is_one_unreadable_image(tmp_path):
    write_lsun(tmp_path / "source")
    database = tmp_path / "source" / "bedroom_train_lmdb"
    with (
        lmdb.open(str(database), map_size=1 << 20) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"!", b"")
    (tmp_path / "source" / "bedroom_train_lmdb.zip").unlink()
    pool = raw_of(tmp_path, "lsun", tmp_path / "source").pool
    with pytest.raises(Unreadable, match="is empty"):
        pool.read(0)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: b"", "is no LMDB file"),
        (lambda content: b"PK" * 5000, "is no LMDB file"),
        (lambda content: content[:8192], "is truncated"),
        (lambda content: content[:20], "LMDB file"),
        (lambda content: content[:-4096], "is truncated"),
    ],
)
def test_damaged_databases_are_refused(tmp_path, damage, complaint):
    write_lsun(tmp_path / "source")
    path = tmp_path / "source" / "bedroom_train_lmdb" / "data.mdb"
    (tmp_path / "source" / "bedroom_train_lmdb.zip").unlink()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"train\.mdb: .*{complaint}"):
        downloads.fetch(tmp_path / "raw", section("lsun", tmp_path / "source"))


def test_an_empty_database_is_refused(tmp_path):
    write_lsun(tmp_path / "source", count=0)
    with pytest.raises(DataError, match=r"train\.mdb: holds 0 images"):
        downloads.fetch(tmp_path / "raw", section("lsun", tmp_path / "source"))


def test_any_one_category_is_taken_from_its_zip_its_folder_or_its_database(tmp_path):
    values = write_lsun(tmp_path / "source", category="church_outdoor")
    database = tmp_path / "source" / "church_outdoor_train_lmdb"
    expected = [values[key] for key in sorted(values)]
    assert read_all(raw_of(tmp_path / "zip", "lsun", tmp_path / "source").pool) == expected
    (tmp_path / "source" / "church_outdoor_train_lmdb.zip").unlink()
    assert read_all(raw_of(tmp_path / "folder", "lsun", tmp_path / "source").pool) == expected
    assert read_all(raw_of(tmp_path / "file", "lsun", database).pool) == expected


def test_two_categories_are_refused_with_their_names(tmp_path):
    for category in ("bedroom", "tower"):
        write_lsun(tmp_path / "source", category=category)
    names = r"bedroom_train_lmdb\.zip, tower_train_lmdb\.zip"
    with pytest.raises(DataError, match=f"has 2 databases, {names}: expected one"):
        downloads.fetch(tmp_path / "raw", section("lsun", tmp_path / "source"))
