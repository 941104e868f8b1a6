import pytest
import torch

from dcgan.rng import Draws
from dcgan.training.augment import augment

IMAGES = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
ALL = ["color", "translation", "cutout"]


def drawn(seed: int) -> Draws:
    return Draws(seed, "augment", 0)


def test_nothing_asked_for_changes_nothing():
    assert augment(IMAGES, [], drawn(1)) is IMAGES


@pytest.mark.parametrize("name", ALL)
def test_draws_come_from_the_given_generator_and_differ_from_image_to_image(name):
    same = IMAGES[:1].expand(8, -1, -1, -1)
    one, two, other = (augment(same, [name], drawn(seed)) for seed in (1, 1, 2))
    torch.rand(5)  # the global generator has no say
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    assert one.shape == same.shape


@pytest.mark.parametrize("name", ALL)
def test_gradients_come_through(name):
    images = IMAGES.clone().requires_grad_()
    augment(images, [name], drawn(1)).square().sum().backward()
    assert images.grad.abs().sum() > 0


def test_the_gradient_of_a_shift_is_torchs_own_and_has_a_gradient_itself():
    images = torch.randn(5, 2, 8, 8, dtype=torch.float64, requires_grad=True)

    def shifted(images):
        return augment(images, ["translation"], drawn(3))

    assert torch.autograd.gradcheck(shifted, images)
    assert torch.autograd.gradgradcheck(lambda images: shifted(images).square(), images)


def test_color_changes_brightness_contrast_and_saturation_within_their_ranges():
    changed = augment(IMAGES, ["color"], drawn(1))
    shift = changed.mean(dim=(1, 2, 3)) - IMAGES.mean(dim=(1, 2, 3))
    assert shift.abs().max() <= 0.5
    assert shift.abs().max() > 0.3
    contrast = changed.mean(dim=1).std(dim=(1, 2)) / IMAGES.mean(dim=1).std(dim=(1, 2))
    assert 0.5 <= contrast.min() < 0.7
    assert 1.3 < contrast.max() <= 1.5


def test_translation_shifts_by_at_most_an_eighth_and_fills_with_zeros():
    images = torch.zeros(200, 1, 16, 16)
    images[:, :, 8, 8] = 1
    places = augment(images, ["translation"], drawn(1)).nonzero()
    assert len(places) == 200
    assert set((places[:, 2] - 8).tolist()) == set((places[:, 3] - 8).tolist()) == {-2, -1, 0, 1, 2}
    values = augment(torch.ones(50, 1, 16, 16), ["translation"], drawn(2)).unique()
    assert values.tolist() == [0.0, 1.0]


def test_cutout_empties_a_square_of_half_the_side_at_most():
    holes = (augment(torch.ones(300, 2, 16, 16), ["cutout"], drawn(1)) == 0).sum(dim=(1, 2, 3)) / 2
    assert holes.max() == 64
    assert holes.min() >= 16
