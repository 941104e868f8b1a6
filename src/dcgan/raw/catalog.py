"""Every data set by its name in params.yaml."""

from collections.abc import Iterator

from dcgan.config import sections
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
    """The names of the raw files of all sets; some come several times."""
    for data_set in DATA_SETS.values():
        yield from (data_set.labelled or data_set).raw
