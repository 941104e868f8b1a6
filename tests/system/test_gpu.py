"""What only a GPU can show: `pytest -m gpu` on a machine with one of NVIDIA's.

Written without such a machine: none of these has been run yet.
"""

import copy

import numpy as np
import pytest
import torch

from dcgan import rng
from dcgan.errors import Stopped
from dcgan.judging import classifier
from dcgan.networks import devices, sampling
from dcgan.training import loop
from dcgan.training.checkpoint import Checkpoints
from tests.support import small_training
from tests.support.idx_source import write_idx_source
from tests.support.params import small_stages
from tests.support.repository import STAGES, Repository, ran
from tests.support.small_training import small
from tests.support.steps import fingerprint, same

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]
GPU = torch.device("cuda")
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)


def trained(folder, *, stop_signal=lambda: 0, **changes):
    params = small(training__deterministic=True, **changes)
    devices.set_switches(GPU, deterministic=True)
    with Checkpoints(folder, "t") as checkpoints:
        return loop.train(
            IMAGES, checkpoints, **small_training.training_arguments(params), device=GPU,
            precision="float32", stop_signal=stop_signal,
        )  # fmt: skip


def test_draws_are_those_of_the_cpu():
    for kind in ("normal", "uniform"):
        on_cpu, on_gpu = (
            getattr(rng.Draws(7, "z", 3, device), kind)(64, 100) for device in ("cpu", GPU)
        )
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=0, atol=1e-6)


@pytest.mark.holds("R-34")
def test_a_deterministic_training_repeats_itself_and_goes_on_after_a_kill(tmp_path):
    whole = fingerprint(trained(tmp_path / "a"))
    assert same(whole, fingerprint(trained(tmp_path / "b")))
    steps = iter([0, 0, 0, 15])
    with pytest.raises(Stopped, match="stopped after step 4"):
        trained(tmp_path / "c", stop_signal=lambda: next(steps))
    assert same(whole, fingerprint(trained(tmp_path / "c")))


def test_float32_is_float32():
    devices.set_switches(GPU, deterministic=False)
    one, two = torch.randn(2, 512, 512, dtype=torch.float64)
    product = one.to(GPU, torch.float32) @ two.to(GPU, torch.float32)
    assert (product.cpu().double() - one @ two).abs().max() < 1e-3  # TF32: some 3e-2


def test_images_and_features_are_those_of_the_cpu():
    state = small_training.build(small(), 1, torch.device("cpu"))
    on_cpu = sampling.sample(state.ema, 50, seed=1)
    on_gpu = sampling.sample(copy.deepcopy(state.ema).to(GPU), 50, seed=1)
    assert np.abs(on_cpu.astype(int) - on_gpu).max() <= 1
    network = classifier.train_classifier(IMAGES, None, seed=1, epochs=1, lr=1e-3, batch_size=8)
    features = classifier.extract(network, IMAGES)[0]
    np.testing.assert_allclose(
        classifier.extract(network.to(GPU), IMAGES)[0], features, rtol=1e-3, atol=1e-4
    )


def test_a_step_waits_for_nothing(tmp_path):
    """torch raises an error wherever the host would wait for the GPU."""
    state = small_training.build(small(), 1, GPU)
    params = small()
    real = torch.zeros(8, 1, 16, 16, device=GPU)
    options = {"seed": 1, "training": params.training, "precision": "float32", "measure": True}
    loop.train_step(state, real, **options).read()  # the first one chooses algorithms
    torch.cuda.set_sync_debug_mode("error")
    try:
        outcome = loop.train_step(state, real, **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert outcome.read()


def test_the_small_graph_runs_on_the_gpu(tmp_path):
    write_idx_source(tmp_path / "source", num_train=300, num_test=60)
    repo = Repository(tmp_path / "repo", tmp_path / "source")
    repo.set(
        **small_stages(**{"training.device": "cuda", "dataset.validation_size": 60}),
    )
    assert ran(repo.run("dvc", "repro").stdout) == STAGES
    for stage in ("evaluate", "probe"):
        assert repo.json(f"results/{stage}/metrics.json")["protocol"]["device"] == "cuda"
