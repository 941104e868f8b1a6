"""What the sections of params.yaml allow."""

import importlib
from pathlib import Path

import pytest

from dcgan.config import reading, sections
from tests.config.values import changed, message


def test_what_does_not_fit_together_is_refused():
    values = changed("training.update", "simultaneous")
    values["training"]["discriminator_steps"] = 2
    assert "discriminator_steps = 2: must be 1 with update: simultaneous" in message(values)
    values = changed("dataset.name", "folder")
    values["dataset"]["test_size"] = 20
    assert "source = None: must be the folder with the images" in message(values)


@pytest.mark.holds("R-84")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "must be a folder, an https URL or null"),
        ("  ", "must be a folder, an https URL or null"),
        ("https://me:canary@example.org/a", "must hold no user or password"),
        ("https://canary@example.org/a", "must hold no user or password"),
        ("https://me:can/ary@example.org", "must hold no user or password"),
        ("https://example.org/a@b", None),
        ("https://[::1]:5000/a", None),
        ("http://127.0.0.1:5000", None),
        ("pictures/of me: 2", None),
    ],
)
def test_a_source_is_a_place_and_holds_no_password(source, said):
    values = changed("dataset.source", source)
    if said is None:
        assert reading.parse(values).dataset.source == source
    else:
        assert said in message(values) and "ary@" not in message(values)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Male", "Male"], "attributes[1] = 'Male': must not come twice"),
        (
            ["Male", "is smiling"],
            "attributes[1] = 'is smiling': must be a word of letters, digits and _",
        ),
        (
            ["Male+Smiling"],
            "attributes[0] = 'Male+Smiling': must be a word of letters, digits and _",
        ),
        (["{name}"], "attributes[0] = '{name}': must be a word"),
        ([""], "attributes[0] = '': must be a word"),
        (["Male\n"], "attributes[0] = 'Male\\n': must be a word"),
        (["M\xe4nnlich"], "must be a word"),
        (["A", "B", "C", "D", "E"], "dataset.attributes = ['A', 'B', 'C', 'D', 'E']: must be"),
    ],
)
def test_attributes_of_celeba_are_at_most_four_different_words(names, said):
    values = changed("dataset.name", "celeba")
    values["dataset"]["attributes"] = names
    assert said in message(values)
    values["dataset"]["attributes"] = ["5_o_Clock_Shadow", "Male", "Smiling", "Young"]
    assert reading.parse(values).dataset.attributes == [
        "5_o_Clock_Shadow",
        "Male",
        "Smiling",
        "Young",
    ]


@pytest.mark.parametrize("path", sorted(Path("pipeline").glob("*.py")), ids=lambda path: path.stem)
def test_a_stage_declares_keys_as_the_schema_does(path):
    """Another type there would check a value twice, by two rules."""
    module = importlib.import_module(f"pipeline.{path.stem}") if path.stem[0] != "_" else None
    declared = [each for each in vars(module).values() if isinstance(each, type)] if module else []
    for each in declared:
        if issubclass(each, sections.Section):
            for key, field in each.model_fields.items():
                whole = sections.AllParams.model_fields[key]
                if all(isinstance(kind.annotation, type) for kind in (whole, field)) and issubclass(
                    whole.annotation, field.annotation
                ):
                    continue  # the section, or the class of some of its keys that it extends
                assert (field.annotation, field.metadata) == (whole.annotation, whole.metadata), key


def test_a_discriminator_too_deep_for_the_image_is_refused_with_its_layer():
    values = changed("discriminator.padding", "symmetric")
    values["discriminator"] |= {
        "kernel": 4, "channels": [8] * 6, "strides": [2] * 6, "dropout": [0.0] * 6,
    }  # fmt: skip
    assert message(values) == (
        "params.yaml: discriminator: layer 5 of 6 gets maps of 1 x 1 pixels, too small for a kernel"
        " of 4 with symmetric padding: use 4 layers, smaller strides, or padding: same"
    )
    values["discriminator"]["padding"] = "same"
    reading.parse(values)


@pytest.mark.parametrize(
    ("generator", "named"),
    [
        ({"start_norm": "flat"}, "generator.start_norm = flat"),
        ({"start_norm": "map"}, None),
    ],
)
def test_one_image_a_step_is_refused_where_batch_norm_would_see_one_value(generator, named):
    values = changed("batch_size", 1)
    values["generator"] |= generator
    if named is None:
        reading.parse(values)
    else:
        assert f"batch_size = 1: must be at least 2 with {named}" in message(values)


def test_test_images_are_none_or_enough_for_figures():
    values = changed("dataset.name", "fake")
    values["dataset"]["test_size"] = 19
    assert "test_size = 19: must be 0, or at least 20" in message(values)
