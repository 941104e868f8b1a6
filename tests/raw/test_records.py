import hashlib
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import lmdb
import numpy as np
import pytest
from scipy.io import savemat

from dcgan import files
from dcgan.errors import ConfigError, DataError
from dcgan.raw import catalog, downloads, formats, records
from dcgan.raw import fake as shapes
from tests.support.tiny import (
    encoded,
    pictures,
    section,
    write_celeba,
    write_cifar,
    write_lsun,
    write_svhn,
    write_tree,
)


def raw_of(tmp_path, name, source, **changes):
    """Fetched and opened."""
    dataset = section(name, source, **changes)
    downloads.fetch(tmp_path / "raw", dataset)
    return records.open_raw(tmp_path / "raw", dataset, seed=1)


def read_all(part):
    return [part.read(index) for index in range(len(part))]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_give_grey_images_and_labels_of_both_splits(tmp_path, idx_source, name):
    raw = raw_of(tmp_path, name, idx_source)
    assert (len(raw.pool), len(raw.test), raw.ignored) == (200, 100, 0)
    assert raw.classes == catalog.CLASSES[name]
    assert np.bincount(raw.pool.labels).tolist() == [20] * 10
    assert raw.pool.labels.dtype == np.int64
    image = raw.pool.read(199)
    assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
    assert raw.pool.name(17) == "train-images-idx3-ubyte[17]"
    assert raw.test.name(0) == "t10k-images-idx3-ubyte[0]"


def test_cifar_images_come_in_the_order_of_their_files_with_their_colours(tmp_path):
    write_cifar(tmp_path / "source", each=4)
    raw = raw_of(tmp_path, "cifar10", tmp_path / "source")
    assert (len(raw.pool), len(raw.test)) == (20, 4)
    wanted = np.concatenate([pictures(4, seed)[0] for seed in range(5)])
    assert (np.stack(read_all(raw.pool)) == wanted).all()
    assert (np.stack(read_all(raw.test)) == pictures(4, 5)[0]).all()
    assert raw.pool.labels.tolist() == [0, 1, 2, 3] * 5
    assert raw.pool.name(7) == "data_batch_2.bin[3]"
    assert raw.classes[3] == "cat"
    with pytest.raises(IndexError):
        raw.pool.read(20)


def test_svhn_images_come_with_label_10_as_the_digit_0(tmp_path):
    write_svhn(tmp_path / "source")
    raw = raw_of(tmp_path, "svhn", tmp_path / "source")
    assert (np.stack(read_all(raw.pool)) == pictures(12, 0)[0]).all()
    assert (np.stack(read_all(raw.test)) == pictures(11, 1)[0]).all()
    assert raw.pool.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert raw.test.name(3) == "test_32x32.mat[3]"


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
        {name: files.sha256(folder / name) for name in catalog.CELEBA_LABELLED.raw},
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
    assert (raw.pool.labels.tolist(), raw.test.labels.tolist(), raw.classes) == (
        pool,
        test,
        classes,
    )
    assert raw.pool.labels.dtype == raw.test.labels.dtype == np.int64
    assert read_all(raw.pool) == [contents[index] for index in (0, 1, 2, 4)]
    assert read_all(raw.test) == [contents[index] for index in (3, 5)]


def test_four_attributes_make_sixteen_classes_whose_bits_are_their_names():
    names = ["A", "B", "C", "D"]
    classes = records.combinations(names)
    assert (len(set(classes)), classes[0], classes[5], classes[15]) == (
        16,
        "none",
        "A+C",
        "A+B+C+D",
    )


def test_without_attributes_their_file_is_not_asked_for_nor_looked_at(tmp_path):
    write_celeba(tmp_path / "source", attributes=SMILES)
    (tmp_path / "source" / catalog.CELEBA_ATTRIBUTES).write_text("nonsense")
    raw = raw_of(tmp_path, "celeba", tmp_path / "source")
    assert (raw.pool.labels, raw.test.labels, raw.classes) == (None, None, ())
    assert not (tmp_path / "raw" / catalog.CELEBA_ATTRIBUTES).exists()


def test_an_attribute_file_that_is_missing_or_was_changed_is_refused(tmp_path):
    raw_celeba(tmp_path, ["Male"])
    path = tmp_path / catalog.CELEBA_ATTRIBUTES
    path.write_text(path.read_text().replace("000001.jpg -1", "000001.jpg  1"))
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt"):
        records.open_raw(tmp_path, section("celeba", "unused", attributes=["Male"]), seed=1)
    path.unlink()
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt"):
        records.open_raw(tmp_path, section("celeba", "unused", attributes=["Male"]), seed=1)


def test_lsun_images_come_in_the_order_of_their_keys(tmp_path):
    values = write_lsun(tmp_path / "source", count=7)
    raw = raw_of(tmp_path, "lsun", tmp_path / "source")
    assert read_all(raw.pool) == [values[key] for key in sorted(values)]
    assert (raw.test, raw.pool.labels, raw.classes) == (None, None, ())
    assert raw.pool.name(0) == f"train.mdb[{min(values).decode()}]"


def test_a_folder_gives_files_by_their_names_and_its_folders_as_classes(tmp_path):
    png = [encoded(image, "PNG") for image in pictures(3)[0]]
    source = write_tree(
        tmp_path / "source",
        {"b/1.png": png[0], "a/x/2.PNG": png[1], "a/3.png": png[2], "a/notes.txt": b""},
    )
    raw = raw_of(tmp_path, "folder", source)
    assert [raw.pool.name(index) for index in range(3)] == ["a/3.png", "a/x/2.PNG", "b/1.png"]
    assert read_all(raw.pool) == [png[2], png[1], png[0]]
    assert (raw.pool.labels.tolist(), raw.classes, raw.ignored, raw.test) == (
        [0, 0, 1],
        ("a", "b"),
        1,
        None,
    )
    raw = raw_of(tmp_path, "folder", source, class_folders=False)
    assert (raw.pool.labels, raw.classes) == (None, ())


def test_fake_images_depend_on_seed_and_number_alone_and_are_drawn_when_read(tmp_path):
    few = raw_of(tmp_path, "fake", None, max_images=30, test_size=5)
    many = raw_of(tmp_path, "fake", None)
    assert (len(few.pool), len(many.pool), few.test) == (35, 2010, None)
    assert (few.pool.read(34) == many.pool.read(34)).all()
    assert few.pool.read(0).shape == (32, 32, 3)
    assert (
        np.stack([few.pool.read(index) for index in range(5)])
        == shapes.draw(5, 32, 3, 1)[0].transpose(0, 2, 3, 1)
    ).all()
    assert few.pool.labels.tolist() == [index % 10 for index in range(35)]
    assert raw_of(tmp_path, "fake", None, channels=1, image_size=8).pool.read(3).shape == (8, 8)


@pytest.mark.parametrize("name", ["cifar10", "svhn", "celeba", "lsun", "folder"])
def test_eight_threads_read_what_one_reads(tmp_path, name):
    source = tmp_path / "source"
    if name == "folder":
        write_tree(
            source,
            {
                f"{number}.png": encoded(image, "PNG")
                for number, image in enumerate(pictures(40)[0])
            },
        )
    else:
        {"cifar10": write_cifar, "svhn": write_svhn, "celeba": write_celeba, "lsun": write_lsun}[
            name
        ](source)
    pool = raw_of(tmp_path, name, source).pool
    wanted = [np.asarray(pool.read(index)).tobytes() for index in range(len(pool))]
    order = list(range(len(pool))) * 50
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda index: np.asarray(pool.read(index)).tobytes(), order))
    assert found == [wanted[index] for index in order]


@pytest.mark.parametrize("name", ["cifar10", "svhn", "celeba", "lsun", "folder"])
def test_a_raw_file_with_other_bytes_than_were_downloaded_is_refused(tmp_path, name):
    source = tmp_path / "source"
    if name == "folder":
        write_tree(source, {"a.png": encoded(pictures(1)[0][0], "PNG")})
    else:
        {"cifar10": write_cifar, "svhn": write_svhn, "celeba": write_celeba, "lsun": write_lsun}[
            name
        ](source)
    dataset = section(name, source)
    downloads.fetch(tmp_path / "raw", dataset)
    for file in catalog.KNOWN[name].raw:
        path = tmp_path / "raw" / file
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(DataError, match=f"{file}: sha256 is"):
            records.open_raw(tmp_path / "raw", dataset, seed=1)
        path.write_bytes(good)
    (tmp_path / "raw" / file).unlink()
    with pytest.raises(DataError, match=f"{file}: missing"):
        records.open_raw(tmp_path / "raw", dataset, seed=1)


def test_images_that_cannot_be_read_are_told_one_by_one(tmp_path):
    good = encoded(pictures(1)[0][0], "PNG")
    source = write_tree(tmp_path / "source", {"empty.png": b"", "good.png": good})
    (source / "gone.png").symlink_to("nowhere")
    pool = raw_of(tmp_path, "folder", source).pool
    with pytest.raises(records.Unreadable, match="is empty"):
        pool.read(0)
    with pytest.raises(records.Unreadable, match="is a broken link"):
        pool.read(1)
    assert pool.read(2) == good


def test_a_damaged_picture_in_celebas_zip_is_one_unreadable_image(tmp_path):
    contents = write_celeba(tmp_path / "source")
    path = tmp_path / "source" / "img_align_celeba.zip"
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("img_align_celeba/000002.jpg").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 200] ^= 1
    path.write_bytes(content)
    pool = raw_of(tmp_path, "celeba", tmp_path / "source").pool
    with pytest.raises(records.Unreadable, match=r"is damaged in img_align_celeba\.zip"):
        pool.read(1)
    assert pool.read(0) == contents[0]


def test_an_empty_value_in_the_database_is_one_unreadable_image(tmp_path):
    write_lsun(tmp_path / "source")
    database = tmp_path / "source" / "bedroom_train_lmdb"
    with (
        lmdb.open(str(database), map_size=1 << 20) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"!", b"")
    (tmp_path / "source" / "bedroom_train_lmdb.zip").unlink()
    pool = raw_of(tmp_path, "lsun", tmp_path / "source").pool
    with pytest.raises(records.Unreadable, match="is empty"):
        pool.read(0)


# Files that are not what they claim to be


def svhn_values(**changes):
    images, _ = pictures(5)
    return {
        "X": images.transpose(1, 2, 3, 0),
        "y": np.arange(1, 6, dtype=np.uint8)[:, None],
        **changes,
    }


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (svhn_values(y=np.full((5, 1), 11, np.uint8)), "label 0 is 11, expected 1 to 10"),
        (
            svhn_values(y=np.array([[1], [2], [0], [3], [4]], np.uint8)),
            "label 2 is 0, expected 1 to 10",
        ),
        (svhn_values(y=np.full((5, 1), -1, np.int8)), "label 0 is -1"),
        (svhn_values(y=np.ones((5, 1))), "labels are float64, expected integers"),
        (svhn_values(y=np.ones((4, 1), np.uint8)), "y is 4 x 1, expected 5 x 1"),
        (svhn_values(X=np.zeros((32, 32, 3, 5))), "X is double 32 x 32 x 3 x 5"),
        (svhn_values(X=np.zeros((5, 32, 32, 3), np.uint8)), "X is uint8 5 x 32 x 32 x 3"),
        ({"y": np.ones((5, 1), np.uint8)}, "X is nothing missing"),
        ({"X": svhn_values()["X"]}, "y is missing"),
    ],
)
def test_matlab_files_of_another_shape_or_with_other_labels_are_refused(
    tmp_path, values, complaint
):
    write_svhn(tmp_path / "source")
    savemat(tmp_path / "source" / "test_32x32.mat", values)
    with pytest.raises(DataError, match=rf"test_32x32\.mat: {complaint}"):
        downloads.fetch(tmp_path / "raw", section("svhn", tmp_path / "source"))
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("keep", [0, 50, 127, 200, 2000, -5])
def test_cut_matlab_files_are_refused(tmp_path, keep):
    write_svhn(tmp_path / "source")
    path = tmp_path / "source" / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train_32x32\.mat: "):
        downloads.fetch(tmp_path / "raw", section("svhn", tmp_path / "source"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "has 0 bytes, expected a multiple of 3073"),
        (bytes(3072), "has 3072 bytes, expected a multiple of 3073"),
        (bytes(3073) + b"\x0a" + bytes(3072), "label 1 is 10, expected 0 to 9"),
    ],
)
def test_cifar_files_of_another_size_or_with_other_labels_are_refused(tmp_path, content, complaint):
    source = write_tree(
        tmp_path / "source", {**write_cifar(tmp_path / "tar"), "data_batch_3.bin": content}
    )
    with pytest.raises(DataError, match=rf"data_batch_3\.bin: {complaint}"):
        downloads.fetch(tmp_path / "raw", section("cifar10", source))


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


def celeba_labels(folder, edit, names=("Male", "Smiling")):
    """What comes of an attribute file after an edit of its lines."""
    write_celeba(folder, attributes=SMILES)
    path = folder / catalog.CELEBA_ATTRIBUTES
    lines = path.read_text().split("\n")
    path.write_text("\n".join(edit(lines) or lines))
    parts = formats.celeba(folder / catalog.CELEBA_ZIP, folder / catalog.CELEBA_PARTITION)
    return formats.celeba_labels(path, parts, names)


def line(number, old, new):
    """An edit of one line, counted from 1."""
    return lambda lines: [
        text.replace(old, new) if at == number else text for at, text in enumerate(lines, start=1)
    ]


def test_labels_belong_to_the_names_whatever_their_order_and_the_ends_of_their_lines(tmp_path):
    good = celeba_labels(tmp_path / "a", lambda lines: lines)
    assert good == {
        f"img_align_celeba/{number:06d}.jpg": label
        for number, label in enumerate([3, 0, 2, 1, 0, 3], start=1)
    }
    turned = celeba_labels(
        tmp_path / "b", lambda lines: [f"{text}\r" for text in (*lines[:2], *lines[7:1:-1])]
    )
    assert list(turned.items()) == list(good.items())


ROW = "expected a name and 40 values of 1 or -1"


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (
            line(1, "6", "7"),
            r"line 1 says 7 images, 6 follow, list_eval_partition\.txt has 6: must be the same number",
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
        celeba_labels(tmp_path, edit)
    assert "\n" not in str(caught.value)


def test_an_attribute_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_TEXT_BYTES", 300)
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt: has more than 300 bytes"):
        celeba_labels(tmp_path, lambda lines: lines)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Smilling", "did you mean Smiling?"),
        ("eyeglasses", "did you mean Eyeglasses?"),
        (
            "xyz",
            "it has 5_o_Clock_Shadow, Arched_Eyebrows, Attractive, Bags_Under_Eyes, Bald and 35 more",
        ),
    ],
)
def test_an_attribute_that_celeba_lacks_is_refused_with_a_suggestion_or_some_that_it_has(
    tmp_path, name, hint
):
    with pytest.raises(ConfigError) as caught:
        celeba_labels(tmp_path, lambda lines: lines, ["Male", name])
    assert (
        str(caught.value)
        == f"params.yaml: dataset.attributes: list_attr_celeba.txt has no {name}: {hint}"
    )


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: b"", "is no LMDB file"),
        (lambda content: b"PK" * 5000, "is no LMDB file"),
        (lambda content: content[:8192], "is truncated"),
        (lambda content: content[:20], "LMDB file"),
        (lambda content: content[:-4096], "is truncated"),
    ],
)
def test_damaged_databases_are_refused(tmp_path, damage, complaint):
    write_lsun(tmp_path / "source")
    path = tmp_path / "source" / "bedroom_train_lmdb" / "data.mdb"
    (tmp_path / "source" / "bedroom_train_lmdb.zip").unlink()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"train\.mdb: .*{complaint}"):
        downloads.fetch(tmp_path / "raw", section("lsun", tmp_path / "source"))


def test_an_empty_database_is_refused(tmp_path):
    write_lsun(tmp_path / "source", count=0)
    with pytest.raises(DataError, match=r"train\.mdb: holds 0 images"):
        downloads.fetch(tmp_path / "raw", section("lsun", tmp_path / "source"))


def test_a_label_that_no_class_has_is_refused_in_idx_files(tmp_path, idx_source):
    dataset = section("mnist", idx_source)
    downloads.fetch(tmp_path / "raw", dataset)
    path = tmp_path / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    manifest[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "raw" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: label 99 is 10, expected 0 to 9"):
        records.open_raw(tmp_path / "raw", dataset, seed=1)
