from pathlib import Path

import pytest

from tests.support.idx_source import write_idx_source


@pytest.fixture(scope="session")
def idx_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 train and 100 test images of generated shapes, as `dataset.source` takes them.

    Shared by all tests, so none may change it.
    """
    folder = tmp_path_factory.mktemp("source")
    write_idx_source(folder, num_train=200, num_test=100)
    return folder
