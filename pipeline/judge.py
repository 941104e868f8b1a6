"""Judge any images by the protocol of this project's reference: a folder, or an .npz file."""

import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Option

from dcgan.errors import ConfigError, DataError
from pipeline import cli, tables

if TYPE_CHECKING:
    from dcgan.config import sections
    from dcgan.data import Images

REFERENCE = Path("results/reference")
SHOWN = 10  # files left out that are named


def main(
    images: Annotated[Path, typer.Argument(help="A folder of pictures, or an .npz of an array.")],
    against: Annotated[
        Literal["test", "validation"], Option(help="The real images to compare with.")
    ] = "test",
    out: Annotated[Path | None, Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Judge any images by this project's protocol: python -m pipeline judge FOLDER.

    They are compared with the real images of data/prepared by the extractor of results/reference,
    so both stages must have run. Pictures of another size are prepared as dataset: in params.yaml
    says, and this is told; an array must have the right size.
    """
    from dcgan import files
    from dcgan.config import reading, sections
    from dcgan.judging import figures, reference
    from dcgan.networks import devices

    params = reading.load(sections.AllParams)
    array = (
        of_array(images, params.dataset) if images.is_file() else of_folder(images, params.dataset)
    )
    opened = reference.Reference.open(
        REFERENCE, params.seed, devices.opened(params.training.device)
    )
    real, bounds = opened.real(against), opened.metrics()
    found = real.all_figures(opened.extractor.extract(array))
    table = tables.new("figure", "these images", "floor: real images", "ceiling: noise")
    for key, figure in figures.FIGURES.items():
        if key in found:
            ends = [bounds[end].get(key) for end in ("floor", "ceiling")]
            table.add_row(figure.title, *(_shown(value) for value in (found[key], *ends)))
    print(f"judge: {len(array)} images against the {len(real.sample)} of {against}")
    tables.show(table)
    if len(array) != bounds["num_images"] or against != "test":
        print(
            f"judge: floor and ceiling are of {bounds['num_images']} images against test: FID"
            " depends on the number"
        )
    if found["collapsed"]:
        print("judge: warning: these images are nearly all alike")
    if out is not None:
        protocol = {
            **opened.extractor.description(), "against": against, "images": len(array),
            "real_images": len(real.sample), "seed": params.seed,
        }  # fmt: skip
        bounded = {end: bounds[end] for end in ("floor", "ceiling")}
        files.write_json(out, {**found, **bounded, "protocol": protocol})
        print(f"judge: figures in {out}")


def of_folder(folder: Path, dataset: "sections.Dataset") -> "Images":
    """All pictures below a folder, prepared; says what was done to them.

    Raises:
        ConfigError: there is no such folder.
        DataError: it has no picture that can be used.
    """
    import numpy as np

    from dcgan.preparing import decode
    from dcgan.raw import packing

    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder and no file: give one with pictures")
    decoded, left_out, other = [], [], Counter[str]()
    for path in packing.walk(folder, packing.Found()):
        try:
            file = folder / path
            content = file.read_bytes() if file.is_file() else b""
            image = decode.decode(content, dataset, suffix=file.suffix)
        except (decode.BadImage, decode.RangeWanted, OSError) as error:
            left_out.append(f"{packing.printable(path)} ({error})")
            continue
        decoded.append(image.pixels)
        other.update(fact.name or "" for fact in decode.Fact if fact in image.facts)
    for fact, count in sorted(other.items()):
        print(f"judge: {count} of {len(decoded)}: {fact.lower().replace('_', ' ')}")
    if left_out:
        more = f", and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        print(f"judge: left out: {', '.join(left_out[:SHOWN])}{more}")
    if not decoded:
        raise DataError(f"{folder}: has no picture that can be used: give a folder of pictures")
    return np.stack(decoded)


def of_array(file: Path, dataset: "sections.Dataset") -> "Images":
    """The images of an .npz: `images`, or its only array; uint8, channels first or last.

    Raises:
        DataError: it is no such file, or its images have another size or type.
    """
    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as held:
            names = list(held)
            name = "images" if "images" in names else names[0] if len(names) == 1 else None
            array: Any = None if name is None else held[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: is no .npz with an array of images ({error})") from error
    if array is None:
        raise DataError(f"{file}: has the arrays {', '.join(names[:5])}: name one of them images")
    side, channels = dataset.image_size, dataset.channels
    first, last = (channels, side, side), (side, side, channels)
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[1:] == last != first:
        array = array.transpose(0, 3, 1, 2)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1:] != first or not len(array):
        raise DataError(
            f"{file}: holds {array.dtype} {' x '.join(map(str, array.shape))}, expected uint8"
            f" N x {channels} x {side} x {side} or N x {side} x {side} x {channels}"
        )
    return np.ascontiguousarray(array)


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    cli.run(main)
