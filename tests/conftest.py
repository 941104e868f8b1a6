import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.idx_source import write_idx_source
from tests.support.imports import ROOT


@pytest.fixture(scope="session")
def idx_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 train and 100 test images of generated shapes, as `dataset.source` takes them.

    Shared by all tests, so none may change it.
    """
    folder = tmp_path_factory.mktemp("source")
    write_idx_source(folder, num_train=200, num_test=100)
    return folder


@pytest.fixture(autouse=True)
def path_restored() -> Iterator[None]:
    """What a test puts on sys.path goes with it, and our package stays first.

    MLflow puts a loaded model's own code there, a part of our package: a process that is started
    later would find no more than that.
    """
    ours = str(ROOT / "src")
    before = [ours, *(path for path in sys.path if path != ours)]
    yield
    sys.path[:] = before
