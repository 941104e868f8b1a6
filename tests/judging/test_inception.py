import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan import files
from dcgan.errors import DataError
from dcgan.judging import inception
from tests.support.made_up import inception_tensors, inception_weights

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tensors():
    return inception_tensors()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Made-up weights in the layout of the published file."""
    return inception_weights(tmp_path_factory.mktemp("weights") / "made-up.pth")


@pytest.fixture(scope="module")
def network(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    inception.convert(source, files.sha256(source), path)
    return inception.load(path)[0]


def smooth(count, channels, size):
    """Images with some shape to them."""
    rough = RNG.integers(0, 256, (count, channels, 5, 5), np.uint8)
    planes = [
        Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC)
        for plane in rough.reshape(-1, 5, 5)
    ]
    return np.array(planes, np.uint8).reshape(count, channels, size, size)


# The network


def test_the_features_are_those_of_torch_fidelity_where_nothing_is_resized(network, source):
    from torch_fidelity import FeatureExtractorInceptionV3

    images = smooth(2, 3, 299)
    with torch.inference_mode():
        (expected,) = FeatureExtractorInceptionV3("oracle", ["2048"], str(source))(
            torch.from_numpy(images)
        )
    features = inception.extract(network, images)
    assert features.shape == (2, 2048) and features.dtype == np.float32
    assert np.abs(features[0] - features[1]).max() > 0.1
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_features_are_those_of_the_image_alone_and_the_same_each_time(network):
    images = smooth(5, 3, 32)  # two batches
    seen = []
    features = inception.extract(network, images, lambda *row: seen.append(row))
    assert seen == [(4, 5), (5, 5)]
    assert (inception.extract(network, images[:1])[0] == features[0]).all()
    assert (inception.extract(network, images[4:])[0] == features[4]).all()


def test_grey_images_are_rgb_images_with_three_equal_channels(network):
    grey = smooth(2, 1, 28)
    features = inception.extract(network, grey)
    np.testing.assert_allclose(
        inception.extract(network, np.repeat(grey, 3, axis=1)), features, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 3, 32, 32), np.uint8),
        np.zeros((2, 2, 32, 32), np.uint8),
        np.zeros((2, 32, 32), np.uint8),
        np.zeros((2, 3, 32, 32), np.float32),
    ],
)
def test_other_images_are_refused(network, images):
    with pytest.raises(DataError, match="must be uint8 N x C x H x W"):
        inception.extract(network, images)


@pytest.mark.parametrize(
    ("height", "width"),
    [(28, 28), (32, 32), (64, 64), (299, 299), (400, 400), (1024, 1024), (218, 178)],
)
def test_the_resize_is_pillows_of_float_images(height, width):
    image = RNG.integers(0, 256, (height, width), np.uint8)
    image[: height // 2] = np.where(image[: height // 2] > 127, 255, 0)  # where bicubic overshoots
    ours = inception.resize(torch.from_numpy(image)[None, None])[0, 0].numpy()
    resized = Image.fromarray(image.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(ours, np.asarray(resized).clip(0, 255), rtol=0, atol=1e-4)
    assert ours.min() >= 0 and ours.max() <= 255
    if height < 299:
        assert (ours != ours.round()).mean() > 0.5 and np.asarray(resized).max() > 256


# The file


def test_both_formats_and_a_file_without_counters_give_the_same_network(
    source, network, tensors, tmp_path
):
    target = tmp_path / "inception.safetensors"
    state = network.layers.state_dict()
    older = {
        name: tensor
        for name, tensor in tensors.items()
        if "num_batches_tracked" not in name and "fc." not in name
    }
    for content, newer in ((tensors, True), (older, False)):
        path = tmp_path / "weights.pth"
        torch.save(content, path, _use_new_zipfile_serialization=newer)
        inception.convert(path, files.sha256(path), target)
        again, description = inception.load(target)
        assert description["weights_sha256"] == files.sha256(path)
        assert description["num_features"] == 2048
        for name, tensor in again.layers.state_dict().items():
            assert "num_batches_tracked" in name or torch.equal(tensor, state[name])


def test_a_file_of_another_hash_is_refused_before_anything_is_made_of_it(source, tmp_path):
    damaged = bytearray(source.read_bytes())
    damaged[50_000_000] ^= 1
    for content in (bytes(damaged), source.read_bytes()[:1_000_000], b""):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}: refused; set ref"
        ) as caught:
            inception.convert(path, files.sha256(source), tmp_path / "inception.safetensors")
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"none\.pth: cannot be read"):
        inception.convert(tmp_path / "none.pth", "0" * 64, tmp_path / "inception.safetensors")
    assert list(tmp_path.iterdir()) == [path]


class Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_code_in_a_file_that_the_user_trusts_is_not_run_all_the_same(tmp_path):
    marker = tmp_path / "marker"
    for number, write in enumerate(
        (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2)))
    ):
        path = tmp_path / f"{number}.pth"
        write({"fc.bias": Code(marker)}, path)
        with pytest.raises(DataError, match="is no file of tensors only") as caught:
            inception.convert(path, files.sha256(path), tmp_path / "inception.safetensors")
        assert "\n" not in str(caught.value)
        assert not marker.exists()
    torch.load(tmp_path / "0.pth", weights_only=False)
    assert marker.exists()  # so the code would have run


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


FIRST = "Conv2d_1a_3x3.conv.weight"
BAD = {
    "missing": (lambda good: without(good, FIRST), f"Missing key.*{FIRST}"),
    "unexpected": (lambda good: {**good, "head.bias": torch.zeros(3)}, "Unexpected key.*head.bias"),
    "shape": (lambda good: {**good, FIRST: torch.zeros(32, 1, 3, 3)}, f"size mismatch for {FIRST}"),
    "no tensor": (lambda good: {**good, FIRST: "text"}, FIRST),
    "not finite": (
        lambda good: {**good, FIRST: good[FIRST] * float("nan")},
        f"{FIRST} has values that are not finite",
    ),
    "no names": (lambda good: [good[FIRST]], "holds a list: must be tensors by name"),
    "names that are none": (lambda good: {1: good[FIRST]}, "does not fit"),
    "truncated": (None, "is no file of tensors only"),
}


@pytest.mark.parametrize("name", BAD)
def test_tensors_of_another_network_are_refused_in_one_line(tensors, source, tmp_path, name):
    change, said = BAD[name]
    path = tmp_path / "weights.pth"
    if change is None:
        path.write_bytes(source.read_bytes()[:1_000_000])
    else:
        torch.save(change(tensors), path)
    with pytest.raises(DataError, match=said) as caught:
        inception.convert(path, files.sha256(path), tmp_path / "inception.safetensors")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_converted_is_read_only_as_it_was_written(source, tmp_path):
    path = tmp_path / "inception.safetensors"
    inception.convert(source, files.sha256(source), path)
    description = files.read_json(path.with_suffix(".json"))
    unsealed = {key: value for key, value in description.items() if key != "seal"}
    files.write_json(path.with_suffix(".json"), {**unsealed, "architecture": "vgg"})
    with pytest.raises(DataError, match="architecture is 'vgg': must be 'Inception v3"):
        inception.load(path)
    files.write_json(path.with_suffix(".json"), description)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        inception.load(path)
