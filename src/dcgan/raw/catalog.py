"""Every data set by its name in params.yaml."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dcgan.config import sections
from dcgan.files import own_path
from dcgan.raw.celeba import CELEBA
from dcgan.raw.cifar10 import CIFAR10
from dcgan.raw.dataset import DataSet
from dcgan.raw.fake import FAKE
from dcgan.raw.folder import FOLDER
from dcgan.raw.lsun import LSUN
from dcgan.raw.mnist import FASHION_MNIST, MNIST
from dcgan.raw.svhn import SVHN

DATA_SETS = {
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "cifar10": CIFAR10,
    "svhn": SVHN,
    "celeba": CELEBA,
    "lsun": LSUN,
    "folder": FOLDER,
    "fake": FAKE,
}


def of(dataset: sections.DatasetFiles) -> DataSet:
    """The set that the section `dataset` names, with the files that its `attributes` need."""
    data_set = DATA_SETS[dataset.name]
    return (data_set.labelled or data_set) if dataset.attributes else data_set


def raw_names() -> Iterator[str]:
    """The raw files of all sets, as `DataSet.raw` has them; some come several times."""
    for data_set in DATA_SETS.values():
        yield from (data_set.labelled or data_set).raw


def title(dataset: sections.Dataset) -> str:
    """What to call the images: `dataset.title`, a folder's own name, or the name of the data set.

    Returns:
        1 to 100 letters, digits, blanks and _ . - that begin with a letter, a digit or _: fit for
        the names of experiments and models.
    """
    name: str = dataset.name
    if dataset.name == "folder" and dataset.source:
        name = Path(os.path.normpath(own_path(dataset.source).absolute())).name
    name = re.sub(r"[^\w .-]", "_", dataset.title or name).lstrip(" .-")[:100].rstrip()
    return name or dataset.name
