from fnmatch import fnmatch

import pytest

from dcgan.errors import DataError
from dcgan.raw import catalog, downloads, records
from tests.support.tiny import (
    encoded,
    pictures,
    section,
    write_celeba,
    write_cifar,
    write_lsun,
    write_svhn,
    write_tree,
)


@pytest.mark.parametrize("name", ["cifar10", "svhn", "celeba", "lsun", "folder"])
def test_a_raw_file_with_other_bytes_than_were_downloaded_is_refused(tmp_path, name):
    source = tmp_path / "source"
    if name == "folder":
        write_tree(source, {"a.png": encoded(pictures(1)[0][0], "PNG")})
    else:
        {"cifar10": write_cifar, "svhn": write_svhn, "celeba": write_celeba, "lsun": write_lsun}[
            name
        ](source)
    dataset = section(name, source)
    downloads.fetch(tmp_path / "raw", dataset)
    data_set = catalog.DATA_SETS[name]
    for file in data_set.raw_files(tmp_path / "raw"):
        if any(fnmatch(file, pattern) for pattern in data_set.verified_when_read):
            continue
        path = tmp_path / "raw" / file
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(DataError, match=f"{file}: sha256 is"):
            records.open_raw(tmp_path / "raw", dataset, seed=1)
        path.write_bytes(good)
    (tmp_path / "raw" / file).unlink()
    with pytest.raises(DataError, match=f"{file}: missing"):
        records.open_raw(tmp_path / "raw", dataset, seed=1)
