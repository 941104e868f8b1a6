import numpy as np
import pytest
import torch

from dcgan.networks import batches


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray], ids=["tensor", "array"])
def test_the_last_batch_is_filled_with_zeros(kind):
    rows = kind(np.arange(1, 11, dtype=np.uint8).reshape(5, 2))
    made = list(batches.padded(rows, 3))
    assert [(batch.tolist(), real) for batch, real in made] == [
        ([[1, 2], [3, 4], [5, 6]], 3),
        ([[7, 8], [9, 10], [0, 0]], 2),
    ]
    assert all(batch.dtype == torch.uint8 for batch, _ in made)


def test_no_rows_make_no_batch():
    assert list(batches.padded(torch.zeros(0, 2), 3)) == []
