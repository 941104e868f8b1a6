"""What must hold of the prepared images before a network is trained on them.

The only module that knows Great Expectations. It looks at one table, a row an image, and at the
manifest; of many images the table has a part, but what a row says of its image's copies and class
is counted over all of them. Counts, labels, sizes and copies across splits are hard: they are right
or wrong. Brightness, contrast and repeated images are judgements: line drawings or fog are no
errors, so the section `expectations` of params.yaml has their limits. Verdict and report are ours;
the HTML pages
(Data Docs) are a courtesy that may fail.
"""

import hashlib
import logging
import math
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.checkpoint.actions import UpdateDataDocsAction, ValidationAction
from great_expectations.expectations.row_conditions import Column

from dcgan import data, files, rng
from dcgan.config import sections
from dcgan.errors import DataError

gxe: Any = gx.expectations  # a strict checker finds neither its names nor row_condition's type
MOST = 0.99  # of photographs must meet an expectation
NUM_NAMED = 10  # images that a failed expectation names
TABLE_ROWS = 100_000  # of the table, about, however many images there are
PIECE_BYTES = 2**27  # of pixels as float64 at a time
BLACK = 32  # an image whose brightest pixel is below this shows nothing
HARD, JUDGEMENT = "hard", "judgement"
# What Data Docs load from the network, and scripts that wait for it; their text is in the pages.
REMOTE = re.compile(r"""<link[^>]*href="https?://[^>]*>|<script.*?</script>""", re.DOTALL)
STYLE = """<style>
body { font: 16px/1.4 sans-serif; margin: 2em; }
table { border-collapse: collapse; }
td, th { border: 1px solid #bbb; padding: .3em .6em; text-align: left; }
pre { white-space: pre-wrap; }
</style>"""

logger = logging.getLogger(__name__)


def statistics(folder: Path, manifest: dict[str, Any]) -> pd.DataFrame:
    """One row for each prepared image, all splits, after the files' sha256 is checked.

    Of more than TABLE_ROWS images the table has so many, drawn from each split in its share; and
    with them the first images of each label, and those that break an expectation of single images,
    so that what breaks one is always seen.

    Columns: `index` (in its split), `split`, `label`, `class`; `mean`, `std`, `min`, `max` of its
    pixels; `height`, `width`, `channels`, `dtype`; counted over all images: `num_splits` that have
    the same pixels; `repeats`, 1 if an earlier image has them; `split_count` and `class_count`,
    images of its split, and of these with its label; `split_expected` and `class_expected`, the
    manifest's figures.

    Raises:
        DataError: a file is missing or damaged, or labels and images differ in number.
    """
    names = dict(enumerate(manifest["classes"]))
    splits = {split: _opened(folder, split) for split in data.SPLITS}
    pixels = {split: _pixel_statistics(opened.images) for split, opened in splits.items()}
    num_splits, repeats = _copies([pixels[split].pop("digest") for split in data.SPLITS])
    total, start, parts = len(repeats), 0, []
    for split, opened in splits.items():
        here = slice(start, start + len(opened.labels))
        start = here.stop
        labels = np.asarray(opened.labels)
        measured = {**pixels[split], "num_splits": num_splits[here], "repeats": repeats[here]}
        rows = _rows_of_table(measured, labels, len(names), total)
        part = pd.DataFrame({"index": rows, "split": split, "label": labels[rows]})
        part["class"] = part["label"].map(names).fillna("no class")
        for column, values in measured.items():
            part[column] = values[rows]
        part["channels"], part["height"], part["width"] = opened.images.shape[1:]
        part["dtype"] = str(opened.images.dtype)
        part["split_count"] = len(labels)
        part["split_expected"] = manifest["splits"][split]["count"]
        part["class_count"] = part["label"].map(pd.Series(labels).value_counts())
        part["class_expected"] = (
            part["label"]
            .map(dict(enumerate(manifest["splits"][split]["per_class"])))
            .fillna(0)
            .astype(int)
        )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def expectations(manifest: dict[str, Any], limits: sections.Expectations) -> list[Any]:
    """What must hold of the table, each with its reason.

    Each one's `meta` has its `kind`, HARD or JUDGEMENT, and for a judgement its `parameters`, the
    keys of `limits` by the name of the limit.
    """
    drawings = manifest["drawings"]
    hard = [
        *(expectation for split in data.SPLITS for expectation in _of_split(manifest, split)),
        gxe.ExpectColumnValuesToBeInSet(
            column="label",
            value_set=_labels(manifest),
            notes="a label outside the classes has no name"
            if manifest["classes"]
            else "images without labels have the label 0",
        ),
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A="split_count",
            column_B="split_expected",
            notes="a split must not lose or double images",
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
        gxe.ExpectColumnValuesToBeInSet(
            column="num_splits",
            value_set=[1],
            # Drawings are chosen by hand; photographs are collected by the thousand.
            mostly=1.0 if drawings else MOST,
            notes="images in two splits make the test no test; dataset.duplicates: exact drops"
            " them",
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
    for expectation in hard:
        expectation.meta = {"kind": HARD, "parameters": {}}
    return [*hard, *_judgements(drawings, limits)]


def _judgements(drawings: bool, limits: sections.Expectations) -> list[Any]:
    """What most pictures meet. Drawings are single things, bright on black, and held to more."""
    most = 1.0 if drawings else MOST

    def limit(key: str, of_drawings: float, of_photographs: float) -> float:
        given: float | None = getattr(limits, key)
        known = of_drawings if drawings else of_photographs
        return known if given is None else given

    judged = [
        (
            gxe.ExpectColumnValuesToBeInSet(
                column="repeats",
                value_set=[0],
                mostly=0.99 if drawings else 0.9,
                notes="many repeated images are a copying error, and a GAN learns them by heart;"
                " dataset.duplicates: exact drops them",
            ),
            {},
        ),
        (
            gxe.ExpectColumnValuesToBeBetween(
                column="std",
                min_value=0,
                strict_min=True,
                mostly=most,
                notes="a constant image shows nothing",
            ),
            {},
        ),
        (
            gxe.ExpectColumnValuesToBeBetween(
                column="max",
                min_value=BLACK,
                mostly=most,
                notes="an all but black image shows nothing",
            ),
            {},
        ),
        (
            gxe.ExpectColumnMeanToBeBetween(
                column="mean",
                min_value=limit("min_mean", 12, 20),
                max_value=limit("max_mean", 127, 235),
                notes="pictures are neither black nor white on average, and things on black are"
                " dark: else they are inverted or wrongly scaled, or are such pictures",
            ),
            {"min_value": "min_mean", "max_value": "max_mean"},
        ),
        (
            gxe.ExpectColumnMeanToBeBetween(
                column="std",
                min_value=limit("min_contrast", 25, 20),
                notes="images without contrast are blurred or wrongly scaled, or are such pictures",
            ),
            {"min_value": "min_contrast"},
        ),
        (
            gxe.ExpectColumnMaxToBeBetween(
                column="max",
                min_value=limits.min_brightest,
                max_value=255,
                notes="the pixels do not fill the range 0 to 255",
            ),
            {"min_value": "min_brightest"},
        ),
        (
            gxe.ExpectColumnMinToBeBetween(
                column="min",
                min_value=0,
                max_value=limits.max_darkest,
                notes="the pixels do not fill the range 0 to 255",
            ),
            {"max_value": "max_darkest"},
        ),
    ]
    for expectation, parameters in judged:
        expectation.meta = {"kind": JUDGEMENT, "parameters": parameters}
    return [expectation for expectation, _ in judged]


def _labels(manifest: dict[str, Any]) -> list[int]:
    """The labels that may occur; images without labels have the label 0."""
    return list(range(max(1, len(manifest["classes"]))))


def _of_split(manifest: dict[str, Any], split: str) -> list[Any]:
    within = {"row_condition": Column("split") == split}
    reason = (
        f"a class that {split} lacks is neither learnt nor judged"
        if manifest["classes"]
        else f"{split} must not be empty"
    )
    return [
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="label", value_set=_labels(manifest), **within, notes=reason
        )
    ]


def validate(
    table: pd.DataFrame,
    manifest: dict[str, Any],
    limits: sections.Expectations,
    docs: Path | None = None,
) -> dict[str, Any]:
    """Check a table of statistics against the expectations.

    Args:
        table: what `statistics` returns.
        manifest: of the same images.
        limits: the section `expectations` of params.yaml. With `judgements: auto` a judgement that
            fails is a warning for a folder of the user's own, and a refusal for any other data.
        docs: folder for Data Docs, HTML; None: none. A folder that cannot be written is a warning
            and changes no verdict.

    Returns:
        The report, equal for equal images: `success`, `num_images`, `num_rows` of the table,
        `data_sha256`, `judgements` (refuse or warn), and for each of the `expectations` its name,
        column, condition, limits, reason, kind (hard or judgement), success, what was observed, the
        number of unexpected images and the first of them, and the `parameter` that would let it
        pass, or null.
    """
    context: Any = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False}
    suite_content = expectations(manifest, limits)
    for position, expectation in enumerate(suite_content):
        expectation.meta["position"] = position  # results come in another order
    suite = context.suites.add(gx.ExpectationSuite("prepared images", expectations=suite_content))
    batch = (
        context.data_sources.add_pandas("prepared")
        .add_dataframe_asset("images")
        .add_batch_definition_whole_dataframe("all")
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="prepared images", data=batch, suite=suite)
    )
    actions: list[ValidationAction] = (
        [UpdateDataDocsAction(name="Data Docs")] if _add_site(context, docs) else []
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="prepared images",
            validation_definitions=[definition],
            actions=actions,
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": ["split", "index", "class"],
                "partial_unexpected_count": NUM_NAMED,
            },
        )
    )
    (result,) = checkpoint.run(batch_parameters={"dataframe": table}).run_results.values()
    if actions and docs is not None:
        _read_offline(docs)
    entries = sorted(
        (_entry(item.to_json_dict()) for item in result.results),
        key=lambda entry: entry.pop("position"),
    )
    judgements = limits.judgements
    if judgements == "auto":
        judgements = "warn" if manifest["own_folder"] else "refuse"
    return {
        "success": all(
            entry["success"] or (entry["kind"] == JUDGEMENT and judgements == "warn")
            for entry in entries
        ),
        "num_images": sum(split["count"] for split in manifest["splits"].values()),
        "num_rows": len(table),
        "data_sha256": data.data_sha256(manifest),
        "judgements": judgements,
        "expectations": entries,
    }


def warnings(report: dict[str, Any]) -> list[str]:
    """A line for each judgement that failed in a report, without a verdict."""
    return [
        f"{_failure(entry)}; {_way_out(entry)}"
        for entry in report["expectations"]
        if not entry["success"] and entry["kind"] == JUDGEMENT
    ]


def check(report: dict[str, Any]) -> None:
    """Raise an error if the report's verdict is a refusal.

    Raises:
        DataError: one line that names the first failed expectation, its column and its first
            images, what lets it pass, and the number of other failed ones.
    """
    if report["success"]:
        return
    failed = [
        entry
        for entry in report["expectations"]
        if not entry["success"] and (entry["kind"] == HARD or report["judgements"] == "refuse")
    ]
    raise DataError(
        f"prepared images: {_failure(failed[0])};"
        f" {len(failed)} of {len(report['expectations'])} expectations failed;"
        f" {_way_out(failed[0])}"
    )


def _failure(entry: dict[str, Any]) -> str:
    """What was found, what was expected, and why."""
    outcome = (
        f"observed {entry['observed']}"
        if entry["num_unexpected"] is None
        else f"{entry['num_unexpected']} unexpected images"
    )
    named = f" ({', '.join(entry['first_unexpected'])})" if entry["first_unexpected"] else ""
    limits = ", ".join(f"{key} {value}" for key, value in entry["limits"].items()) or "none"
    return (
        f"{entry['expectation']} of {entry['column']}{entry['condition']}: {outcome}{named},"
        f" expected {limits}: {entry['reason']}"
    )


def _way_out(entry: dict[str, Any]) -> str:
    if entry["kind"] == HARD:
        return "put the data right"
    if entry["parameter"] is None:
        return "put the data right, or set expectations.judgements to warn"
    return f"put the data right, or set expectations.{entry['parameter']} if they are to be so"


def _entry(result: dict[str, Any]) -> dict[str, Any]:
    """One expectation's lines in the report."""
    config, outcome = result["expectation_config"], result["result"]
    limits = {
        key: value
        for key, value in config["kwargs"].items()
        if key not in {"batch_id", "column", "row_condition"}
    }
    observed, meta = outcome.get("observed_value"), config["meta"]
    missed = [
        parameter
        for limit, parameter in meta["parameters"].items()
        if not result["success"]
        and isinstance(observed, int | float)
        and (observed < limits[limit] if limit == "min_value" else observed > limits[limit])
    ]
    pair = [limits.pop(key) for key in ("column_A", "column_B") if key in limits]
    condition = config["kwargs"].get("row_condition")
    unexpected = outcome.get("partial_unexpected_index_list") or []
    return {
        "position": meta["position"],
        "expectation": config["type"],
        "column": config["kwargs"].get("column") or " and ".join(pair) or "the table",
        "condition": f" where {condition['column']['name']} is {condition['parameter']}"
        if condition
        else "",
        "limits": limits,
        "reason": config["notes"],
        "kind": meta["kind"],
        "parameter": missed[0] if missed else None,
        "success": bool(result["success"]),
        "observed": _plain(outcome.get("partial_missing_list") or observed),
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


def _opened(folder: Path, split: str) -> data.Split:
    opened = data.open_split(folder, split, verify=True)
    if opened.images.ndim != 4 or opened.labels.shape != opened.images.shape[:1]:
        raise DataError(
            f"{folder}: {split} images have shape {opened.images.shape},"
            f" labels {opened.labels.shape}:"
            " expected N x C x H x W and N: run the stage that makes them"
        )
    return opened


def _pixel_statistics(images: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Of N images `mean` and `std`, float64, the least and the greatest pixel, and a `digest`."""
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    piece = max(1, PIECE_BYTES // (8 * math.prod(images.shape[1:])))
    for start in range(0, len(images), piece):
        some = images[start : start + piece]
        # Half of these bits would do to tell ten million images from one another.
        digests = (hashlib.sha256(image.tobytes()).digest()[:8] for image in some)
        flat = some.reshape(len(some), -1)
        pixels = flat.astype(np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf, in images that the expectations refuse
            measured = {
                "mean": pixels.mean(1), "std": pixels.std(1),
                "min": flat.min(1), "max": flat.max(1),
                "digest": np.frombuffer(b"".join(digests), np.uint64),
            }  # fmt: skip
        for name, values in measured.items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def _copies(
    digests: list[np.ndarray[Any, Any]],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Of each image of all splits: how many splits have its pixels, and 1 if an earlier one has."""
    _, first, image = np.unique(np.concatenate(digests), return_index=True, return_inverse=True)
    has, start = np.zeros(len(first), np.uint8), 0
    for number, split in enumerate(digests):
        has[image[start : start + len(split)]] |= 1 << number
        start += len(split)
    return np.bitwise_count(has)[image], (first[image] < np.arange(start)).astype(np.uint8)


def _rows_of_table(
    measured: dict[str, np.ndarray[Any, Any]],
    labels: np.ndarray[Any, Any],
    num_classes: int,
    total: int,
) -> np.ndarray[Any, Any]:
    """Which images of a split the table has, in rising order; see `statistics`."""
    if total <= TABLE_ROWS:
        return np.arange(len(labels))
    # The seed is no parameter: the same images give the same report.
    drawn = rng.choose(len(labels), -(-TABLE_ROWS * len(labels) // total), 0, "validate").numpy()
    wrong = (
        labels >= max(1, num_classes),
        measured["num_splits"] > 1,
        measured["repeats"] > 0,
        measured["std"] == 0,
        measured["max"] < BLACK,
    )
    broken = [np.flatnonzero(where)[:NUM_NAMED] for where in wrong]
    return np.unique(np.concatenate([drawn, *broken, np.unique(labels, return_index=True)[1]]))


def _add_site(context: Any, folder: Path | None) -> bool:
    """Prepare a folder for Data Docs; whether it can be written."""
    if folder is None:
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)  # pages of an earlier run
        # Tried first, because the site builder reports a folder that it cannot write with a long
        # traceback.
        files.write_text(folder / "index.html", "")
        store = {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.resolve()),
        }
        index = {"class_name": "DefaultSiteIndexBuilder"}
        context.update_data_docs_site(
            "local_site",
            {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store},
        )
    except Exception as error:  # the verdict does not need the pages
        logger.warning(
            "%s: no Data Docs written (%s): the verdict does not need them", folder, error
        )
        return False
    return True


def _read_offline(folder: Path) -> None:
    """Make the pages readable without a network: a few lines of style, and an index that links."""
    pages = sorted(path for path in folder.rglob("*.html") if path != folder / "index.html")
    for path in pages:
        page = REMOTE.sub("", path.read_text())
        files.write_text(path, page.replace("</head>", f"{STYLE}</head>", 1))
    links = (
        f'<li><a href="{quote(path.relative_to(folder).as_posix())}">{name}</a></li>'
        for path in pages
        for name in ("Results" if "validations" in path.parts else "Expectations and reasons",)
    )
    files.write_text(
        folder / "index.html",
        f'<!DOCTYPE html><html><head><meta charset="utf-8">{STYLE}<title>Data Docs</title></head>'
        f"<body><h1>Data Docs of the prepared images</h1><ul>{''.join(links)}</ul></body></html>\n",
    )
