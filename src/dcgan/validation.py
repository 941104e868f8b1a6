"""What must hold of the prepared images before a network is trained on them.

The only module that knows Great Expectations. It looks at one table, a row an image, and at the
manifest. Verdict and report are ours; the HTML pages (Data Docs) are a courtesy that may fail.
"""

import hashlib
import logging
import math
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.expectations.row_conditions import Column

from dcgan import data
from dcgan.errors import DataError

gxe: Any = gx.expectations  # a strict checker finds neither its names nor row_condition's type
MOST = 0.99  # of photographs must meet an expectation
NUM_NAMED = 10  # images that a failed expectation names

logger = logging.getLogger(__name__)


def statistics(folder: Path, manifest: dict[str, Any]) -> pd.DataFrame:
    """One row for each prepared image, all splits, after the files' sha256 is checked.

    Columns: `index` (in its split), `split`, `label`, `class`; `mean`, `std`, `min`, `max` of its
    pixels; `height`, `width`, `channels`, `dtype`; `sha256` of its pixels; `num_splits` that have
    the same pixels; `class_count`, images with its split and label, and `class_expected`, the
    manifest's figure.

    Raises:
        DataError: a file is missing or damaged, or labels and images differ in number.
    """
    names = dict(enumerate(manifest["classes"]))
    parts = []
    for split in data.SPLITS:
        images, labels = _arrays(folder, split)
        label = pd.Series(np.asarray(labels))
        rows = pd.DataFrame({"index": np.arange(len(images)), "split": split, "label": label})
        rows["class"] = rows["label"].map(names).fillna("no class")
        rows[["mean", "std", "min", "max"]] = _pixel_statistics(images)
        rows["channels"], rows["height"], rows["width"] = images.shape[1:]
        rows["dtype"] = str(images.dtype)
        rows["sha256"] = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        rows["class_count"] = rows.groupby("label")["label"].transform("size")
        rows["class_expected"] = (
            rows["label"]
            .map(dict(enumerate(manifest["splits"][split]["per_class"])))
            .fillna(0)
            .astype(int)
        )
        parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    table["num_splits"] = table.groupby("sha256")["split"].transform("nunique")
    return table


def expectations(manifest: dict[str, Any]) -> list[Any]:
    """What must hold of the table, each with its reason."""
    return [
        *(expectation for split in data.SPLITS for expectation in _of_split(manifest, split)),
        gxe.ExpectColumnValuesToBeInSet(
            column="label",
            value_set=_labels(manifest),
            notes="a label outside the classes has no name"
            if manifest["classes"]
            else "images without labels have the label 0",
        ),
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A="class_count",
            column_B="class_expected",
            notes="the balance of classes must be the one that prepare recorded",
        ),
        # Nulls are ignored by all other expectations, so NaN has one of its own.
        gxe.ExpectColumnValuesToNotBeNull(
            column="mean", notes="one NaN pixel makes batch norm's running mean NaN"
        ),
        *(_of_drawings() if manifest["drawings"] else _of_photographs()),
        gxe.ExpectColumnMaxToBeBetween(
            column="max",
            min_value=224,
            max_value=255,
            notes="pixels not on the scale 0 .. 255 do not fill [-1, 1], or leave it",
        ),
        gxe.ExpectColumnMinToBeBetween(
            column="min",
            min_value=0,
            max_value=31,
            notes="pixels not on the scale 0 .. 255 do not fill [-1, 1], or leave it",
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="channels",
            value_set=sorted({1, 3} & {manifest["channels"]}),
            notes="arrays are N x C x H x W, grey or coloured, as the manifest says",
        ),
        *(
            gxe.ExpectColumnValuesToBeInSet(
                column=side,
                value_set=[manifest["image_size"]],
                notes=f"the networks make and judge images of this {side}",
            )
            for side in ("height", "width")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="dtype",
            value_set=["uint8"],
            notes="only bytes map onto [-1, 1] by x / 127.5 - 1",
        ),
    ]


def _labels(manifest: dict[str, Any]) -> list[int]:
    """The labels that may occur; images without labels have the label 0."""
    return list(range(max(1, len(manifest["classes"]))))


def _of_split(manifest: dict[str, Any], split: str) -> list[Any]:
    within = {"row_condition": Column("split") == split}
    count = manifest["splits"][split]["count"]
    reason = (
        f"a class that {split} lacks is neither learnt nor judged"
        if manifest["classes"]
        else f"{split} must not be empty"
    )
    return [
        gxe.ExpectTableRowCountToEqual(
            value=count, **within, notes=f"{split} must not lose or double images"
        ),
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="label", value_set=_labels(manifest), **within, notes=reason
        ),
    ]


def _of_drawings() -> list[Any]:
    """Single things, bright on black, chosen by hand: strict."""
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="num_splits",
            value_set=[1],
            notes="an image in two splits makes the test no test",
        ),
        gxe.ExpectColumnProportionOfUniqueValuesToBeBetween(
            column="sha256",
            min_value=0.99,
            notes="many repeated images are a copying error, and a GAN learns them by heart",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="std", min_value=0, strict_min=True, notes="a constant image shows nothing"
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="max", min_value=32, notes="an all but black image shows nothing"
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="mean",
            min_value=12,
            max_value=127,
            notes="things are bright on black; a bright mean says the images are inverted",
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="std",
            min_value=25,
            notes="images without contrast are blurred or wrongly scaled",
        ),
    ]


def _of_photographs() -> list[Any]:
    """Collected by the thousand and not checked by hand: a few failures are allowed."""
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="num_splits",
            value_set=[1],
            mostly=MOST,
            notes="images in two splits make the test no test; collections have a few"
            " (dataset.duplicates: exact drops them)",
        ),
        gxe.ExpectColumnProportionOfUniqueValuesToBeBetween(
            column="sha256",
            min_value=0.9,
            notes="more than one repeated image in ten is a copying error; collections have a few",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="std",
            min_value=0,
            strict_min=True,
            mostly=MOST,
            notes="a constant image shows nothing; collections have a few",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="max",
            min_value=32,
            mostly=MOST,
            notes="an all but black image shows nothing; collections have a few",
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="mean",
            min_value=20,
            max_value=235,
            notes="photographs are neither black nor white on average;"
            " else the pixels are wrongly scaled",
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="std",
            min_value=20,
            notes="images without contrast are blurred or wrongly scaled",
        ),
    ]


def validate(
    table: pd.DataFrame, manifest: dict[str, Any], docs: Path | None = None
) -> dict[str, Any]:
    """Check a table of statistics against the expectations.

    Args:
        table: what `statistics` returns.
        manifest: of the same images.
        docs: folder for Data Docs, HTML; None: none. A folder that cannot be written is a warning
            and changes no verdict.

    Returns:
        The report, equal for equal images: `success`, `num_images`, `data_sha256`, and for each of
        the `expectations` its name, column, condition, limits, reason, success, what was observed,
        the number of unexpected images and the first of them.
    """
    context: Any = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False}
    suite_content = expectations(manifest)
    for position, expectation in enumerate(suite_content):
        expectation.meta = {"position": position}  # results come in another order
    suite = context.suites.add(gx.ExpectationSuite("prepared images", expectations=suite_content))
    batch = (
        context.data_sources.add_pandas("prepared")
        .add_dataframe_asset("images")
        .add_batch_definition_whole_dataframe("all")
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="prepared images", data=batch, suite=suite)
    )
    result = definition.run(
        batch_parameters={"dataframe": table},
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": ["split", "index", "class"],
            "partial_unexpected_count": NUM_NAMED,
        },
    )
    if docs is not None:
        _write_docs(context, docs)
    entries = sorted(
        (item.to_json_dict() for item in result.results),
        key=lambda item: item["expectation_config"]["meta"]["position"],
    )
    return {
        "success": bool(result.success),
        "num_images": len(table),
        "data_sha256": data.data_sha256(manifest),
        "expectations": [_entry(entry) for entry in entries],
    }


def check(report: dict[str, Any]) -> None:
    """Raise an error if the report says that an expectation failed.

    Raises:
        DataError: one line that names the first failed expectation, its column and its first
            images, and the number of other failed ones.
    """
    failed = [entry for entry in report["expectations"] if not entry["success"]]
    if report["success"] and not failed:
        return
    first = failed[0]
    outcome = (
        f"observed {first['observed']}"
        if first["num_unexpected"] is None
        else f"{first['num_unexpected']} unexpected images"
    )
    named = f" ({', '.join(first['first_unexpected'])})" if first["first_unexpected"] else ""
    limits = ", ".join(f"{key} {value}" for key, value in first["limits"].items()) or "none"
    raise DataError(
        f"prepared images: {first['expectation']} of {first['column']}{first['condition']}:"
        f" {outcome}{named}, expected {limits}: {first['reason']};"
        f" {len(failed)} of {len(report['expectations'])} expectations failed; put the data right"
    )


def _entry(result: dict[str, Any]) -> dict[str, Any]:
    """One expectation's lines in the report."""
    config, outcome = result["expectation_config"], result["result"]
    limits = {
        key: value
        for key, value in config["kwargs"].items()
        if key not in {"batch_id", "column", "row_condition"}
    }
    pair = [limits.pop(key) for key in ("column_A", "column_B") if key in limits]
    condition = config["kwargs"].get("row_condition")
    unexpected = outcome.get("partial_unexpected_index_list") or []
    return {
        "expectation": config["type"],
        "column": config["kwargs"].get("column") or " and ".join(pair) or "the table",
        "condition": f" where {condition['column']['name']} is {condition['parameter']}"
        if condition
        else "",
        "limits": limits,
        "reason": config["notes"],
        "success": bool(result["success"]),
        "observed": _plain(outcome.get("partial_missing_list") or outcome.get("observed_value")),
        "num_unexpected": outcome.get("unexpected_count"),
        "first_unexpected": [
            f"{row['split']}/{row['index']} {row['class']}" for row in unexpected[:NUM_NAMED]
        ],
    }


def _plain(observed: Any) -> float | str | None:
    """What JSON can hold."""
    if observed is None:
        return None
    if isinstance(observed, list):
        return f"none of {observed}"
    return round(float(observed), 4) if math.isfinite(observed) else str(observed)


def _arrays(folder: Path, split: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    opened = data.open_split(folder, split, verify=True)
    if opened.images.ndim != 4 or opened.labels.shape != opened.images.shape[:1]:
        raise DataError(
            f"{folder}: {split} images have shape {opened.images.shape},"
            f" labels {opened.labels.shape}:"
            " expected N x C x H x W and N: run the stage that makes them"
        )
    return opened.images, opened.labels


def _pixel_statistics(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """N x 4 float64: mean, standard deviation, least and greatest pixel of each image."""
    rows = []
    # In pieces: float64 takes eight times the images' memory.
    for start in range(0, len(images), 5000):
        pixels = (
            images[start : start + 5000]
            .reshape(len(images[start : start + 5000]), -1)
            .astype(np.float64)
        )
        with np.errstate(invalid="ignore"):  # inf - inf, in images that the expectations refuse
            rows.append(
                np.stack([pixels.mean(1), pixels.std(1), pixels.min(1), pixels.max(1)], axis=1)
            )
    return np.concatenate(rows)


def _write_docs(context: Any, folder: Path) -> None:
    try:
        # Made first, because the site builder reports a folder that it cannot make with a long
        # traceback.
        folder.mkdir(parents=True, exist_ok=True)
        store = {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.resolve()),
        }
        index = {"class_name": "DefaultSiteIndexBuilder"}
        context.add_data_docs_site(
            "local",
            {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store},
        )
        context.build_data_docs(site_names=["local"])
    except Exception as error:  # the verdict does not need the pages
        logger.warning(
            "%s: no Data Docs written (%s): the verdict does not need them", folder, error
        )
