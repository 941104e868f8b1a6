"""A draw depends on its arguments and on nothing else."""

import pytest
import torch

from dcgan import rng


def test_every_epoch_visits_each_image_once_in_an_order_of_its_own():
    orders = [rng.epoch_order(100, 7, epoch) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[1], rng.epoch_order(100, 7, 1))


ARGUMENTS = {"seed": 7, "stream": "z", "step": 3}


@pytest.mark.parametrize("changed", [{"seed": 8}, {"stream": "x"}, {"step": 4}], ids=str)
def test_the_same_arguments_draw_the_same_and_each_other_one_something_else(changed):
    def draw(**arguments):
        return torch.rand(9, generator=rng.generator(**arguments)).tolist()

    first = draw(**ARGUMENTS)
    torch.rand(5)  # the global generator has no say
    assert draw(**ARGUMENTS) == first != draw(**ARGUMENTS | changed)
    assert rng.derive(**ARGUMENTS) != rng.derive(**ARGUMENTS | changed)


def test_a_draw_leaves_the_global_generator_as_it_was():
    before = torch.get_rng_state()
    rng.epoch_order(10, 7, 1)
    rng.choose(10, 3, 7, "x")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_order_depends_on_the_seed():
    assert not torch.equal(rng.epoch_order(100, 7, 1), rng.epoch_order(100, 8, 1))


def test_what_is_chosen_are_different_numbers_and_all_of_them_where_there_are_fewer():
    chosen = rng.choose(50, 20, 7, "probe").tolist()
    assert len(set(chosen)) == 20 and set(chosen) < set(range(50))
    assert chosen != sorted(chosen)
    assert chosen != rng.choose(50, 20, 7, "other").tolist()
    assert chosen != rng.choose(50, 20, 7, "probe", 1).tolist()
    assert sorted(rng.choose(5, 20, 7, "probe").tolist()) == list(range(5))
