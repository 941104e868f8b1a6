"""A draw depends on its arguments and on nothing else."""

import torch

from dcgan import rng


def test_every_epoch_visits_each_image_once_in_an_order_of_its_own():
    orders = [rng.epoch_order(100, 7, epoch) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[1], rng.epoch_order(100, 7, 1))
