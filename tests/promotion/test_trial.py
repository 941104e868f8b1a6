"""What the gate is told of a generator."""

import pytest

from dcgan.promotion import trial
from dcgan.promotion.gate import Measured


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"discriminator": {"test_accuracy": 0.9}}, [0.9]),
        ({"discriminator": {"test_error": 0.25}}, [0.75]),
        ({"discriminator": {}}, None),
        ({}, None),
    ],
)
def test_the_probes_figure_is_an_accuracy_whichever_its_protocol(metrics, expected):
    assert trial.with_probe(Measured({}), metrics).values.get("probe") == expected
