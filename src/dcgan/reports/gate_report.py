"""The gate's decision for people: what gate.json says, and both generators' images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcgan.data import Images
from dcgan.judging.figures import FIGURES
from dcgan.pictures import grids
from dcgan.pictures.grids import Picture
from dcgan.reports.markdown import number, spaced_table, table


def save_picture(path: Path, images: Mapping[str, Images]) -> None:
    """Write the images of both side by side under their roles, or of one alone, as PNG.

    Args:
        path: where; without images an older picture is deleted.
        images: by role, champion and challenger, uint8 N x C x H x W.
    """
    path.unlink(missing_ok=True)
    if (picture := _picture(images)) is not None:
        grids.save_png(path, picture)


def markdown(record: Mapping[str, Any], picture: str | None) -> str:
    """What gate.json says, for people.

    Args:
        record: the content of gate.json.
        picture: address of the picture with both generators' images; None: no picture.
    """
    challenger, numbers = record["challenger"], record["numbers"]
    parts = [
        f"# {record['dataset']}: {record['outcome']}",
        "\n".join(f"* {reason}" for reason in record["reasons"]),
        f"Challenger: epoch {challenger['epoch']}, {challenger['weights']} weights,"
        f" of the training `{challenger['fingerprint']}`.",
    ]
    if numbers:
        parts += [_figures(record), *_margins(numbers), _protocol(record["protocol"])]
        if picture:
            parts.append(f"![champion and challenger]({picture})")
    return "\n\n".join(parts) + "\n"


def of_version(record: Mapping[str, Any]) -> str:
    """The description of the version that a challenger becomes, Markdown.

    Args:
        record: the content of gate.json.
    """
    challenger, figures = record["challenger"], record["numbers"]["challenger"]
    rows = [[name, _value(figures[name])] for name in sorted(figures, key=_place)]
    return (
        f"Epoch {challenger['epoch']}, {challenger['weights']} weights. {record['reasons'][0]}\n\n"
        f"{spaced_table(['figure', 'measured by the gate'], rows)}\n\n"
        f"{_protocol(record['protocol'])} These vectors are the gate's own, so the run's page,"
        " which has the draws of the stage evaluate, differs a little."
    )


def _figures(record: Mapping[str, Any]) -> str:
    """The table: both generators' figures and the limits."""
    champion, numbers = record["champion"], record["numbers"]
    old = f"champion, version {champion['version']}" if champion else "no champion"
    of_champion, of_challenger = numbers["champion"] or {}, numbers["challenger"]
    floors = {floor["figure"]: floor for floor in numbers["floors"]}
    names = sorted({*of_challenger, *of_champion, *floors}, key=_place)
    rows = []
    for name in names:
        floor = floors.get(name, {"limit": None, "verdict": ""})
        limit = ""
        if floor["limit"] is not None:
            side = "at most" if FIGURES[name].better == "lower" else "at least"
            limit = f"{side} {floor['limit']}"
        values = (_value(its.get(name)) for its in (of_champion, of_challenger))
        rows.append([name, *values, limit, floor["verdict"]])
    return table(["", old, "challenger", "limit", ""], rows)


def _margins(numbers: Mapping[str, Any]) -> list[str]:
    """The comparison in a sentence; none where there was nothing to compare with."""
    if "margins" not in numbers:
        return []
    margins = ", ".join(f"{name} {number(value)}" for name, value in numbers["margins"].items())
    return [
        f"Gain in FID {number(numbers['gain'])}; margin {number(numbers['margin'])},"
        f" the largest of {margins}."
    ]


def _protocol(protocol: Mapping[str, Any]) -> str:
    return (
        f"{protocol['generated_images']} generated against {protocol['real_images']} real test"
        f" images; mean and standard deviation over {protocol['draws']} draws, of the same latent"
        f" vectors for both; seed {protocol['seed']}; extractor `{protocol['extractor']}`"
        f" `{protocol['extractor_sha256'][:16]}`."
    )


def _place(name: str) -> tuple[bool, str]:
    """Sorts the names of figures: the FID first."""
    return name != "fid", name


def _value(figure: Mapping[str, float | None] | None) -> str:
    return "" if figure is None else number(figure["mean"], figure["deviation"])


def _picture(images: Mapping[str, Images]) -> Picture | None:
    tiled = {
        role: grids.enlarged(grids.tile(its_images, columns=8), 2)
        for role, its_images in images.items()
    }
    if len(tiled) == 2:
        (left_role, left), (right_role, right) = tiled.items()
        return grids.beside(left, left_role, right, right_role)
    for role, grid in tiled.items():
        return grids.labelled(grid, role)
    return None
