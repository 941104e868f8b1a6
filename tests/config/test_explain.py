"""What is wrong with a value is said in one line that names key, value and range."""

import math
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

import pytest

from dcgan.config.sections import AllParams, Section
from tests.config.values import changed, message


@pytest.mark.holds("R-86")
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("lr", -0.1, "lr = -0.1: must be > 0 and at most 1"),
        ("lr", 0, "lr = 0: must be > 0 and at most 1"),
        ("lr", math.inf, "lr = inf: must be a number > 0 and at most 1"),
        ("lr", math.nan, "lr = nan: must be a number > 0 and at most 1"),
        ("lr", 1e9, "lr = 1000000000.0: must be > 0 and at most 1"),
        ("lr", "2e-4", "lr = '2e-4': must be a number > 0 and at most 1"),
        ("lr", None, "lr = None: must be a number > 0 and at most 1"),
        ("lr", ..., "lr: missing: add it, a number > 0 and at most 1"),
        ("lrr", 1, "lrr: unknown key: did you mean lr?"),
        ("training.losss", 1, "training.losss: unknown key: did you mean loss?"),
        ("beta1", 1.0, "beta1 = 1.0: must be at least 0 and below 1"),
        ("training.beta2", 1, "training.beta2 = 1: must be at least 0 and below 1"),
        ("batch_size", 0, "batch_size = 0: must be at least 1 and at most 65536"),
        (
            "batch_size",
            1.5,
            "batch_size = 1.5: must be a whole number at least 1 and at most 65536",
        ),
        (
            "batch_size",
            "8",
            "batch_size = '8': must be a whole number at least 1 and at most 65536",
        ),
        (
            "batch_size",
            True,
            "batch_size = True: must be a whole number at least 1 and at most 65536",
        ),
        ("seed", -1, "seed = -1: must be at least 0 and at most 4294967295"),
        ("seed", 2**32, "seed = 4294967296: must be at least 0 and at most 4294967295"),
        ("epochs", 0, "epochs = 0: must be at least 1 and at most 100000"),
        (
            "training.generator_lr_scale",
            0,
            "training.generator_lr_scale = 0: must be > 0 and at most 100",
        ),
        (
            "generator.channels",
            [1, 0, 2],
            "generator.channels[1] = 0: must be at least 1 and at most 4096",
        ),
        (
            "generator.channels",
            [64],
            "generator: channels has 1 values, strides has 3: must have one a layer each",
        ),
        ("generator.z_dim", 0, "generator.z_dim = 0: must be at least 1 and at most 4096"),
        ("generator.kernel", 1, "must be at least the stride"),
        ("dataset", 3, "dataset = 3: must be a section of keys"),
        (
            "dataset.name",
            "fake",
            "test_size = 0: must be at least 20, because fake has no test split of its own",
        ),
        (
            "dataset.test_size",
            5,
            "test_size = 5: must be 0, because fashion_mnist has a test split of its own",
        ),
        ("dataset.validation_size", 19, "dataset.validation_size = 19: must be"),
        ("batch_size", 1, "batch_size = 1: must be at least 2 with generator.start_norm = flat"),
        ("dataset.crop", 0, "dataset.crop = 0: must be"),
        (
            "dataset.attributes",
            ["Male"],
            "attributes = ['Male']: must be [] with name: fashion_mnist; only celeba has any",
        ),
        (
            "dataset.attributes",
            None,
            "dataset.attributes = None: must be a list of at most 4 values",
        ),
        (
            "dataset.attributes",
            "Male",
            "dataset.attributes = 'Male': must be a list of at most 4 values",
        ),
        ("dataset.attributes", [1], "dataset.attributes[0] = 1: must be text"),
        (
            "dataset.attributes",
            ...,
            "dataset.attributes: missing: add it, a list of at most 4 values",
        ),
        ("reference.weights", 3, "reference.weights = 3: must be text or null"),
        (
            "reference.weights_sha256",
            "6726825d",
            "weights_sha256 = '6726825d': must be 64 digits of 0-9 and a-f, or null",
        ),
        ("reference.weights_sha256", "AB" * 32, "must be 64 digits of 0-9 and a-f, or null"),
        ("reference.weights_sha256", "ab" * 32, "weights_sha256: must be null with weights: null"),
        ("training.label_smoothing", 0.1, "label_smoothing = 0.1: must be 0 with loss: hinge"),
        (
            "training.linear_decay_from",
            1.5,
            "training.linear_decay_from = 1.5: must be at least 0 and at most 1",
        ),
        ("dataset.image_size", 32, "gives 28 x 28 images: must be dataset.image_size = 32"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_key_value_and_range(key, value, said):
    assert said in message(changed(key, value))
    assert message(changed(key, value)).startswith("params.yaml: ")


def literals(section: type[Section], prefix: str = "") -> Iterator[tuple[str, tuple[object, ...]]]:
    """The keys whose values are a list of words or numbers in the schema, with that list."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from literals(field.annotation, f"{prefix}{name}.")
        elif get_origin(field.annotation) is Literal:
            yield prefix + name, get_args(field.annotation)


CHOICES = dict(literals(AllParams))


def test_the_schema_has_choices() -> None:
    assert {"training.loss", "reference.extractor"} <= set(CHOICES) and len(CHOICES) > 10


@pytest.mark.parametrize("key", CHOICES)
def test_a_value_that_is_no_choice_is_refused_with_the_list_of_all(key: str) -> None:
    choices = ", ".join(map(str, CHOICES[key]))
    assert message(changed(key, "wgan")) == (
        f"params.yaml: {key} = 'wgan': must be one of: {choices}"
    )


def test_a_list_s_value_that_is_no_choice_is_refused_with_its_place() -> None:
    said = message(changed("training.diff_augment", ["color", "colour"]))
    assert said.startswith("params.yaml: training.diff_augment[1] = 'colour': must be one of: ")


@pytest.mark.holds("R-86")
def test_a_misspelt_key_is_unknown_and_not_missing():
    values = changed("lr", ...)
    values["lrr"] = 0.001
    assert message(values) == "params.yaml: lrr: unknown key: did you mean lr?"
