"""The paper's experiments: closed forms on networks made by hand."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from dcgan import data, rng
from dcgan.config import reading
from dcgan.config.sections import DiscriminatorParams, GeneratorParams
from dcgan.errors import ConfigError
from dcgan.networks import sampling
from dcgan.networks.models import Discriminator, Generator
from dcgan.paper import concepts, experiments, investigate, panels

CLASSES = ["left", "middle", "right"]


def generator(**changes) -> Generator:
    values = {
        "z_dim": 4, "z_distribution": "normal", "start": "projection", "start_size": 4, "start_norm": "none",
        "start_activation": True, "channels": [4, 2], "strides": [2, 2], "kernel": 4, "padding": "same", "norm": "none",
        "norm_order": "before",
        "norm_momentum": 0.1, "norm_eps": 1e-3, "activation": "relu", "slope": 0.2, "bias": False, "init": "glorot",
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Generator(GeneratorParams(**{**values, **changes}), 1).eval()


def discriminator(size: int = 4, **changes) -> Discriminator:
    values = {
        "channels": [4, 1], "strides": [1, 1], "kernel": 1, "padding": "symmetric", "norm": "none", "norm_momentum": 0.1,
        "norm_eps": 1e-3, "slope": 0.3, "dropout": [0.0, 0.0], "bias": False, "head": "linear",
        "spectral_norm": False, "init": "glorot",
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Discriminator(DiscriminatorParams(**{**values, **changes}), 1, size).eval()


class Pixels(nn.Module):
    """A generator whose latent vector is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z.view(-1, 1, 4, 4) * self.weight


class Blob(nn.Module):
    """A generator of a blob whose place is the first latent value and whose brightness is the second."""

    params = generator().params

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        place = 10 + 5 * torch.tanh(z[:, 0]) * self.weight
        row = torch.exp(-((torch.arange(21.0) - place[:, None]) ** 2) / 4) * (
            1 + torch.sigmoid(z[:, 1:2])
        )
        image = row[:, None, None, :] * (torch.arange(21) - 10).abs().lt(4)[None, None, :, None]
        return image.clamp(max=2) - 1


def normal(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, width), generator=rng.generator(seed, "test"))


def state(network: nn.Module) -> tuple:
    hooks = [
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for m in network.modules()
    ]
    return [value.clone() for value in network.state_dict().values()], network.training, sum(hooks)


def same(before: tuple, after: tuple) -> bool:
    return all(map(torch.equal, before[0], after[0])) and before[1:] == after[1:]


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
    found = concepts.arithmetic(
        net, z, images, [np.arange(3), np.arange(3, 6), np.arange(6, 9)], seed=1
    )
    expected = z[:3].mean(0) - z[3:6].mean(0) + z[6:].mean(0)
    assert (
        np.abs(found.result[4] - data.to_uint8(expected.view(1, 4, 4)).numpy().astype(int)).max()
        == 0
    )
    assert np.abs(found.pixel_result - found.result[4].astype(int)).max() <= 2
    assert np.abs(found.means - found.pixel_means.astype(int)).max() <= 1
    assert (found.exemplars == images.reshape(3, 3, 1, 4, 4)).all()
    away = np.abs(found.result.astype(int) - found.result[4]).reshape(9, -1).max(axis=1)
    assert away[4] == 0
    assert (np.delete(away, 4) > 8).all() and away.max() <= 0.25 * 127.5 + 1


def test_pixel_arithmetic_is_clipped_and_does_not_wrap():
    z = torch.stack([torch.full((16,), value) for value in (1.0, -1.0, 1.0)])
    net = Pixels()
    found = concepts.arithmetic(
        net, z, sampling.generate(net, z), [np.array([0]), np.array([1]), np.array([2])], seed=1
    )
    assert (found.pixel_result == 255).all()


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
    found = concepts.turn(z, centre, np.arange(100))
    assert sorted(z[:100, 0].argsort()[:4].tolist()) == sorted(found.left.tolist())
    assert sorted(z[:100, 0].argsort()[-4:].tolist()) == sorted(found.right.tolist())
    torch.testing.assert_close(found.vector, z[found.right].mean(0) - z[found.left].mean(0))
    rows = concepts.moved(net, z[100:110], found.vector, (-0.5, 0.0, 0.5))
    assert (rows[:, 1] == sampling.generate(net, z[100:110])).all()
    means = concepts.centres(rows.reshape(-1, 1, 21, 21)).reshape(10, 3).mean(axis=0)
    assert means[0] < means[1] - 2 and means[2] > means[1] + 2


def test_guided_gradients_are_those_computed_by_hand():
    """One pixel of value 1 through kernels of one pixel: 1 to (2, 3, -1, -1), then 2 * 2 - 3 + 2 * .3 - .3 = 1.3.

    Backwards (2, -1, -2, 1): the second and third are negative, the fourth meets a negative input;
    2 * 2 = 4 is left.
    """
    net = discriminator()
    with torch.no_grad():
        net.blocks[0].conv.weight.copy_(torch.tensor([2.0, 3.0, -1.0, -1.0]).view(4, 1, 1, 1))
        net.blocks[1].conv.weight.copy_(torch.tensor([2.0, -1.0, -2.0, 1.0]).view(1, 4, 1, 1))
    images = np.full((3, 1, 4, 4), 128, np.uint8)
    images[1, 0, 2, 3] = 255
    images[2, 0, 1, 0] = 220
    net.train()
    before = state(net)
    (found,) = investigate.guided(net, images, maps=6, top=2)
    assert same(before, state(net))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert found.images.tolist() == [1, 2]
    np.testing.assert_allclose(found.responses, [1.3, 1.3 * (220 / 127.5 - 1)], rtol=1e-5)
    expected = np.zeros((2, 1, 4, 4))
    expected[0, 0, 2, 3] = expected[1, 0, 1, 0] = 4
    np.testing.assert_allclose(found.gradients, expected, rtol=1e-6)
    assert found.regions == [(3, 2, 3, 2), (0, 1, 0, 1)]


@pytest.mark.parametrize(("size", "kernel", "padding", "strides"), [
    (28, 4, "same", [2, 2, 2]), (28, 5, "same", [2, 2]), (32, 4, "symmetric", [2, 2, 2]), (24, 3, "symmetric", [1, 2, 2]),
])  # fmt: skip
def test_the_region_of_a_unit_is_where_its_gradient_is(size, kernel, padding, strides):
    net = discriminator(
        size,
        channels=[2] * len(strides),
        strides=strides,
        dropout=[0.0] * len(strides),
        kernel=kernel,
        padding=padding,
    )
    with torch.no_grad():
        for block in net.blocks:
            block.conv.weight.fill_(0.1)
    side = net.features(torch.zeros(1, 1, size, size))[-1].shape[-1]
    for row, column in ((0, 0), (side - 1, side // 2), (side // 2, side - 1)):
        pixels = torch.zeros(1, 1, size, size, requires_grad=True)
        (gradient,) = torch.autograd.grad(net.features(pixels)[-1][0, 0, row, column], pixels)
        rows, columns = np.nonzero(gradient[0, 0].numpy())
        expected = (columns.min(), rows.min(), columns.max(), rows.max())
        assert investigate.seen_by(net.params, size, row, column) == expected


def planted() -> Generator:
    """Map u of the start is z_u where positive, and only map 1 reaches the image."""
    net = generator()
    with torch.no_grad():
        net.start[0].weight.copy_(torch.eye(4).repeat_interleave(16, dim=0))
        for layer, unit in ((net.layers[0], 1), (net.layers[2], 0)):
            kept = layer.weight[unit, 0].abs()
            layer.weight.zero_()
            layer.weight[unit, 0] = kept
    return net


def test_the_hidden_maps_are_those_before_the_last_but_one_layer():
    one, two, three = (
        generator(channels=[4] * n, strides=[2] * n, start_size=32 >> n) for n in (1, 2, 3)
    )
    assert investigate.hidden_layer(one) is one.layers[0]
    assert investigate.hidden_layer(two) is two.layers[0]
    assert investigate.hidden_layer(three) is three.layers[2]


def test_forgetting_finds_the_planted_unit_and_takes_the_class_away():
    net, z = planted(), normal(150, 4)
    before = state(net)
    activations = investigate.unit_means(net, z)
    np.testing.assert_allclose(activations, z.clamp(min=0).numpy(), atol=1e-6)
    drawn = (sampling.generate(net, z) > 128).any(axis=(1, 2, 3))
    assert (drawn == (z[:, 1] > 0.01).numpy()).mean() > 0.97
    found = investigate.class_units(activations, drawn, seed=3)
    count = min(drawn.sum(), (~drawn).sum())
    assert (found.num_train + found.num_held_out, found.num_held_out) == (
        2 * count,
        2 * round(0.25 * count),
    )
    assert found.weights.argmax() == 1 and 1 in found.units
    assert (found.units == np.flatnonzero(found.weights > 0)).all()
    assert found.accuracy > 0.9
    with investigate.without_units(net, found.units):
        assert (sampling.generate(net, z) == 128).all()
    with investigate.without_units(net, np.array([0, 2, 3])):
        assert (sampling.generate(net, z) == (images := sampling.generate(net, z))).all()
    assert (sampling.generate(net, z) == images).all()
    assert same(before, state(net))


def test_held_out_accuracy_is_chance_for_labels_that_say_nothing():
    activations = normal(
        600, 150
    ).numpy()  # enough units to learn the 300 training samples by heart
    found = investigate.class_units(activations, np.arange(600) % 3 == 0, seed=1)
    assert (found.num_train, found.num_held_out) == (300, 100)
    assert 0.3 < found.accuracy < 0.7


def test_a_unit_that_never_changes_has_no_weight_and_too_few_samples_give_nothing():
    activations = normal(100, 3).numpy()
    activations[:, 2] = 5
    is_class = activations[:, 0] > 0
    found = investigate.class_units(activations, is_class, seed=1)
    assert 2 not in found.units and 0 in found.units
    assert np.isfinite(found.weights).all()
    assert investigate.class_units(activations, np.arange(100) < 19, seed=1) is None
    assert investigate.class_units(activations, np.arange(100) >= 19, seed=1) is None


def test_hooks_go_when_something_fails_inside():
    net = planted()
    with pytest.raises(KeyError), investigate.without_units(net, np.array([1])):
        raise KeyError
    assert state(net)[2] == 0


def judge(images: np.ndarray) -> np.ndarray:
    """Three classes by the place of the blob: surest where it stands at 6, 10 or 14. Need not add up to 1 for what is tested."""
    return np.exp(-((concepts.centres(images)[:, None] - np.array([6, 10, 14])) ** 2))


def run(seed: int = 1, verdicts: bool = True) -> tuple[experiments.Experiments, dict]:
    made = experiments.Experiments(
        Blob(), judge if verdicts else None, CLASSES, seed=seed, num_candidates=90
    )
    return made, {"walk": made.walk(), "arithmetic": made.arithmetic([]), "turn": made.turn()}


def test_the_experiments_are_the_same_again_and_others_for_another_seed():
    first, second, other = run(1)[1], run(1)[1], run(2)[1]
    for name, (picture, report) in first.items():
        assert np.array_equal(picture, second[name][0]) and report == second[name][1]
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        assert picture.shape != other[name][0].shape or not np.array_equal(picture, other[name][0])
    json.dumps({name: report for name, (_, report) in first.items()}, allow_nan=False)


def test_arithmetic_goes_where_the_concepts_say():
    """Left less middle plus right is the middle, because the place is nearly odd in z."""
    _, report = run()[1]["arithmetic"]
    assert report["concepts"] == CLASSES
    assert report["means_verdicts"] == CLASSES
    assert report["result_verdicts"][4] == "middle"


def test_turn_reports_what_moved_and_the_control_moves_less():
    _, report = run()[1]["turn"]
    assert (np.diff(report["mean_centre"]) > 0).all()
    assert report["shift"] == pytest.approx(report["mean_centre"][-1] - report["mean_centre"][0])
    assert len(set(report["shift_random"])) == experiments.TURN_CONTROLS
    assert np.abs(report["shift_random"]).mean() < report["shift"]
    assert max(report["left_centres"]) < min(report["right_centres"])
    assert report["share_still_of_the_class"][4] == 1
    assert report["samples"] in CLASSES


def test_without_verdicts_walk_and_turn_are_still_made():
    made, results = run(verdicts=False)
    assert results["arithmetic"] == (None, {"left_out": experiments.NO_VERDICTS})
    assert made.forgetting(None) == (None, {"left_out": experiments.NO_VERDICTS})
    assert results["turn"][1]["samples"] == "all samples"
    assert "share_still_of_the_class" not in results["turn"][1]
    assert results["walk"][0] is not None and results["turn"][0] is not None


def test_a_class_that_is_hardly_drawn_is_left_out_and_named():
    net = planted()
    made = experiments.Experiments(
        net, lambda images: np.eye(3)[[0] * len(images)], CLASSES, seed=1, num_candidates=60
    )
    assert made.arithmetic([])[1] == {
        "left_out": "0 of 60 samples are taken for middle: three are needed"
    }
    assert made.forgetting("right")[1]["left_out"].startswith(
        "0 of 60 samples are taken for right: at least 20"
    )
    with pytest.raises(ConfigError, match=r"paper\.forget names 'up'"):
        made.forgetting("up")


def test_the_forgetting_report_counts_the_class_and_the_others(monkeypatch):
    monkeypatch.setattr(experiments, "FORGETTING_SAMPLES", 100)
    net = planted()
    before = state(net)

    def bright(images: np.ndarray) -> np.ndarray:
        return np.eye(2)[(images > 128).any(axis=(1, 2, 3)).astype(int)]

    made = experiments.Experiments(net, bright, ["dark", "bright"], seed=1, num_candidates=100)
    picture, report = made.forgetting("bright")
    assert picture.shape[2] == 3
    assert report["class"] == "bright" and report["units"] == 4
    assert report["shares_without_class"] == {"dark": 1, "bright": 0}
    assert 0.3 < report["shares_without_none"]["bright"] < 0.7
    assert (report["class_unchanged_without_class"], report["others_unchanged_without_class"]) == (
        0,
        1,
    )
    assert same(before, state(net))
    counts = np.bincount(made.probabilities.argmax(axis=1))
    assert made.forgetting(None)[1]["class"] == ["dark", "bright"][counts.argmax()]


def test_the_guided_picture_has_both_networks_and_leaves_them():
    net = discriminator(16, channels=[3, 5], strides=[2, 2], kernel=4)
    before = state(net)
    images = rng_images(12)
    picture, report = experiments.guided(net, images, seed=1)
    again, _ = experiments.guided(net, images, seed=1)
    assert np.array_equal(picture, again) and same(before, state(net))
    assert (report["images"], report["maps"], report["top"]) == (12, 5, 3)
    for key in ("trained", "untrained"):
        assert all(
            row == sorted(row, reverse=True) and len(row) == 3 for row in report[f"responses_{key}"]
        )
    assert report["responses_trained"] != report["responses_untrained"]


def rng_images(count: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, 16, 16), np.uint8)


def test_a_gradient_is_grey_at_zero_and_its_largest_value_is_white_or_black():
    values = np.array([[[0.0, 2.0], [-1.0, 0.5]]], np.float32)
    assert panels.gradient(values).tolist() == [[[128, 255], [64, 159]]]
    assert (panels.gradient(np.zeros((1, 2, 2), np.float32)) == 128).all()


@pytest.mark.parametrize(("values", "said"), [
    ({"arithmetic": ["a", "b"]}, "paper: arithmetic has 2 values: must have three, A, B and C of A - B + C, or none"),
    ({"arithmetic": list("abcd")}, "paper.arithmetic = ['a', 'b', 'c', 'd']: must be a list of at most 3 values"),
    ({"arithmetic": None}, "paper.arithmetic = None: must be a list of at most 3 values"),
    ({"num_candidates": 49}, "paper.num_candidates = 49: must be at least 50 and at most 1000000"),
    ({"forget": 3}, "paper.forget = 3: must be text or null"),
])  # fmt: skip
def test_wrong_values_are_refused_in_one_line(values, said):
    whole = reading.read_yaml(reading.PARAMS_FILE)
    whole["paper"] |= values
    with pytest.raises(ConfigError) as caught:
        reading.parse(whole)
    assert str(caught.value) == f"params.yaml: {said}"
