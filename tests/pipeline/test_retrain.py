"""What retrain refuses before it begins; tests/system/test_drill.py runs it."""

import os
import types

import pytest

from dcgan.errors import EnvironmentProblem, NoCheckpoint
from pipeline import folder_lock, retrain


def test_a_retraining_beside_an_experiment_is_refused_and_names_it(git):
    handle = folder_lock.hold()
    try:
        with pytest.raises(
            EnvironmentProblem,
            match=rf"^retrain: an experiment or a retraining .* \(process {os.getpid()}\)",
        ):
            retrain.main()
    finally:
        os.close(handle)


def test_without_a_champion_there_are_no_weights_of_one_to_begin_with(monkeypatch):
    monkeypatch.setattr("dcgan.promotion.registry.alias", lambda dataset, name: None)
    with pytest.raises(NoCheckpoint, match=r"^--from-champion: .* has no champion"):
        retrain.champion({})


def test_the_champion_is_named_by_its_number_because_the_alias_may_move(monkeypatch):
    version = types.SimpleNamespace(number=3)
    monkeypatch.setattr("dcgan.promotion.registry.alias", lambda dataset, name: version)
    assert retrain.champion({}) == "models:/dcgan-fashion_mnist/3"


def test_the_champion_is_that_of_the_data_set_that_will_be_trained_on(monkeypatch):
    version = types.SimpleNamespace(number=3)
    monkeypatch.setattr("dcgan.promotion.registry.alias", lambda dataset, name: version)
    assert retrain.champion({"dataset": {"title": "toys"}}) == "models:/dcgan-toys/3"


def test_a_retraining_from_the_champion_trains_with_its_address_and_what_else_was_set(
    git, monkeypatch
):
    class Enough(Exception):
        pass

    def rebuild(overlay):
        assert overlay == {
            "training": {"beta2": 0.5, "start_from": "models:/dcgan-fashion_mnist/3"}
        }
        raise Enough

    monkeypatch.setattr(retrain, "champion", lambda overlay: "models:/dcgan-fashion_mnist/3")
    monkeypatch.setattr(retrain, "rebuild", rebuild)
    with pytest.raises(Enough):
        retrain.main(["training.beta2=0.5"], from_champion=True)
