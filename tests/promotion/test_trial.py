"""What the gate is told of a generator."""

import pytest

from dcgan.errors import NoCheckpoint
from dcgan.promotion import trial
from dcgan.promotion.gate import Measured
from tests.support import tiny_models


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


def test_data_without_labels_are_not_asked_for_the_probe():
    measured = trial.with_probe(Measured({"fid": [1.0]}), {"skipped": "no labels"})
    assert (measured.values, measured.absent) == ({"fid": [1.0]}, {"probe": trial.NO_LABELS})


def test_a_generator_without_its_description_is_refused_with_what_to_run(tmp_path):
    with pytest.raises(NoCheckpoint, match=r"generator\.json: missing: run dvc repro"):
        trial.described(tmp_path / "generator.safetensors")
    path = tiny_models.write(tmp_path) / "generator.safetensors"
    assert (trial.described(path)["epoch"], trial.described(path)["weights"]) == (1, "ema")
