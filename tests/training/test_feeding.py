"""The batches are the same rows in the same order, however they come to the device."""

import numpy as np
import pytest
import torch

from dcgan import data, rng
from dcgan.training import feeding

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 4), dtype=np.uint8)
OPTIONS = {"steps_per_epoch": 3, "batch_size": 4, "seed": 7, "device": torch.device("cpu")}


@pytest.mark.holds("R-05")
@pytest.mark.parametrize("resident", [False, True])
def test_each_step_has_its_rows_of_the_epochs_order(resident, monkeypatch):
    monkeypatch.setattr(feeding, "fits", lambda num_bytes, device: resident)
    for step, batch in zip(range(6), feeding.batches(IMAGES, range(6), **OPTIONS), strict=True):
        epoch, index = divmod(step, 3)
        rows = rng.epoch_rows(np.arange(10)[4 * index : 4 * index + 4], 10, 7, epoch)
        assert torch.equal(batch, data.to_float(IMAGES[rows]))
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert len(batch) == (2 if index == 2 else 4)


def test_a_batch_that_was_given_out_does_not_change():
    given = []
    for batch in feeding.batches(IMAGES, range(9), **OPTIONS):
        given.append((batch, batch.clone()))
    assert all(torch.equal(batch, copy) for batch, copy in given)


@pytest.mark.holds("R-05")
def test_it_starts_at_any_step_and_without_steps_gives_nothing():
    whole = list(feeding.batches(IMAGES, range(6), **OPTIONS))
    rest = list(feeding.batches(IMAGES, range(4, 6), **OPTIONS))
    assert all(torch.equal(one, two) for one, two in zip(whole[4:], rest, strict=True))
    assert list(feeding.batches(IMAGES, range(6, 6), **OPTIONS)) == []


def test_images_that_cannot_be_read_end_the_training():
    class Damaged(np.ndarray):
        def take(self, *args, **options):
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        next(iter(feeding.batches(IMAGES.view(Damaged), range(3), **OPTIONS)))
