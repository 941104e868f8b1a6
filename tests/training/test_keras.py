"""The three Keras systems, written in Keras itself (on torch) and ported weight by weight.

They give the same images, the same logits and the same steps.
"""

import copy
import os
from pathlib import Path

import pytest
import torch

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras

from dcgan import data
from dcgan.config import recipes
from dcgan.training.step import train_step
from tests.support import small_training

layers = keras.layers
CPU = torch.device("cpu")


def mnist_tf():
    generator = keras.Sequential([
        layers.Input((100,)),
        layers.Dense(7 * 7 * 256, use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(),
        layers.Reshape((7, 7, 256)),
        layers.Conv2DTranspose(128, 5, strides=1, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.LeakyReLU(),
        layers.Conv2DTranspose(64, 5, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.LeakyReLU(),
        layers.Conv2DTranspose(1, 5, strides=2, padding="same", use_bias=False, activation="tanh"),
    ])  # fmt: skip
    return generator, discriminator(slope=0.3)


def selu(z_dim):
    generator = keras.Sequential([
        layers.Input((z_dim,)),
        layers.Dense(7 * 7 * 128), layers.Reshape((7, 7, 128)), layers.BatchNormalization(),
        layers.Conv2DTranspose(64, 5, strides=2, padding="same", activation="selu"),
        layers.BatchNormalization(),
        layers.Conv2DTranspose(1, 5, strides=2, padding="same", activation="tanh"),
    ])  # fmt: skip
    return generator, discriminator(slope=0.2)


def discriminator(slope):
    return keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(64, 5, strides=2, padding="same"), layers.LeakyReLU(negative_slope=slope),
        layers.Conv2D(128, 5, strides=2, padding="same"), layers.LeakyReLU(negative_slope=slope),
        layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip


SYSTEMS = {
    "mnist-tf": mnist_tf,
    "fashion-rmsprop": lambda: selu(32),
    "fashion-adam": lambda: selu(100),
}


@pytest.fixture(params=SYSTEMS)
def system(request):
    return build(request.param, seed=1)


def build(name, seed):
    """Keras's networks, and ours with the same weights; dropout off."""
    keras.utils.set_random_seed(seed)
    theirs = SYSTEMS[name]()
    params = recipes.load(Path("recipes") / f"{name}.yaml").params
    no_dropout = params.discriminator.model_copy(update={"dropout": [0.0, 0.0]})
    params = params.model_copy(update={"discriminator": no_dropout, "batch_size": 8})
    state = small_training.build(params, 1, CPU)
    for network, model in ((state.generator, theirs[0]), (state.discriminator, theirs[1])):
        network.load_state_dict(
            dict(zip(network.state_dict(), ported(network, model), strict=True))
        )
    return params, state, theirs


def ported(network, model) -> list[torch.Tensor]:
    """Keras's weights in the order and the layout of our state_dict.

    H W C becomes C H W, kernels become out x in x H x W.
    """
    values = [
        torch.as_tensor(weight.numpy() if hasattr(weight, "numpy") else weight)
        for weight in model.get_weights()
    ]
    weights = [
        torch.tensor(0)
        if name.endswith("num_batches_tracked")
        else relaid(values.pop(0), name, network)
        for name in network.state_dict()
    ]
    assert not values
    return weights


def relaid(value: torch.Tensor, name: str, network) -> torch.Tensor:
    shape = network.state_dict()[name].shape
    if value.dim() == 4:
        # Kernels: H W in out, and H W out in where transposed; torch has out in H W, and in out
        # H W.
        return value.permute(3, 2, 0, 1)
    flat = shape[0]
    # The projection, and its batch norm.
    if name.startswith("start.0") or (name.startswith("start.1") and flat > 256):
        value = value.reshape(-1, 7, 7, flat // 49).permute(3, 1, 2, 0).reshape(flat, -1)
        return value.reshape(shape)
    if name.startswith("head") and value.dim() == 2:
        return value.reshape(7, 7, 128, 1).permute(3, 2, 0, 1).reshape(1, -1)
    return value


def nhwc(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 2, 3, 1).contiguous()


def drawn(params, count=8):
    rng = torch.Generator().manual_seed(3)
    z = torch.randn(count, params.generator.z_dim, generator=rng)
    return z, torch.rand(count, 1, 28, 28, generator=rng) * 2 - 1


@pytest.mark.parametrize("training_mode", [False, True])
@torch.no_grad()
def test_ported_networks_give_the_same_images_and_logits(system, training_mode):
    params, state, (generator, critic) = system
    z, images = drawn(params)
    ours, theirs = state.generator.train(training_mode)(z), generator(z, training=training_mode)
    torch.testing.assert_close(nhwc(ours), theirs, rtol=0, atol=1e-5)
    ours = state.discriminator.train(training_mode)(images)
    theirs = critic(nhwc(images), training=training_mode)[:, 0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def keras_step(params, generator, critic, real, latent):
    """One update as the sources write it."""
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    settings = {"learning_rate": params.lr, "epsilon": 1e-7}
    if params.training.optimizer == "rmsprop_keras":
        opt_g, opt_d = (keras.optimizers.RMSprop(**settings) for _ in range(2))
    else:
        opt_g, opt_d = (keras.optimizers.Adam(**settings) for _ in range(2))

    def z():
        return latent.normal(len(real), params.generator.z_dim)

    def gradients(loss, model):
        return torch.autograd.grad(
            loss, [weight.value for weight in model.trainable_weights], retain_graph=True
        )

    def update(optimizer, model, weight_gradients):
        with torch.no_grad():
            optimizer.apply(weight_gradients, model.trainable_weights)

    if params.training.update == "simultaneous":
        fake = generator(z(), training=True)
        real_logits, fake_logits = critic(real, training=True), critic(fake, training=True)
        loss_d = cross_entropy(torch.ones_like(real_logits), real_logits) + cross_entropy(
            torch.zeros_like(fake_logits), fake_logits
        )
        loss_g = cross_entropy(torch.ones_like(fake_logits), fake_logits)
        gradients_d, gradients_g = gradients(loss_d, critic), gradients(loss_g, generator)
        update(opt_d, critic, gradients_d)
        update(opt_g, generator, gradients_g)
        return
    fake = generator(z(), training=False).detach()
    logits = critic(torch.cat([fake, real]), training=True)
    labels = torch.cat([torch.zeros(len(real), 1), torch.ones(len(real), 1)])
    update(opt_d, critic, gradients(cross_entropy(labels, logits), critic))
    logits = critic(generator(z(), training=True), training=True)
    update(opt_g, generator, gradients(cross_entropy(torch.ones_like(logits), logits), generator))


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_step_moves_every_weight_as_keras_does(name):
    # A value within rounding of an activation's kink may fall to either side of it, and RMSprop
    # makes 1e-4 of that. So the step is compared from that of ten beginnings whose values keep
    # farthest away from the kinks, whatever comes of it.
    steps = (step(name, seed) for seed in range(1, 11))
    difference, nearest = max(steps, key=lambda pair: pair[1])
    assert nearest > 5e-8, "every beginning has a value at a kink"
    assert difference <= 1e-5


def step(name, seed):
    """Largest difference of a weight after one step, and the smallest value in an activation.

    The second is the least absolute value that enters one.
    """
    from dcgan import rng

    params, state, (generator, critic) = build(name, seed)
    sizes: list[float] = []
    for module in [*state.generator.modules(), *state.discriminator.modules()]:
        if isinstance(module, torch.nn.LeakyReLU | torch.nn.SELU):
            module.register_forward_pre_hook(
                lambda _, inputs: sizes.append(inputs[0].detach().abs().min().item())
            )
    real = data.to_float(data.to_uint8(drawn(params)[1]))
    before = copy.deepcopy(state.generator.state_dict())
    train_step(
        state, real, seed=params.seed, training=params.training, precision="float32", measure=False
    )
    keras_step(params, generator, critic, nhwc(real), rng.Draws(params.seed, "z", 0))
    assert not torch.equal(
        before["layers.0.weight"], state.generator.state_dict()["layers.0.weight"]
    )
    largest = 0.0
    for network, model in ((state.generator, generator), (state.discriminator, critic)):
        expected = dict(zip(network.state_dict(), ported(network, model), strict=True))
        for key, weight in network.named_parameters():
            largest = max(largest, (weight.detach() - expected[key]).abs().max().item())
    return largest, min(sizes)


def test_parameter_totals_are_keras(system):
    from dcgan.networks.summary import count_parameters

    _, state, (generator, critic) = system
    assert sum(count_parameters(state.generator)) == generator.count_params()
    assert sum(count_parameters(state.discriminator)) == critic.count_params() == 212_865
