import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from dcgan.training.losses import LOSSES

REAL, FAKE = torch.tensor([0.5, -2.0, 30.0]), torch.tensor([1.0, -1.0, 50.0])


def labels(value: float) -> torch.Tensor:
    return torch.full((3,), float(value))


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_d_minimises_the_sum_of_two_cross_entropies(name):
    expected = cross_entropy(REAL, labels(1)) + cross_entropy(FAKE, labels(0))
    torch.testing.assert_close(LOSSES[name].discriminator(REAL, FAKE, 0.0), expected)


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_smoothing_lowers_the_labels_of_real_images_and_leaves_those_of_fakes(name):
    expected = cross_entropy(REAL, labels(0.9)) + cross_entropy(FAKE, labels(0))
    torch.testing.assert_close(LOSSES[name].discriminator(REAL, FAKE, 0.1), expected)


def test_g_maximises_what_d_believes_or_minimises_what_it_does_not():
    torch.testing.assert_close(
        LOSSES["non_saturating"].generator(FAKE), cross_entropy(FAKE, labels(1))
    )
    torch.testing.assert_close(LOSSES["minimax"].generator(FAKE), -cross_entropy(FAKE, labels(0)))


def test_minimax_hardly_moves_g_where_d_is_sure_and_non_saturating_does():
    slopes = {}
    for name in ("non_saturating", "minimax"):
        fake = torch.full((1,), -10.0, requires_grad=True)
        LOSSES[name].generator(fake).backward()
        slopes[name] = fake.grad.item()
    assert slopes["minimax"] == pytest.approx(-4.5e-5, rel=0.01)
    assert slopes["non_saturating"] == pytest.approx(-1, rel=0.01)


def test_least_squares_are_half_squared_distances_from_the_labels():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.0])
    assert LOSSES["least_squares"].discriminator(real, fake, 0.0).item() == pytest.approx(
        (0 + 4) / 4 + (4 + 0) / 4
    )
    assert LOSSES["least_squares"].discriminator(real, fake, 0.5).item() == pytest.approx(
        (0.25 + 6.25) / 4 + 1
    )
    assert LOSSES["least_squares"].generator(fake).item() == pytest.approx((1 + 1) / 4)


def test_hinge_stops_at_its_margin():
    assert LOSSES["hinge"].discriminator(
        torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 0.0]), 0.0
    ).item() == pytest.approx(1.0)
    assert LOSSES["hinge"].generator(torch.tensor([2.0, 4.0])).item() == -3
