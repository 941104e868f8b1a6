"""Tiny data sets in the formats of the real ones, as `dataset.source` takes them."""

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image
from scipy.io import savemat

from dcgan.config import sections
from dcgan.raw import cifar10
from tests.support import shapes

# The names of the forty, in the publisher's order.
ATTRIBUTES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose"
    " Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses"
    " Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache"
    " Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks"
    " Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick"
    " Wearing_Necklace Wearing_Necktie Young"
)


def section(name: str, source: object, **changes: object) -> sections.Dataset:
    """The section `dataset` of params.yaml for a data set."""
    values = {
        "name": name,
        "source": None if source is None else str(source),
        "download_minutes": None,
        "image_size": 32,
        "channels": 3,
        "title": None,
        "crop": None,
        "fit": "crop",
        "background": "white",
        "enlarge": "twice",
        "max_value": None,
        "class_folders": True,
        "attributes": [],
        "validation_size": 20,
        "test_size": 20 if name in sections.WITHOUT_TEST_SPLIT else 0,
        "max_images": None,
        "on_bad_image": "refuse",
        "duplicates": "keep",
        "near_bits": 4,
    }
    return sections.Dataset(**{**values, **changes})


def pictures(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """N x 32 x 32 x 3 and labels."""
    images, labels = shapes.draw(count, 32, 3, seed)
    return images.transpose(0, 2, 3, 1), labels


def write_cifar(folder: Path, each: int = 4) -> dict[str, bytes]:
    """The publisher's tar with `each` images a file; returns the files that are in it."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {}
    for number, name in enumerate(cifar10.NAMES):
        images, labels = shapes.draw(each, 32, 3, seed=number)
        contents[name] = b"".join(
            bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
        )
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in {
            "readme.html": b"<html>",
            **contents,
            "batches.meta.txt": b"airplane\n",
        }.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return contents


def write_svhn(folder: Path, num_train: int = 12, num_test: int = 11) -> None:
    """The two MATLAB files; digit 0 is label 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, count) in enumerate((("train", num_train), ("test", num_test))):
        images, labels = pictures(count, seed)
        values = {
            "X": images.transpose(1, 2, 3, 0),
            "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None],
        }
        savemat(folder / f"{part}_32x32.mat", values, do_compression=True)


def encoded(image: np.ndarray, kind: str) -> bytes:
    """One image as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=kind)
    return buffer.getvalue()


def animated(images: np.ndarray) -> bytes:
    """Images as the frames of one GIF."""
    first, *rest = (Image.fromarray(image) for image in images)
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=rest)
    return buffer.getvalue()


def write_celeba(
    folder: Path,
    partitions: Sequence[int] = (0, 0, 1, 2, 0, 2),
    *,
    enlarged: bool = False,
    attributes: Sequence[Sequence[str]] | None = None,
) -> list[bytes]:
    """The zip and the partition file; with `attributes`, those of each picture, a third file.

    Pictures have the publisher's 178 x 218 pixels if they are `enlarged`.

    Returns:
        The bytes of the pictures, in their order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(image) for image in pictures(len(partitions))[0]]
    contents = [
        encoded(np.asarray(image.resize((178, 218)) if enlarged else image), "JPEG")
        for image in images
    ]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("img_align_celeba/", b"")
        for number, content in enumerate(contents, start=1):
            archive.writestr(f"img_align_celeba/{number:06d}.jpg", content)
    lines = (
        f"{number:06d}.jpg {partition}\n" for number, partition in enumerate(partitions, start=1)
    )
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    if attributes is not None:
        # As the publisher has it: a space ends the line of names, values stand in columns two wide.
        rows = [
            " ".join(f"{1 if name in present else -1:2d}" for name in ATTRIBUTES.split())
            for present in attributes
        ]
        named = (f"{number:06d}.jpg {row}\n" for number, row in enumerate(rows, start=1))
        (folder / "list_attr_celeba.txt").write_text(
            f"{len(rows)}\n{ATTRIBUTES} \n{''.join(named)}"
        )
    return contents


def as_kaggle(source: Path, folder: Path, *, pictures: str, tables: bool) -> Path:
    """What `write_celeba` has written, in other forms that are about.

    Args:
        source: the publisher's files.
        folder: where the others go.
        pictures: the folder of the unpacked pictures; or, if it ends in .zip, a zip in which their
            folder lies in another one.
        tables: whether the text files are Kaggle's tables with commas.
    """
    folder.mkdir(parents=True)
    with zipfile.ZipFile(source / "img_align_celeba.zip") as archive:
        images = {Path(name).name: archive.read(name) for name in archive.namelist()[1:]}
    if pictures.endswith(".zip"):
        with zipfile.ZipFile(folder / pictures, "w") as archive:
            for name, content in images.items():
                archive.writestr(f"img_align_celeba/img_align_celeba/{name}", content)
    else:
        write_tree(folder / pictures, images)
    for path in source.glob("*.txt"):
        text = path.read_text()
        if tables:
            counted, *rest = text.splitlines()
            attributes = path.name == "list_attr_celeba.txt"
            names, *rows = rest if attributes else ["partition", counted, *rest]
            lines = [f"image_id {names}", *rows]
            text = "".join(",".join(line.split()) + "\n" for line in lines)
        (folder / path.name).with_suffix(".csv" if tables else ".txt").write_text(text)
    return folder


def write_lsun(folder: Path, count: int = 7, category: str = "bedroom") -> dict[bytes, bytes]:
    """A category's `bedroom_train_lmdb/data.mdb` and its zip; returns the values by key."""
    values = {
        f"{number * 7919 % 10_007:040x}".encode(): encoded(image, "WEBP")
        for number, image in enumerate(pictures(count)[0])
    }
    database = folder / f"{category}_train_lmdb"
    database.mkdir(parents=True)
    with (
        lmdb.open(str(database), map_size=1 << 20) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key, value)
    with zipfile.ZipFile(f"{database}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(database / "data.mdb", f"{database.name}/data.mdb")
        archive.write(database / "lock.mdb", f"{database.name}/lock.mdb")
    return values


def write_tree(folder: Path, contents: dict[str | bytes, bytes]) -> Path:
    """Files by their path below `folder`."""
    for name, content in contents.items():
        path = folder / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
