"""The facts of a data set, and the one error that is not the user's to see."""

import dataclasses

import pytest
from PIL import Image

from dcgan.errors import UserError
from dcgan.raw import catalog
from dcgan.raw.dataset import FORMATS, SUFFIXES, Raw, Unreadable


def test_a_suffix_stands_for_the_format_that_pillow_opens_it_as():
    Image.init()
    known = Image.registered_extensions()
    assert {suffix: known[suffix] for suffix in SUFFIXES} == SUFFIXES
    assert all(suffix == suffix.lower() for suffix in SUFFIXES)


def test_an_unreadable_image_does_not_end_a_command_by_itself():
    assert not issubclass(Unreadable, UserError)


@pytest.mark.parametrize("name", catalog.DATA_SETS)
def test_the_facts_of_a_data_set_fit_together_and_cannot_be_changed(name):
    data_set = catalog.DATA_SETS[name]
    served = {each for file in data_set.files for each in file.names}
    assert set(data_set.pins) <= set(data_set.raw)
    assert set(data_set.digests) <= served
    assert all(algorithm in ("md5", "sha256") for algorithm, _, _ in
               (digest.partition(":") for digest in data_set.digests.values()))  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        data_set.licence = "mine"


@pytest.mark.holds("R-62")
def test_no_format_that_starts_a_program_or_has_no_signature_is_opened():
    Image.init()
    assert not {"EPS", "PDF", "WMF", "PSD", "MPEG", "TGA"} & set(FORMATS)
    # Each has a function that looks at the first bytes.
    assert all(Image.OPEN[name][1] for name in FORMATS)


def test_notes_and_counts_become_lines_for_a_terminal():
    raw = Raw(None, None, left_out={".txt": 12, ".bak": 1}, notes=("no labels",))
    assert raw.said() == ["no labels", "left out: 1 .bak, 12 .txt: no images"]
    assert Raw(None, None).said() == []
