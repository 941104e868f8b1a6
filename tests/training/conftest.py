"""Images for the tests of the training."""

import numpy as np
import pytest


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
