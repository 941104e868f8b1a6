import hashlib
import random
from dataclasses import replace

import pytest

from dcgan.errors import DataError
from dcgan.raw import catalog, downloads
from dcgan.raw.mnist import IDX_NAMES, MNIST
from tests.raw.given import IMAGES, WRITE, fashion, serve, tree
from tests.support.tiny import section


@pytest.mark.parametrize("name", list(WRITE))
def test_any_flipped_byte_of_a_publishers_file_is_refused(tmp_path, monkeypatch, name):
    WRITE[name](tmp_path / "source")
    server = serve(tmp_path / "source")
    served = [file.names[0] for file in catalog.DATA_SETS[name].files]
    digests = {file: f"md5:{hashlib.md5(server.files[file]).hexdigest()}" for file in served}
    data_set = replace(
        catalog.DATA_SETS[name], mirrors=(server.url,), digests=digests, pins={}, by_hand=""
    )
    monkeypatch.setitem(catalog.DATA_SETS, name, data_set)
    assert downloads.fetch(tmp_path / "raw", section(name, None)) == server.url
    (tmp_path / "raw" / "manifest.json").unlink()  # else nothing is fetched again
    before, good = tree(tmp_path / "raw"), dict(server.files)
    draw = random.Random(0)
    for _ in range(20):
        file = draw.choice(served)
        content = bytearray(good[file])
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        server.files = {**good, file: bytes(content)}
        with pytest.raises(
            DataError, match=f"{file}: md5 is [0-9a-f]{{32}}, expected [0-9a-f]{{32}}: refused"
        ):
            downloads.fetch(tmp_path / "raw", section(name, None))
    assert tree(tmp_path / "raw") == before
    server.close()


def test_a_publishers_file_without_a_digest_is_refused(tmp_path, server, monkeypatch):
    server.files = {name: b"plain" for name in IDX_NAMES}
    monkeypatch.setitem(catalog.DATA_SETS, "mnist", replace(MNIST, mirrors=(server.url,)))
    with pytest.raises(DataError, match=f"{IMAGES}: nobody published a digest"):
        downloads.fetch(tmp_path / "raw", section("mnist", None))


def test_a_folder_without_the_files_is_refused_by_their_names(tmp_path):
    with pytest.raises(
        DataError, match=f"{tmp_path}/none: {IMAGES}.gz and {IMAGES} are both missing"
    ):
        downloads.fetch(tmp_path / "raw", fashion(str(tmp_path / "none")))
