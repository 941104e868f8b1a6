"""An ONNX file draws what torch draws, any number of images, and holds no code."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dcgan.errors import EnvironmentProblem
from dcgan.networks import sampling
from dcgan.promotion import onnx_model
from tests.support.networks import CELEBA64, FASHION_ADAM, MNIST_TF, generator


@pytest.mark.parametrize(("values", "channels"), [(MNIST_TF, 1), (FASHION_ADAM, 1), (CELEBA64, 3)])
def test_onnxruntime_draws_the_same_images_in_any_number(values, channels, tmp_path: Path):
    network, path = generator(values, channels).eval(), tmp_path / "model.onnx"
    with torch.no_grad():
        z = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
        network.layers[-2].weight.mul_(0.3 / network(z).std())  # else all are almost grey
    onnx_model.write(path, network)
    session = onnxruntime.InferenceSession(path)
    for count in (1, 3, 40):
        z = torch.randn(count, 100, generator=torch.Generator().manual_seed(count))
        images, exact = session.run(None, {"z": z.numpy()})
        expected = sampling.generate(network, z)
        assert images.dtype == np.uint8 and images.shape == expected.shape
        assert images.std() > 10
        # A value in the middle of two may be rounded the other way: by one, never by more.
        assert np.abs(images.astype(int) - expected).max() <= 1
        assert np.array_equal(images, ((exact + 1) * np.float32(127.5)).round().astype(np.uint8))
        with torch.no_grad():
            assert np.abs(exact - network(z).numpy()).max() < 1e-5


def test_the_file_is_whole_and_of_standard_operators(tmp_path: Path):
    onnx_model.write(tmp_path / "model.onnx", generator(MNIST_TF).eval())
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_a_file_that_draws_other_images_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(onnx_model, "TOLERANCE", -1.0)
    with pytest.raises(EnvironmentProblem, match="draws other images than torch"):
        onnx_model.write(tmp_path / "model.onnx", generator(MNIST_TF).eval())


def test_without_the_packages_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(onnx_model, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(EnvironmentProblem, match=r"no_such_package is missing: pip install onnx "):
        onnx_model.check_packages()
