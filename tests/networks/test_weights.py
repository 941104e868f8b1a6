"""Plain weights into a network, with spectral norm and without; test_models.py has the way out."""

import pytest
import torch

from dcgan.networks import weights
from tests.support.networks import MNIST_TF_D, discriminator


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_network_with_the_weights_of_an_export_gives_what_it_gave(spectral_norm):
    torch.manual_seed(0)
    values = {**MNIST_TF_D, "spectral_norm": spectral_norm}
    made, begun = discriminator(values).eval(), discriminator(values).eval()
    images = torch.randn(8, 1, 28, 28)
    weights.load_plain_weights(begun, weights.plain_weights(made))
    expected, found = made(images).detach(), begun(images).detach()
    # Its own estimate of the largest singular value differs a little from the first one's.
    assert torch.allclose(found, expected, rtol=0, atol=0.05 * expected.abs().max().item())
    assert begun.training is False
