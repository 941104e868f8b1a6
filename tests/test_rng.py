"""A draw depends on its arguments and on nothing else."""

import numpy as np
import pytest
import torch

from dcgan import rng


def order(num_images, seed, epoch):
    return rng.epoch_rows(np.arange(num_images), num_images, seed, epoch)


@pytest.mark.holds("R-05")
def test_every_epoch_visits_each_image_once_in_an_order_of_its_own():
    for num_images in [*range(1, 70), 100, 255, 256, 257, 1000, 50_000]:
        orders = [order(num_images, 7, epoch) for epoch in range(2)]
        assert all((np.sort(each) == np.arange(num_images)).all() for each in orders)
        assert num_images < 20 or (orders[0] != orders[1]).any()
    assert (orders[1] == order(50_000, 7, 1)).all()


@pytest.mark.holds("R-05")
def test_a_part_of_an_order_is_that_part():
    whole = order(1000, 7, 3)
    assert (rng.epoch_rows(np.arange(400, 450), 1000, 7, 3) == whole[400:450]).all()


@pytest.mark.parametrize("num_images", [10, 25, 64])
def test_an_order_is_as_even_as_a_drawn_one(num_images):
    """Every image at every place, and after every other one, as often as by chance."""
    orders = np.stack([order(num_images, seed, 1) for seed in range(3000)])
    pairs = num_images * (num_images - 1)
    places, following = np.zeros((2, num_images, num_images))
    for each in orders:
        places[each, np.arange(num_images)] += 1
        following[each[:-1], each[1:]] += 1
    for counts, expected, degrees in (
        (places, 3000 / num_images, (num_images - 1) ** 2),
        (following[~np.eye(num_images, dtype=bool)], 3000 * (num_images - 1) / pairs, pairs - 1),
    ):
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - degrees) < 5 * np.sqrt(2 * degrees)


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
    order(10, 7, 1)
    rng.choose(10, 3, 7, "x")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_order_depends_on_the_seed():
    assert (order(100, 7, 1) != order(100, 8, 1)).any()


def test_what_is_chosen_are_different_numbers_and_all_of_them_where_there_are_fewer():
    chosen = rng.choose(50, 20, 7, "probe").tolist()
    assert len(set(chosen)) == 20 and set(chosen) < set(range(50))
    assert chosen != sorted(chosen)
    assert chosen != rng.choose(50, 20, 7, "other").tolist()
    assert chosen != rng.choose(50, 20, 7, "probe", 1).tolist()
    assert sorted(rng.choose(5, 20, 7, "probe").tolist()) == list(range(5))


@pytest.mark.parametrize("changed", [{"seed": 8}, {"stream": "x"}, {"step": 4}], ids=str)
def test_draws_depend_on_their_arguments_alone(changed):
    def draw(**arguments):
        draws = rng.Draws(**arguments)
        return [*draws.normal(9).tolist(), *draws.uniform(9).tolist()]

    first = draw(**ARGUMENTS)
    torch.rand(5)
    assert draw(**ARGUMENTS) == first
    assert not set(draw(**ARGUMENTS | changed)) & set(first)


def test_draws_have_their_distributions():
    draws = rng.Draws(**ARGUMENTS)
    normal, uniform = draws.normal(300, 100), draws.uniform(300, 100, low=-1.0)
    assert abs(normal.mean()) < 0.02 and normal.std() == pytest.approx(1, abs=0.01)
    assert -1 <= uniform.min() < -0.999 and 0.999 < uniform.max() < 1
    assert abs(uniform.mean()) < 0.02
    counts = draws.integers(30_000, low=-2, high=2).unique(return_counts=True)
    assert counts[0].tolist() == [-2, -1, 0, 1, 2]
    assert counts[1].min() > 5_500
    assert not torch.equal(draws.normal(9), draws.normal(9))


def test_streams_go_from_step_to_step_at_the_same_place_and_draw_what_draws_draw():
    streams = rng.Streams(torch.device("cpu"))
    for step in (3, 4):
        streams.begin(7, step)
        assert torch.equal(streams.draws("z").normal(5), rng.Draws(7, "z", step).normal(5))
        assert torch.equal(
            torch.rand(5, generator=streams.generator("mask")),
            torch.rand(5, generator=rng.generator(7, "mask", step)),
        )
    key = streams.draws("z")._key.data_ptr()
    streams.begin(8, 4)
    assert streams.draws("z")._key.data_ptr() == key
    # What is first drawn from later begins at that step.
    assert torch.equal(streams.draws("late").uniform(5), rng.Draws(8, "late", 4).uniform(5))


@pytest.mark.parametrize("count", [3, 4, 9, 10, 11, 16])
def test_of_each_class_its_share_is_drawn_one_image_too(count):
    labels = np.arange(1000) % 10
    chosen = rng.choose_of_each(labels, count, 7, "x")
    assert len(chosen) == len(set(chosen)) == count and (np.diff(chosen) > 0).all()
    assert np.bincount(labels[chosen]).max() == -(-count // 10)
