import gzip

import pytest

from dcgan.raw.mnist import IDX_NAMES
from tests.raw.given import (
    CONTENT,
    Server,
    pin,
)


@pytest.fixture
def server(idx_source):
    server = Server({path.name: path.read_bytes() for path in idx_source.iterdir()})
    yield server
    server.close()


@pytest.fixture
def pins(idx_source):
    return {
        name: pin(gzip.decompress((idx_source / f"{name}.gz").read_bytes())) for name in IDX_NAMES
    }


@pytest.fixture
def store():
    """A second server, to which the first may redirect."""
    store = Server({"weights.pth": CONTENT, "weights.pth?signature=canary": CONTENT})
    yield store
    store.close()


@pytest.fixture(autouse=True)
def scratch_of_its_own(tmp_path_factory, monkeypatch):
    """A folder is packed by way of `.scratch`, which lies in the workspace."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path_factory.mktemp("workspace")))
