import torch

from dcgan.training import synchronised
from dcgan.training.ranks import Ranks
from tests.support import together

SHAPES = {"flat": (8, 5), "maps": (8, 5, 4, 4)}


def own_or_torchs(ranks: Ranks | None, shape: str) -> dict[str, torch.Tensor]:
    """Output, gradients of input and parameters, and statistics; `ranks` None: torch's own."""
    torch.manual_seed(0)
    values = torch.randn(SHAPES[shape]) * 3 + 1
    weights = torch.randn(SHAPES[shape])
    kind = torch.nn.BatchNorm1d if shape == "flat" else torch.nn.BatchNorm2d
    network = torch.nn.Sequential(kind(5, eps=1e-3, momentum=0.01))
    torch.nn.init.normal_(network[0].weight)
    if ranks is not None:
        rows = ranks.rows(8)
        values, weights = values[rows], weights[rows]
        synchronised.convert(network)
        assert isinstance(network[0], synchronised.BatchNorm)
    values.requires_grad_()
    output = network(values)
    (slope,) = torch.autograd.grad((output.tanh() * weights).sum(), values, create_graph=True)
    slope.square().sum().backward()  # a second derivative, as R1's
    found = {"output": output.detach(), "slope": slope.detach(), "input": values.grad}
    parameters = [parameter.grad for parameter in network.parameters()]
    if ranks is not None:
        ranks.average(parameters)
        parameters = [gradient * ranks.count for gradient in parameters]
    return found | dict(zip(("weight", "bias"), parameters, strict=True)) | network.state_dict()


def both(ranks: Ranks | None) -> dict[str, torch.Tensor]:
    return {
        f"{shape} {name}": value
        for shape in SHAPES
        for name, value in own_or_torchs(ranks, shape).items()
    }


def test_it_is_torchs_batch_norm_of_the_whole_batch(tmp_path):
    expected = both(None)
    halves = together.run("tests.training.test_synchronised:both", tmp_path)
    for name in expected:
        if name.endswith(("output", "slope", "input")):
            found = torch.cat([half[name] for half in halves])
        else:
            found = halves[0][name]
            assert torch.equal(found, halves[1][name])
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-5, msg=name)
