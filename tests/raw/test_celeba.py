import json
import zipfile

import numpy as np
import pytest

from dcgan import files
from dcgan.errors import ConfigError, DataError, EnvironmentProblem
from dcgan.raw import celeba, downloads, records
from dcgan.raw.dataset import Unreadable
from tests.raw.given import (
    raw_of,
    read_all,
    serve,
    tree,
)
from tests.support.tiny import as_kaggle, section, write_celeba


def test_celeba_is_split_as_its_partition_file_says(tmp_path):
    contents = write_celeba(tmp_path / "source", partitions=(0, 0, 1, 2, 0, 2))
    raw = raw_of(tmp_path, "celeba", tmp_path / "source")
    assert read_all(raw.pool) == [contents[index] for index in (0, 1, 2, 4)]
    assert read_all(raw.test) == [contents[index] for index in (3, 5)]
    assert (raw.pool.labels, raw.test.labels, raw.classes) == (None, None, ())
    assert raw.test.name(0) == "img_align_celeba/000004.jpg"


SMILES = (
    ["Male", "Smiling", "Young"],
    [],
    ["Smiling"],
    ["Male"],
    ["Young"],
    ["Smiling", "Male"],
)  # one a picture


def raw_celeba(folder, names):
    """CelebA's raw files with attributes, opened with these."""
    contents = write_celeba(folder, attributes=SMILES)
    files.write_json(
        folder / "manifest.json",
        {name: files.sha256(folder / name) for name in celeba.LABELLED.raw},
    )
    return contents, records.open_raw(folder, section("celeba", "unused", attributes=names), seed=1)


@pytest.mark.parametrize(
    ("names", "pool", "test", "classes"),
    [
        (["Male", "Smiling"], [3, 0, 2, 0], [1, 3], ("none", "Male", "Smiling", "Male+Smiling")),
        (["Smiling", "Male"], [3, 0, 1, 0], [2, 3], ("none", "Smiling", "Male", "Smiling+Male")),
        (["Young"], [1, 0, 0, 1], [0, 0], ("none", "Young")),
    ],
)
def test_celebas_labels_are_the_bits_of_the_attributes_in_the_order_asked_for(
    tmp_path, names, pool, test, classes
):
    contents, raw = raw_celeba(tmp_path, names)
    assert (raw.pool.labels.tolist(), raw.test.labels.tolist()) == (pool, test)
    assert raw.classes == classes
    assert raw.pool.labels.dtype == raw.test.labels.dtype == np.int64
    assert read_all(raw.pool) == [contents[index] for index in (0, 1, 2, 4)]
    assert read_all(raw.test) == [contents[index] for index in (3, 5)]


def test_four_attributes_make_sixteen_classes_whose_bits_are_their_names():
    names = ["A", "B", "C", "D"]
    classes = celeba.combinations(names)
    assert len(set(classes)) == 16
    assert (classes[0], classes[5], classes[15]) == ("none", "A+C", "A+B+C+D")


def test_without_attributes_their_file_is_not_asked_for_nor_looked_at(tmp_path):
    write_celeba(tmp_path / "source", attributes=SMILES)
    (tmp_path / "source" / celeba.ATTRIBUTES).write_text("nonsense")
    raw = raw_of(tmp_path, "celeba", tmp_path / "source")
    assert (raw.pool.labels, raw.test.labels, raw.classes) == (None, None, ())
    assert not (tmp_path / "raw" / celeba.ATTRIBUTES).exists()


def test_an_attribute_file_that_is_missing_or_was_changed_is_refused(tmp_path):
    raw_celeba(tmp_path, ["Male"])
    path = tmp_path / celeba.ATTRIBUTES
    path.write_text(path.read_text().replace("000001.jpg -1", "000001.jpg  1"))
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt"):
        records.open_raw(tmp_path, section("celeba", "unused", attributes=["Male"]), seed=1)
    path.unlink()
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt"):
        records.open_raw(tmp_path, section("celeba", "unused", attributes=["Male"]), seed=1)


def test_a_damaged_picture_in_celebas_zip_is_one_unreadable_image(tmp_path):
    contents = write_celeba(tmp_path / "source")
    path = tmp_path / "source" / "img_align_celeba.zip"
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("img_align_celeba/000002.jpg").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 200] ^= 1
    path.write_bytes(content)
    pool = raw_of(tmp_path, "celeba", tmp_path / "source").pool
    with pytest.raises(Unreadable, match=r"is damaged in img_align_celeba\.zip"):
        pool.read(1)
    assert pool.read(0) == contents[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("000001.jpg 0\n000001.jpg 0\n000002.jpg 2\n", "line 2: .* comes twice"),
        ("000001.jpg 0\n000004.jpg 3\n", "line 2: '000004.jpg 3': expected"),
        ("000001.jpg 0\n../../x.jpg 2\n", "line 2: .*: expected"),
        ("000001.jpg 0\n", "has no image of partition 2"),
        ("000001.jpg 2\n", "has no image of partition 0 or 1"),
        ("", "has no image of partition"),
    ],
)
def test_partition_files_that_make_no_sense_are_refused(tmp_path, text, complaint):
    write_celeba(tmp_path / "source")
    (tmp_path / "source" / "list_eval_partition.txt").write_text(text)
    with pytest.raises(DataError, match=rf"list_eval_partition\.txt: {complaint}"):
        downloads.fetch(tmp_path / "raw", section("celeba", tmp_path / "source"))


def test_a_picture_that_celebas_zip_lacks_is_named(tmp_path):
    write_celeba(tmp_path / "source")
    with open(tmp_path / "source" / "list_eval_partition.txt", "a") as file:
        file.write("000099.jpg 0\n000098.jpg 0\n")
    with pytest.raises(
        DataError, match=r"img_align_celeba\.zip: has no img_align_celeba/000099\.jpg \(2 of"
    ):
        downloads.fetch(tmp_path / "raw", section("celeba", tmp_path / "source"))


def labels_after(folder, edit, names=("Male", "Smiling")):
    """What comes of an attribute file after an edit of its lines."""
    write_celeba(folder, attributes=SMILES)
    path = folder / celeba.ATTRIBUTES
    lines = path.read_text().split("\n")
    path.write_text("\n".join(edit(lines) or lines))
    parts = celeba.partitions(folder / celeba.ZIP, folder / celeba.PARTITION)
    return celeba.attribute_labels(path, parts, names)


def line(number, old, new):
    """An edit of one line, counted from 1."""
    return lambda lines: [
        text.replace(old, new) if at == number else text for at, text in enumerate(lines, start=1)
    ]


def test_labels_belong_to_the_names_whatever_their_order_and_the_ends_of_their_lines(tmp_path):
    good = labels_after(tmp_path / "a", lambda lines: lines)
    assert good == {
        f"img_align_celeba/{number:06d}.jpg": label
        for number, label in enumerate([3, 0, 2, 1, 0, 3], start=1)
    }
    turned = labels_after(
        tmp_path / "b", lambda lines: [f"{text}\r" for text in (*lines[:2], *lines[7:1:-1])]
    )
    assert list(turned.items()) == list(good.items())


ROW = "expected a name and 40 values of 1 or -1"


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (
            line(1, "6", "7"),
            r"line 1 says 7 images, 6 follow, list_eval_partition\.txt has 6: must be the same",
        ),
        (line(1, "6", "six"), "line 1: 'six': expected the number of images"),
        (lambda lines: [""], "line 1: '': expected the number of images"),
        (lambda lines: lines[1:], "line 1: '5_o_Clock_Shadow .*: expected the number of images"),
        (lambda lines: lines[:1], "line 2: expected the attributes' names"),
        (line(2, "Smiling", "Male"), "line 2: expected the attributes' names, each once"),
        (lambda lines: [lines[0], *lines[2:]], "line 2: expected the attributes' names"),
        (line(4, " -1 -1 -1", " -1 -1"), rf"line 4: '000002\.jpg .*: {ROW}"),
        (line(4, "000002.jpg -1", "000002.jpg -1 -1"), f"line 4: .*: {ROW}"),
        (line(4, "000002.jpg -1", "000002.jpg  0"), f"line 4: .*: {ROW}"),
        (line(4, "000002.jpg -1", "000002.jpg  2"), f"line 4: .*: {ROW}"),
        (line(4, "000002.jpg -1", "000002.jpg +1"), f"line 4: .*: {ROW}"),
        (line(4, "000002", "000003"), r"line 5: '000003\.jpg .*: comes twice"),
        (
            line(4, "000002", "000007"),
            r"line 4: '000007\.jpg .*: list_eval_partition\.txt has no such image",
        ),
        (
            lambda lines: ["5", *lines[1:-2]],
            r"line 1 says 5 images, 5 follow, list_eval_partition\.txt has 6",
        ),
        (lambda lines: lines[:-2], "line 1 says 6 images, 5 follow"),
        (lambda lines: [*lines[:-2], lines[-2][:-1]], f"line 8: .*: {ROW}"),
        (lambda lines: [*lines[:-2], lines[-2][:60]], f"line 8: .*: {ROW}"),
        (lambda lines: [*lines[:3], "", *lines[3:]], f"line 4: '': {ROW}"),
    ],
)
def test_attribute_files_that_make_no_sense_are_refused(tmp_path, edit, complaint):
    with pytest.raises(DataError, match=rf"list_attr_celeba\.txt: {complaint}") as caught:
        labels_after(tmp_path, edit)
    assert "\n" not in str(caught.value)


def test_an_attribute_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(celeba, "MAX_TEXT_BYTES", 300)
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt: has more than 300 bytes"):
        labels_after(tmp_path, lambda lines: lines)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Smilling", "did you mean Smiling?"),
        ("eyeglasses", "did you mean Eyeglasses?"),
        (
            "xyz",
            "it has 5_o_Clock_Shadow, Arched_Eyebrows, Attractive, Bags_Under_Eyes, Bald"
            " and 35 more",
        ),
    ],
)
def test_an_attribute_that_celeba_lacks_is_refused_with_a_suggestion_or_some_that_it_has(
    tmp_path, name, hint
):
    with pytest.raises(ConfigError) as caught:
        labels_after(tmp_path, lambda lines: lines, ["Male", name])
    assert (
        str(caught.value)
        == f"params.yaml: dataset.attributes: list_attr_celeba.txt has no {name}: {hint}"
    )


def test_celebas_attributes_arrive_with_the_rest_where_they_are_asked_for_and_go_where_not(
    tmp_path,
):
    source, raw = tmp_path / "source", tmp_path / "raw"
    write_celeba(source, attributes=SMILES)
    expected = {*celeba.CELEBA.raw, "manifest.json"}
    server = serve(source)
    for place in (source, server.url):
        downloads.fetch(raw, section("celeba", place, attributes=["Smiling"]))
        assert set(tree(raw)) == {*expected, "list_attr_celeba.txt"}
        assert set(json.loads((raw / "manifest.json").read_text())) == set(celeba.LABELLED.raw)
        assert (raw / "list_attr_celeba.txt").read_bytes() == (
            source / "list_attr_celeba.txt"
        ).read_bytes()
        downloads.fetch(raw, section("celeba", place))
        assert set(tree(raw)) == expected
    server.close()


def test_attributes_that_are_missing_or_make_no_sense_are_refused_before_anything_is_replaced(
    tmp_path,
):
    source, raw = tmp_path / "source", tmp_path / "raw"
    write_celeba(source)
    downloads.fetch(raw, section("celeba", source))
    before = tree(raw)
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt is missing"):
        downloads.fetch(raw, section("celeba", source, attributes=["Smiling"]))
    server = serve(source)
    with pytest.raises(EnvironmentProblem, match=r"has no list_attr_celeba\.txt \(404\)"):
        downloads.fetch(raw, section("celeba", server.url, attributes=["Smiling"]))
    server.close()
    write_celeba(source, attributes=SMILES)
    with pytest.raises(ConfigError, match=r"has no smile: did you mean Smiling\?") as caught:
        downloads.fetch(raw, section("celeba", source, attributes=["smile"]))
    assert "\n" not in str(caught.value)
    write_celeba(source, attributes=SMILES[:-1])
    with pytest.raises(
        DataError, match=r"list_attr_celeba\.txt: line 1 says 5 images, 5 follow, .* has 6"
    ):
        downloads.fetch(raw, section("celeba", source, attributes=["Smiling"]))
    assert tree(raw) == before


@pytest.mark.parametrize("attributes", [[], ["Smiling"]])
def test_celebas_attribute_file_is_named_among_those_to_get_only_where_it_is_needed(
    tmp_path, attributes
):
    with pytest.raises(ConfigError) as caught:
        downloads.fetch(tmp_path / "raw", section("celeba", None, attributes=attributes))
    assert ("list_attr_celeba.txt" in str(caught.value)) == bool(attributes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tables", [True, False], ids=["csv", "txt"])
@pytest.mark.parametrize(
    "pictures",
    ["img_align_celeba/img_align_celeba", "img_align_celeba", ".", "img_align_celeba.zip"],
)
def test_celeba_as_kaggle_has_it_and_unpacked_is_the_same(tmp_path, pictures, tables):
    contents = write_celeba(tmp_path / "source", attributes=SMILES)
    given = as_kaggle(tmp_path / "source", tmp_path / "given", pictures=pictures, tables=tables)
    raw = raw_of(tmp_path, "celeba", given, attributes=["Male", "Smiling"])
    assert read_all(raw.pool) == [contents[index] for index in (0, 1, 2, 4)]
    assert read_all(raw.test) == [contents[index] for index in (3, 5)]
    assert (raw.pool.labels.tolist(), raw.test.labels.tolist()) == ([3, 0, 2, 0], [1, 3])
    assert set(tree(tmp_path / "raw")) == {*celeba.LABELLED.raw, "manifest.json"}
    before = tree(tmp_path / "raw")
    downloads.fetch(tmp_path / "raw", section("celeba", given, attributes=["Male"]))
    assert tree(tmp_path / "raw") == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: '': expected names, image_id first"),
        ("000001.jpg,0\n", "line 1: '000001.jpg,0': expected names"),
        (
            "image_id,partition\n000001.jpg\n",
            "line 2: '000001.jpg': expected an image's name and 1",
        ),
        ("image_id,partition\n000001.jpg,0,1\n", "line 2: .*: expected an image's name and 1"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, text, complaint):
    write_celeba(tmp_path / "source")
    given = as_kaggle(tmp_path / "source", tmp_path / "given", pictures=".", tables=True)
    (given / "list_eval_partition.csv").write_text(text)
    with pytest.raises(DataError, match=rf"list_eval_partition\.csv: {complaint}"):
        downloads.fetch(tmp_path / "raw", section("celeba", given))


def test_a_picture_that_is_a_broken_link_is_refused_by_its_name(tmp_path):
    write_celeba(tmp_path / "source")
    given = as_kaggle(tmp_path / "source", tmp_path / "given", pictures=".", tables=True)
    (given / "000003.jpg").unlink()
    (given / "000003.jpg").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"000003\.jpg: is no file"):
        downloads.fetch(tmp_path / "raw", section("celeba", given))
