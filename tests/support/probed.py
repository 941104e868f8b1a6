"""A discriminator to probe."""

from dcgan.config.sections import DiscriminatorParams
from dcgan.training import fresh


def discriminator():
    params = DiscriminatorParams(
        channels=[4, 8], strides=[2, 2], kernel=5, padding="same", norm="batch",
        norm_momentum=0.1, norm_eps=1e-5, slope=0.2,
        dropout=[0.3, 0.3], bias=True, head="linear", spectral_norm=False, init="glorot",
    )  # fmt: skip
    return fresh.discriminator(params, 1, 28).eval()
