"""Networks of the reference systems, untrained."""

from dcgan.config import reading, sections
from dcgan.training import fresh

PARAMS = reading.load(sections.AllParams)
MNIST_TF = {
    "channels": [256, 128, 64], "strides": [1, 2, 2], "kernel": 5, "padding": "same",
    "start": "projection", "start_size": 7, "start_norm": "flat", "start_activation": True,
    "norm": "batch", "norm_order": "before", "activation": "leaky_relu", "slope": 0.3,
    "bias": False, "z_dim": 100, "init": "glorot", "norm_momentum": 0.01, "norm_eps": 1e-3,
}  # fmt: skip
FASHION_ADAM = {
    **MNIST_TF, "channels": [128, 64], "strides": [2, 2], "start_norm": "map",
    "start_activation": False, "norm_order": "after", "activation": "selu", "bias": True,
}  # fmt: skip
CELEBA64 = {
    **MNIST_TF, "channels": [512, 256, 128, 64], "strides": [2, 2, 2, 2], "kernel": 4,
    "padding": "symmetric", "start": "transposed_conv", "start_size": 4, "start_norm": "map",
    "activation": "relu",
}  # fmt: skip
MNIST_TF_D = {
    "channels": [64, 128], "strides": [2, 2], "kernel": 5, "padding": "same", "norm": "none",
    "dropout": [0.3, 0.3], "slope": 0.3, "bias": True, "head": "linear", "spectral_norm": False,
    "init": "glorot",
}  # fmt: skip
CELEBA64_D = {
    **MNIST_TF_D, "channels": [64, 128, 256, 512], "strides": [2] * 4, "kernel": 4,
    "padding": "symmetric", "norm": "batch", "dropout": [0.0] * 4, "bias": False, "head": "conv",
}  # fmt: skip


def generator(values, image_channels=1):
    return fresh.generator(PARAMS.generator.model_copy(update=values), image_channels)


def discriminator(values, image_channels=1, image_size=28):
    return fresh.discriminator(
        PARAMS.discriminator.model_copy(update=values), image_channels, image_size
    )
