"""What the gate is told of a generator."""

import pytest

from dcgan import data
from dcgan.errors import NoCheckpoint
from dcgan.promotion import trial
from dcgan.promotion.gate import Measured
from dcgan.promotion.versions import Version
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


def champion(sketch):
    tags = {} if sketch is None else {trial.SKETCH: " ".join(sketch)}
    return Version("dcgan-mine", 3, "run", tags)


def test_a_champion_of_other_images_is_not_replaced():
    ours, others = data.sketch(["aa" * 32, "bb" * 32]), data.sketch(["cc" * 32])
    decision = trial.of_other_data(champion(others), ours)
    assert decision.outcome == "refused"
    assert "dcgan-mine version 3, learnt other images (0 of a sample of 3" in decision.reasons[0]
    assert "dataset.title" in decision.reasons[0] and "--other-data" in decision.reasons[0]


def test_a_champion_of_the_same_images_or_of_unknown_ones_is_compared():
    ours = data.sketch(["aa" * 32, "bb" * 32])
    grown = data.sketch(["aa" * 32, "bb" * 32, "dd" * 32])
    for known in (ours, grown, [], None):
        assert trial.of_other_data(champion(known), ours) is None
    assert trial.of_other_data(None, ours) is None
