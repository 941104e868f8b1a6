"""The model card: what it says, what it warns of, and the recipe that it names."""

from pathlib import Path

import pytest

from dcgan.config import recipes
from dcgan.errors import DataError
from dcgan.reports import model_card
from dcgan.reports.markdown import number
from tests.support.committed import METRICS, SETTINGS, TRAINING
from tests.support.imports import ROOT

MANIFEST = {
    "classes": ["bag", "boot"], "channels": 1, "image_size": 28,
    "licence": "MIT, Zalando SE (https://github.com/zalandoresearch/fashion-mnist)",
    "splits": {"train": {"count": 50000}, "validation": {"count": 10000}, "test": {"count": 10000}},
}  # fmt: skip


def card(**changes: object) -> str:
    return model_card.write(TRAINING, MANIFEST, {**METRICS, **changes})


def test_the_card_says_data_figures_protocol_limits_licence_and_use() -> None:
    text = card()
    for key, meaning in (
        ("fid", "Fréchet distance; lower is better"),
        ("recall", "share of real images among generated ones, 0 to 1; higher is better"),
    ):
        floor, ceiling = (number(METRICS[part][key]) for part in ("floor", "ceiling"))
        value = number(METRICS[key]["mean"], METRICS[key]["deviation"])
        assert f"| {key} | {value} | {floor} | {ceiling} | {meaning} |" in text
    assert "kid_std" not in text and "fid_infinity" not in text
    for part in (
        "50000 train, 10000 validation, 10000 test; 28 x 28, grey", "d" * 64, "bag, boot",
        "| licence | MIT, Zalando SE (https://", METRICS["protocol"]["extractor_sha256"],
        "test split", "10000 generated", "models:/dcgan-fashion_mnist@champion --seed 7",
        "100 random numbers", "loss: hinge", "0123456789abcdef-5",
        f"Epoch {METRICS['epoch']:.0f} of 5, {METRICS['weights']} weights",
    ):  # fmt: skip
        assert part in text
    assert "Collapsed" not in text


@pytest.mark.parametrize("name", recipes.names(ROOT / "recipes"))
def test_the_card_names_the_recipe_and_what_differs(name: str) -> None:
    keys = {"seed", "lr", "beta1", "batch_size", "epochs", "generator", "discriminator", "training"}
    params = recipes.load(ROOT / f"recipes/{name}.yaml", ROOT / "params.yaml").params
    settings = params.model_dump(include=keys)
    assert model_card.recipe(settings | {"seed": 5}) == f"`{name}`"
    assert model_card.recipe(settings | {"lr": 0.5}) == f"`{name}`, but lr = 0.5"


def test_the_card_of_other_settings_names_no_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"Recipe: {model_card.recipe(SETTINGS)}:" in card()
    assert model_card.recipe(SETTINGS).startswith("none")
    monkeypatch.setattr(model_card, "RECIPES", tmp_path)
    assert model_card.recipe(SETTINGS).startswith("none")


def test_the_card_warns_of_what_is_wrong_and_guesses_no_licence() -> None:
    text = card(collapsed=True, dropped_classes=[3, 4], notes=["a note"])
    assert "**Collapsed:**" in text and "3, 4" in text and "* a note" in text
    older = {key: value for key, value in MANIFEST.items() if key != "licence"}
    assert "| licence | unknown |" in model_card.write(TRAINING, older, METRICS)
    assert "median distance" in card()
    assert "median distance" not in card(memorisation={"closer_than_test": 0.001})


@pytest.mark.parametrize("key", ["memorisation", "epoch", "floor", "collapsed"])
def test_metrics_that_lack_what_the_card_says_are_refused_in_a_line(key: str) -> None:
    bad = {name: value for name, value in METRICS.items() if name != key}
    with pytest.raises(DataError, match=f"evaluate/metrics.json: has no {key}.*: run evaluate"):
        model_card.write(TRAINING, MANIFEST, bad)


def test_the_card_names_the_weights_that_the_training_began_with() -> None:
    begun = {**TRAINING, "start_from": "models:/dcgan-toys/3", "start_sha256": "ab" * 32}
    text = model_card.write(begun, MANIFEST, METRICS)
    assert f"from the weights of `models:/dcgan-toys/3` (generator's sha256 `{'ab' * 8}`)" in text
    assert "from the weights of" not in card()
