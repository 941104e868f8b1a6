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
    values["dataset"]["test_size"] = 10
    assert "source = None: must be the folder with the images" in message(values)


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
