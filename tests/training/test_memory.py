"""Memory that is not there is refused before it is asked for."""

import psutil
import pytest
import torch

from dcgan.errors import EnvironmentProblem
from dcgan.networks import summary
from dcgan.training import memory
from tests.support.small_training import small
from tests.support.steps import CPU, build


def check(params, machine=None):
    memory.check(
        params.generator, params.discriminator, image_channels=1, batch_size=params.batch_size,
        precision="float32", device=CPU, machine=machine,
    )  # fmt: skip


@pytest.mark.holds("R-86")
def test_networks_that_no_machine_holds_are_refused_at_no_cost():
    # Both within the ranges of params.yaml: the projection alone has 8.6e9 weights.
    params = small(
        generator__z_dim=4096, generator__start_size=32, generator__channels=[2048, 8],
        generator__strides=[1, 1], dataset__image_size=32,
    )  # fmt: skip
    before = psutil.Process().memory_info().rss
    with pytest.raises(EnvironmentProblem, match=r"need 103 GB of memory at least.*has 24 GB"):
        check(params, machine=24 * 10**9)
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


@pytest.mark.holds("R-86")
def test_a_batch_whose_maps_no_machine_holds_is_refused():
    check(small())
    with pytest.raises(EnvironmentProblem, match=r"batch_size = 65536 need 0\.5.* GB"):
        check(small(batch_size=65536), machine=10**8)


def test_weights_and_maps_are_counted():
    params = small()
    state = build(params)
    weights = sum(
        summary.count_parameters(network)[0] for network in (state.generator, state.discriminator)
    )
    # G: 8 maps of 4 x 4 and of 8 x 8, an image; D: 8 maps of 8 x 8 and of 4 x 4, for real and fake.
    maps = 8 * (8 * 16 + 8 * 64 + 256 + 2 * (8 * 64 + 8 * 16))
    given = params.generator, params.discriminator, 1, 8
    assert memory.needed(*given, "float32") == 12 * weights + 4 * maps
    assert memory.needed(*given, "bfloat16") == 12 * weights + 2 * maps


def test_a_container_may_have_less_than_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LIMIT", tmp_path / "memory.max")
    machine = psutil.virtual_memory().total
    assert memory.total(CPU) == machine
    for text, expected in (("max\n", machine), ("1000000\n", 1_000_000), (str(2**62), machine)):
        memory.LIMIT.write_text(text)
        assert memory.total(CPU) == expected
    assert memory.total(torch.device("mps")) is None
