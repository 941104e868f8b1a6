from typing import get_args

import pytest

from dcgan.config import sections
from dcgan.raw import catalog
from dcgan.raw.catalog import DATA_SETS
from tests.support.tiny import section


def test_the_catalog_has_the_data_sets_of_the_schema_and_agrees_on_their_test_splits():
    assert {name for name, data_set in DATA_SETS.items() if data_set.test_split} == set(
        get_args(sections.WithTestSplit)
    )
    assert {name for name, data_set in DATA_SETS.items() if not data_set.test_split} == set(
        get_args(sections.WithoutTestSplit)
    )


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_licence_is_known_or_said_to_be_unknown_and_who_says_so(name):
    licence = DATA_SETS[name].licence
    assert licence and "\n" not in licence and "|" not in licence  # it is one cell of a table
    assert "://" in licence or name in ("folder", "fake")


@pytest.mark.parametrize("name", DATA_SETS)
def test_what_is_fetched_without_help_has_a_digest_or_there_is_advice(name):
    data_set = DATA_SETS[name]
    if data_set.mirrors:
        assert not data_set.by_hand
        assert all(file.names[0] in data_set.digests for file in data_set.files)
        assert set(data_set.pins) <= set(data_set.raw)
    elif data_set.files:
        assert "https://" in data_set.by_hand
    if data_set.debian:
        assert set(data_set.debian.digests) == set(data_set.digests)


def test_attributes_choose_the_files_that_hold_them():
    plain = catalog.of(section("celeba", "unused"))
    labelled = catalog.of(section("celeba", "unused", attributes=["Male"]))
    assert set(labelled.raw) - set(plain.raw) == {"list_attr_celeba.txt"}
    assert set(labelled.raw) <= set(catalog.raw_names())


@pytest.mark.parametrize(
    ("name", "source", "title", "expected"),
    [
        ("folder", "/data/my cats", None, "my cats"),
        ("folder", "/data/cats/", None, "cats"),
        ("folder", "cats/../dogs", None, "dogs"),
        ("folder", "~/Bilder/Käfer-2.0", None, "Käfer-2.0"),
        ("folder", "/data/a:b", None, "a_b"),
        ("folder", "/data/.hidden", None, "hidden"),
        ("folder", "/data/" + "x" * 200, None, "x" * 100),
        ("folder", "/data/...", None, "folder"),
        ("folder", "/", None, "folder"),
        ("folder", "/data/cats", "Tame cats", "Tame cats"),
        ("celeba", "/data/cats", None, "celeba"),
        ("fake", None, None, "fake"),
        ("mnist", None, "Digits", "Digits"),
    ],
)
def test_images_are_called_by_their_title_their_folder_or_their_data_set(
    name, source, title, expected
):
    found = catalog.title(section(name, source, title=title))
    assert found == expected
    # It could be given as dataset.title itself.
    assert catalog.title(section("fake", None, title=found)) == found
