import numpy as np
import pytest
import torch

from dcgan import data
from dcgan.errors import ConfigError
from dcgan.networks import sampling
from dcgan.paper import concepts
from tests.support.by_hand import Blob, Pixels, normal


def test_exemplars_are_the_surest_that_are_taken_for_the_class():
    probabilities = np.array(
        [[0.4, 0.6], [0.7, 0.3], [0.9, 0.1], [0.45, 0.55], [0.7, 0.3], [0.6, 0.4]]
    )
    assert concepts.exemplars(probabilities, 0).tolist() == [2, 1, 4]
    assert concepts.exemplars(probabilities, 1).tolist() == [0, 3]


def test_where_the_latent_vector_is_the_image_both_arithmetics_agree():
    net = Pixels()
    z = 0.3 * torch.tanh(normal(9, 16))
    images = sampling.generate(net, z)
    made = concepts.arithmetic(
        net, z, images, [np.arange(3), np.arange(3, 6), np.arange(6, 9)], seed=1
    )
    expected = z[:3].mean(0) - z[3:6].mean(0) + z[6:].mean(0)
    assert (
        np.abs(made.result[4] - data.to_uint8(expected.view(1, 4, 4)).numpy().astype(int)).max()
        == 0
    )
    assert np.abs(made.pixel_result - made.result[4].astype(int)).max() <= 2
    assert np.abs(made.means - made.pixel_means.astype(int)).max() <= 1
    assert (made.exemplars == images.reshape(3, 3, 1, 4, 4)).all()
    away = np.abs(made.result.astype(int) - made.result[4]).reshape(9, -1).max(axis=1)
    assert away[4] == 0
    assert (np.delete(away, 4) > 8).all() and away.max() <= 0.25 * 127.5 + 1


def test_pixel_arithmetic_is_clipped_and_does_not_wrap():
    z = torch.stack([torch.full((16,), value) for value in (1.0, -1.0, 1.0)])
    net = Pixels()
    made = concepts.arithmetic(
        net, z, sampling.generate(net, z), [np.array([0]), np.array([1]), np.array([2])], seed=1
    )
    assert (made.pixel_result == 255).all()


def test_classes_are_found_by_name_or_by_the_rule():
    fashion = ["T-shirt/top", "Trouser", "Pullover", "Dress"]
    assert concepts.arithmetic_classes([], fashion) == [2, 0, 3]
    assert concepts.arithmetic_classes([], list("abcd")) == [0, 1, 2]
    assert concepts.arithmetic_classes(["d", "d", "a"], list("abcd")) == [3, 3, 0]
    assert concepts.arithmetic_classes([], ["a", "b"]) is None
    with pytest.raises(
        ConfigError,
        match=r"paper\.arithmetic names 'e': must be a class of the data set: a, b, c, d",
    ):
        concepts.arithmetic_classes(["a", "e", "b"], list("abcd"))


def test_the_centre_of_mass_is_that_of_what_differs_from_the_background():
    images = np.zeros((4, 3, 9, 11), np.uint8)
    images[0, 1, 4, 3] = 200
    images[1] = 255
    images[1, :, 2, 7] = 0
    images[2, 0, 3, 2], images[2, 0, 3, 8] = 30, 90  # a quarter and three quarters of the mass
    assert concepts.centres(images).tolist() == [3, 7, 6.5, 5]


def test_the_widest_group_is_chosen_and_small_groups_are_passed_over():
    centre = np.array([0, 9, 5, 5.5, 5, 4, 6, 4])
    groups = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    assert concepts.widest(centre, groups, 2).tolist() == [0, 1]
    assert concepts.widest(centre, groups, 3).tolist() == [5, 6, 7]
    assert concepts.widest(centre, groups, 4).tolist() == list(range(8))


def test_the_turn_vector_moves_a_planted_blob_from_left_to_right():
    net, z = Blob(), normal(200, 4)
    centre = concepts.centres(sampling.generate(net, z))
    turn = concepts.turn(z, centre, np.arange(100))
    assert sorted(z[:100, 0].argsort()[:4].tolist()) == sorted(turn.left.tolist())
    assert sorted(z[:100, 0].argsort()[-4:].tolist()) == sorted(turn.right.tolist())
    torch.testing.assert_close(turn.vector, z[turn.right].mean(0) - z[turn.left].mean(0))
    rows = concepts.moved(net, z[100:110], turn.vector, (-0.5, 0.0, 0.5))
    assert (rows[:, 1] == sampling.generate(net, z[100:110])).all()
    means = concepts.centres(rows.reshape(-1, 1, 21, 21)).reshape(10, 3).mean(axis=0)
    assert means[0] < means[1] - 2 and means[2] > means[1] + 2
