import numpy as np
import pytest
import torch

from dcgan import data
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


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray], ids=["tensor", "array"])
def test_a_network_gets_floats_channels_last_and_the_bytes_stay_as_they_are(kind):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    before = images.copy()
    made = batches.on_device(kind(images), torch.device("cpu"))
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(made, data.to_float(before))
    assert np.array_equal(images, before)
