import copy
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from dcgan import validation
from dcgan.config import reading, sections
from dcgan.errors import DataError
from tests.support import shapes
from tests.support.prepared import write_prepared

Splits = dict[str, tuple[np.ndarray, np.ndarray]]
CLASSES = tuple("abcdefghij")


LIMITS = reading.load(sections.AllParams).expectations
KINDS = ("drawings", "photographs")


def drawings(size: int = 28, channels: int = 1) -> Splits:
    """Shapes: 150 images to train, 50 for validation, 100 for the test."""
    images, labels = shapes.draw(300, size, channels, seed=0)
    edges = {"train": slice(0, 150), "validation": slice(150, 200), "test": slice(200, 300)}
    return {split: (images[part], labels[part]) for split, part in edges.items()}


def photographs() -> Splits:
    """Coloured shapes before a sky that darkens to the ground."""
    sky = np.linspace(180, 0, 28).astype(np.uint8)[:, None]
    return {
        split: (np.maximum(images, sky), labels)
        for split, (images, labels) in drawings(channels=3).items()
    }


@pytest.fixture
def splits() -> Splits:
    return drawings()


def made(kind: str) -> Splits:
    return drawings() if kind == "drawings" else photographs()


def write(
    folder: Path, splits: Splits, kind: str = "drawings", classes: Sequence[str] = CLASSES
) -> dict[str, Any]:
    return write_prepared(
        folder, splits, name="things", classes=classes, image_size=28, drawings=kind == "drawings"
    )


def report_of(
    folder: Path, manifest: dict[str, Any], change: Callable[[pd.DataFrame], None] | None = None
) -> dict[str, Any]:
    table = validation.statistics(folder, manifest)
    if change:
        change(table)
    return validation.validate(table, manifest, LIMITS)


def failures(report: dict[str, Any]) -> list[str]:
    return [key(entry) for entry in report["expectations"] if not entry["success"]]


def key(entry: dict[str, Any]) -> str:
    return f"{entry['expectation'].removeprefix('expect_')} {entry['column']}{entry['condition']}"


# For each expectation, a data set that breaks it and no other: changed images and labels, a changed
# manifest, or a changed table.


def _images(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Splits], None]:
    """Change the images of every split."""

    def apply(splits: Splits) -> None:
        for split, (images, labels) in splits.items():
            splits[split] = (change(images), labels)

    return apply


def _image(content: Callable[[np.ndarray], np.ndarray | int]) -> Callable[[Splits], None]:
    """Change the image train/3."""

    def apply(splits: Splits) -> None:
        splits["train"][0][3] = content(splits["train"][0][3])

    return apply


def _lack(split: str) -> Callable[[Splits], None]:
    def apply(splits: Splits) -> None:
        labels = splits[split][1]
        labels[labels == 9] = 8

    return apply


def _label_ten(splits: Splits) -> None:
    splits["train"][1][3] = 10


def _leak(count: int) -> Callable[[Splits], None]:
    def apply(splits: Splits) -> None:
        splits["test"][0][:count] = splits["train"][0][:count]

    return apply


def _repeat(count: int) -> Callable[[Splits], None]:
    def apply(splits: Splits) -> None:
        splits["train"][0][10 : 10 + count] = splits["train"][0][10]

    return apply


def _some(count: int, content: Callable[[np.ndarray], np.ndarray]) -> Callable[[Splits], None]:
    """Change the first images to train."""

    def apply(splits: Splits) -> None:
        splits["train"][0][:count] = content(splits["train"][0][:count])

    return apply


def _constant(images: np.ndarray) -> np.ndarray:
    """Each of another grey."""
    return np.broadcast_to(
        np.arange(100, 100 + len(images), dtype=np.uint8)[:, None, None, None], images.shape
    )


def _white(images: np.ndarray) -> np.ndarray:
    """White but for two rows."""
    images = images.copy()
    images[:, :, :13] = images[:, :, 15:] = 255
    images[0, :, 13] = 0
    return images


def _faint(splits: Splits) -> None:
    for images, _ in splits.values():
        images[1:] = (40 + images[1:] * 0.15).astype(np.uint8)


def _count(split: str) -> Callable[[dict[str, Any]], None]:
    def apply(manifest: dict[str, Any]) -> None:
        manifest["splits"][split]["count"] += 1

    return apply


def _balance(manifest: dict[str, Any]) -> None:
    counts = manifest["splits"]["train"]["per_class"]
    counts[0], counts[1] = counts[0] + 1, counts[1] - 1


def _nan(table: pd.DataFrame) -> None:
    table.loc[3, "mean"] = math.nan


IN_IMAGES = {
    "column_distinct_values_to_contain_set label where split is train": _lack("train"),
    "column_distinct_values_to_contain_set label where split is validation": _lack("validation"),
    "column_distinct_values_to_contain_set label where split is test": _lack("test"),
    "column_values_to_be_in_set label": _label_ten,
    "column_values_to_be_in_set num_splits": _leak(1),
    "column_values_to_be_in_set repeats": _repeat(6),
    "column_values_to_be_between std": _image(lambda image: 128),
    "column_values_to_be_between max": _image(lambda image: image // 12),
    "column_max_to_be_between max": _images(lambda images: images // 2),
    "column_min_to_be_between min": _images(
        lambda images: (40 + images * (215 / 255)).astype(np.uint8)
    ),
    "column_mean_to_be_between mean": _images(lambda images: 255 - images),
    "column_mean_to_be_between std": _faint,
    "column_values_to_be_in_set channels": _images(lambda images: np.repeat(images, 2, axis=1)),
    "column_values_to_be_in_set height": _images(lambda images: images[:, :, :27]),
    "column_values_to_be_in_set width": _images(lambda images: images[:, :, :, :27]),
    "column_values_to_be_in_set dtype": _images(lambda images: images.astype(np.uint16)),
}
IN_PHOTOGRAPHS = {
    **IN_IMAGES,
    "column_values_to_be_in_set num_splits": _leak(5),
    "column_values_to_be_in_set repeats": _repeat(40),
    "column_values_to_be_between std": _some(5, _constant),
    "column_values_to_be_between max": _some(5, lambda images: images // 12),
    "column_mean_to_be_between mean": _images(_white),
}
IN_MANIFEST = {
    "column_pair_values_to_be_equal split_count and split_expected": _count("test"),
    "column_pair_values_to_be_equal class_count and class_expected": _balance,
}
IN_TABLE = {"column_values_to_not_be_null mean": _nan}


@pytest.mark.holds("R-69")
@pytest.mark.parametrize("kind", KINDS)
def test_good_images_meet_every_expectation_and_each_has_a_reason_and_a_counterexample(
    tmp_path, kind
):
    report = report_of(tmp_path, write(tmp_path, made(kind), kind))
    assert failures(report) == []
    assert report["success"]
    validation.check(report)
    assert all(entry["reason"] for entry in report["expectations"])
    assert sorted(map(key, report["expectations"])) == sorted([*IN_IMAGES, *IN_MANIFEST, *IN_TABLE])


@pytest.mark.holds("R-68", "R-69")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", [*IN_IMAGES, *IN_MANIFEST, *IN_TABLE])
def test_each_expectation_is_broken_alone_by_its_counterexample(tmp_path, kind, broken):
    changed = made(kind)
    (IN_IMAGES if kind == "drawings" else IN_PHOTOGRAPHS).get(broken, lambda _: None)(changed)
    manifest = write(tmp_path, changed, kind)
    IN_MANIFEST.get(broken, lambda _: None)(manifest)
    report = report_of(tmp_path, manifest, IN_TABLE.get(broken))
    assert failures(report) == [broken]
    assert not report["success"]
    with pytest.raises(DataError, match="prepared images: expect_"):
        validation.check(report)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_the_manifest_does_not_say_are_found(tmp_path, kind):
    manifest = write(tmp_path, made(kind), kind)
    manifest["channels"] = 4 - manifest["channels"]
    assert failures(report_of(tmp_path, manifest)) == ["column_values_to_be_in_set channels"]


@pytest.mark.parametrize(
    "change", [_leak(1), _repeat(20), _some(3, _constant), _some(2, lambda images: images // 12)]
)
def test_a_few_failures_are_no_fault_of_a_collection_of_photographs(tmp_path, change):
    for kind, success in (("photographs", True), ("drawings", False)):
        changed = made(kind)
        change(changed)
        assert (
            report_of(tmp_path / kind, write(tmp_path / kind, changed, kind))["success"] == success
        )


@pytest.mark.parametrize("size", [28, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_generated_shapes_meet_the_expectations_of_drawings(tmp_path, size, channels):
    manifest = write_prepared(
        tmp_path,
        drawings(size, channels),
        name="fake",
        classes=CLASSES,
        image_size=size,
        drawings=True,
    )
    assert failures(report_of(tmp_path, manifest)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_labels_all_have_the_label_0(tmp_path, kind):
    unlabelled = {
        split: (images, np.zeros_like(labels)) for split, (images, labels) in made(kind).items()
    }
    report = report_of(tmp_path, write(tmp_path, unlabelled, kind, classes=()))
    assert failures(report) == []
    reasons = {key(entry): entry["reason"] for entry in report["expectations"]}
    assert reasons["column_values_to_be_in_set label"] == "images without labels have the label 0"
    unlabelled["train"][1][3] = 1
    failed = failures(report_of(tmp_path, write(tmp_path, unlabelled, kind, classes=())))
    assert "column_values_to_be_in_set label" in failed


@pytest.mark.parametrize(
    ("pixel", "broken"),
    [
        (math.nan, "column_values_to_not_be_null mean"),
        (math.inf, "column_max_to_be_between max"),
        (-1.0, "column_min_to_be_between min"),
        (256.0, "column_max_to_be_between max"),
    ],
)
def test_a_single_pixel_that_is_no_byte_is_found(tmp_path, splits, pixel, broken):
    changed = {
        split: (images.astype(np.float32), labels) for split, (images, labels) in splits.items()
    }
    changed["validation"][0][7, 0, 14, 14] = pixel
    report = report_of(tmp_path, write(tmp_path, changed))
    assert broken in failures(report)
    json.dumps(report, allow_nan=False)


@pytest.mark.holds("R-68")
def test_channels_last_is_found(tmp_path, splits):
    changed = {
        split: (images.transpose(0, 2, 3, 1), labels) for split, (images, labels) in splits.items()
    }
    report = report_of(tmp_path, write(tmp_path, changed))
    assert "column_values_to_be_in_set channels" in failures(report)


def test_black_images_are_named_ten_at_most_with_split_number_and_class(tmp_path, splits):
    changed = copy.deepcopy(splits)
    changed["train"][0][20:40] = 0
    report = report_of(tmp_path, write(tmp_path, changed))
    names = [f"train/{index} {CLASSES[changed['train'][1][index]]}" for index in range(20, 30)]
    entry = next(
        entry for entry in report["expectations"] if key(entry) == "column_values_to_be_between max"
    )
    assert (entry["num_unexpected"], entry["first_unexpected"]) == (20, names)
    report["expectations"] = [entry]
    with pytest.raises(DataError) as caught:
        validation.check(report)
    assert "expect_column_values_to_be_between of max: 20 unexpected images" in str(caught.value)
    assert all(name in str(caught.value) for name in names)
    assert "\n" not in str(caught.value)


def test_the_report_is_the_same_for_the_same_images(tmp_path, splits):
    manifest = write(tmp_path, splits)
    first, second = report_of(tmp_path, manifest), report_of(tmp_path, manifest)
    assert json.dumps(first) == json.dumps(second)


def test_a_damaged_array_never_reaches_the_table(tmp_path, splits):
    manifest = write(tmp_path, splits)
    path = tmp_path / "images-00002.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match=r"images-00002\.npy: sha256 is"):
        validation.statistics(tmp_path, manifest)


@pytest.mark.holds("R-68")
def test_arrays_of_another_form_are_refused(tmp_path, splits):
    flat = {split: (images[:, 0], labels) for split, (images, labels) in splits.items()}
    manifest = write(tmp_path, flat)
    with pytest.raises(DataError, match="expected N x C x H x W and N"):
        validation.statistics(tmp_path, manifest)


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda splits: None, []),
        # One of 41 rows is many repeats; of 100,000 it is not.
        (_leak(1), ["column_values_to_be_in_set num_splits", "column_values_to_be_in_set repeats"]),
        (_label_ten, ["column_values_to_be_in_set label"]),
        (_lack("validation"), [
            "column_distinct_values_to_contain_set label where split is validation"
        ]),
        (_image(lambda image: 128), ["column_values_to_be_between std"]),
        (_image(lambda image: image // 12), ["column_values_to_be_between max"]),
    ],
)  # fmt: skip
def test_of_many_images_the_table_has_a_part_and_what_is_wrong(
    tmp_path, splits, monkeypatch, change, broken
):
    monkeypatch.setattr(validation, "TABLE_ROWS", 40)
    change(splits)
    manifest = write(tmp_path, splits)
    report = report_of(tmp_path, manifest)
    assert failures(report) == broken
    total = sum(len(labels) for _, labels in splits.values())
    assert report["num_images"] == total
    assert 40 <= report["num_rows"] <= 40 + 5 * validation.NUM_NAMED + 3 * 11 < total


def test_copies_are_counted_over_all_images(tmp_path, splits, monkeypatch):
    splits["test"][0][:2] = splits["train"][0][4]
    whole = validation.statistics(tmp_path, write(tmp_path, splits))
    monkeypatch.setattr(validation, "TABLE_ROWS", 40)
    part = validation.statistics(tmp_path, write(tmp_path, splits))
    merged = part.merge(whole, on=["split", "index"], suffixes=("", "_of_whole"))
    assert len(merged) == len(part)
    for column in ("num_splits", "repeats", "class_count", "mean", "max"):
        assert (merged[column] == merged[f"{column}_of_whole"]).all()
    assert part["repeats"].sum() == whole["repeats"].sum() == 2


def test_data_docs_are_written_and_show_the_reasons(tmp_path, splits):
    manifest = write(tmp_path / "prepared", splits)
    validation.validate(
        validation.statistics(tmp_path / "prepared", manifest),
        manifest,
        LIMITS,
        tmp_path / "docs/new",
    )
    assert (tmp_path / "docs/new/index.html").is_file()
    pages = "".join(path.read_text() for path in (tmp_path / "docs/new").rglob("*.html"))
    assert "images in two splits make the test no test" in pages


@pytest.mark.holds("R-70")
def test_data_docs_that_cannot_be_written_change_no_verdict(tmp_path, splits, caplog):
    manifest = write(tmp_path / "prepared", splits)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "closed").mkdir(mode=0o500)
    table = validation.statistics(tmp_path / "prepared", manifest)
    for docs in (
        tmp_path / "file",
        tmp_path / "file/below",
        tmp_path / "closed",
        Path("/proc/nowhere"),
    ):
        assert validation.validate(table, manifest, LIMITS, docs)["success"]
    manifest["splits"]["test"]["count"] += 1
    table = validation.statistics(tmp_path / "prepared", manifest)
    assert not validation.validate(table, manifest, LIMITS, tmp_path / "file")["success"]
    assert caplog.text.count("no Data Docs written") >= 4


# Judgements


def of_own(folder: Path, splits: Splits) -> dict[str, Any]:
    """The manifest of a folder of the user's own."""
    return write_prepared(
        folder, splits, name="mine", classes=CLASSES, image_size=28, own_folder=True
    )


def drawn_on_white() -> Splits:
    """A black line on white: mean about 248."""

    splits, number = drawings(), 0
    for images, _ in splits.values():
        images[:] = 255
        for image in images:
            image[0, 3 + number % 20, 2 : 7 + number // 20] = 0
            number += 1
    return splits


def foggy() -> Splits:
    """Contrast 5."""
    return {
        split: ((150 + images * 0.05).astype(np.uint8), labels)
        for split, (images, labels) in drawings().items()
    }


def stars() -> Splits:
    """Light on black, mean about 12."""
    return {
        split: ((images * 0.3).astype(np.uint8), labels)
        for split, (images, labels) in drawings().items()
    }


@pytest.mark.parametrize(
    ("made", "parameter"),
    [(drawn_on_white, "max_mean"), (foggy, "min_contrast"), (stars, "min_brightest")],
)
def test_a_judgement_is_a_warning_for_a_folder_and_names_the_parameter(tmp_path, made, parameter):
    manifest = of_own(tmp_path, made())
    report = report_of(tmp_path, manifest)
    assert report["success"] and report["judgements"] == "warn"
    validation.check(report)
    named = [line for line in validation.warnings(report) if f"expectations.{parameter}" in line]
    assert len(named) == 1 and "observed" in named[0] and "\n" not in named[0]

    table = validation.statistics(tmp_path, manifest)
    strict = LIMITS.model_copy(update={"judgements": "refuse"})
    report = validation.validate(table, manifest, strict)
    assert not report["success"]
    with pytest.raises(DataError, match=r"set expectations\.\w+ if they are to be so$"):
        validation.check(report)

    loose = {
        "max_mean": 255, "min_mean": 0, "min_contrast": 0, "min_brightest": 0, "max_darkest": 255,
    }  # fmt: skip
    report = validation.validate(table, manifest, strict.model_copy(update=loose))
    assert report["success"] and validation.warnings(report) == []


def test_a_hard_expectation_is_refused_whatever_is_said_of_judgements(tmp_path, splits):
    manifest = of_own(tmp_path, splits)
    manifest["splits"]["test"]["count"] += 1
    table = validation.statistics(tmp_path, manifest)
    report = validation.validate(table, manifest, LIMITS.model_copy(update={"judgements": "warn"}))
    with pytest.raises(DataError, match=r"expect_column_pair_values_to_be_equal .* put the data"):
        validation.check(report)


def test_a_copy_in_two_splits_is_hard_and_a_repeated_image_is_a_judgement(tmp_path, splits):
    report = report_of(tmp_path, of_own(tmp_path, splits))
    kinds = {entry["column"]: entry["kind"] for entry in report["expectations"]}
    assert (kinds["num_splits"], kinds["repeats"]) == ("hard", "judgement")


def test_data_docs_load_nothing_from_the_network(tmp_path, splits):
    manifest = write(tmp_path / "prepared", splits)
    table = validation.statistics(tmp_path / "prepared", manifest)
    validation.validate(table, manifest, LIMITS, tmp_path / "docs")
    pages = [path.read_text() for path in (tmp_path / "docs").rglob("*.html")]
    assert len(pages) == 3  # the index, the suite, the result
    index = (tmp_path / "docs/index.html").read_text()
    for link in re.findall(r'href="([^"]*)"', index):
        assert (tmp_path / "docs" / unquote(link)).is_file()
    for page in pages:
        assert not re.search(r"<(script|link)[^>]*(src|href)=.https?:", page)
