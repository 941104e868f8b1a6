"""Every value of an architecture has bounds, within which all that params.yaml allows lies."""

import typing

import pytest

from dcgan.config import sections
from dcgan.networks import exports
from dcgan.networks.architecture import DiscriminatorArchitecture, GeneratorArchitecture


def limits(info) -> list[object]:
    """The bounds in a Field of pydantic; or the bound itself, where it is given without a Field."""
    return getattr(info, "metadata", [info])


BOUNDS = {"ge": min, "gt": min, "le": max, "lt": max}


def outer_bounds(metadata) -> dict[str, float]:
    """Lowest and highest value that a field of params.yaml may have."""
    return {
        pick.__name__: getattr(each, key)
        for each in metadata
        for key, pick in BOUNDS.items()
        if getattr(each, key, None) is not None
    }


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        (sections.GeneratorParams, GeneratorArchitecture),
        (sections.DiscriminatorParams, DiscriminatorArchitecture),
    ],
    ids=["generator", "discriminator"],
)
def test_whatever_params_yaml_allows_can_be_read_again(section, kind):
    hints = typing.get_type_hints(kind, include_extras=True)
    for name in set(hints) & set(section.model_fields):
        field, hint = section.model_fields[name], hints[name]
        if typing.get_origin(hint) is typing.Literal:
            assert set(typing.get_args(field.annotation)) <= set(typing.get_args(hint)), name
        elif hint is not bool:
            metadata = field.metadata
            for item in typing.get_args(field.annotation):  # of a list
                metadata = [limit for info in item.__metadata__ for limit in limits(info)]
            allowed, bounds = outer_bounds(metadata), typing.get_args(hint)[1]
            assert set(allowed) == {"min", "max"}, name
            assert bounds.low <= allowed["min"] and allowed["max"] <= bounds.high, name
    in_both = {"image_channels", "image_size"}
    assert set(hints) - set(section.model_fields) == in_both
    assert set(section.model_fields) - set(hints) <= set(exports.TRAINING_KEYS)
