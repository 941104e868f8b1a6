import pytest
import torch

from dcgan.errors import EnvironmentProblem
from dcgan.networks import devices


@pytest.fixture(params=[False, True], ids=["no GPU", "a GPU"])
def gpu(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    return request.param


def test_auto_is_the_gpu_where_there_is_one(gpu):
    assert devices.choose_device("auto").type == ("cuda" if gpu else "cpu")
    assert devices.choose_device("cpu").type == "cpu"


def test_a_gpu_that_is_asked_for_and_missing_is_refused(gpu):
    if gpu:
        assert devices.choose_device("cuda").type == "cuda"
    else:
        with pytest.raises(EnvironmentProblem, match="use auto or cpu"):
            devices.choose_device("cuda")


def switches():
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
    )


def test_choosing_a_device_sets_no_switch_and_a_cpu_needs_none(gpu):
    before = switches()
    devices.choose_device("auto")
    devices.set_switches(torch.device("cpu"), deterministic=True)
    assert switches() == before


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_gpu_repeats_itself_or_takes_the_fastest_algorithms(deterministic, monkeypatch):
    before = switches()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    try:
        devices.set_switches(torch.device("cuda"), deterministic=deterministic)
        assert switches() == (True, not deterministic, deterministic)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark = before[:2]
        torch.use_deterministic_algorithms(before[2])
