"""What is known of each data set, as data: its files, where they are served, their digests, the names of its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MIB, GIB = 1 << 20, 1 << 30
MINUTE, HOUR = 60, 3600
MAX_IMAGE_BYTES = 64 * MIB  # of one encoded image


@dataclass(frozen=True)
class File:
    """A file as sources have it."""

    names: tuple[str, ...]  # what it may be called; the first that is there is taken
    max_bytes: int = GIB
    seconds: float = 30 * MINUTE  # for its download, however slowly it drips


@dataclass(frozen=True)
class Pin:
    """What one raw file must be."""

    size: int  # bytes
    sha256: str | None = None


@dataclass(frozen=True)
class Known:
    """One data set."""

    raw: tuple[str, ...]  # what `downloads.fetch` leaves, beside the manifest
    files: tuple[File, ...] = ()
    mirrors: tuple[str, ...] = ()  # the publisher's own
    digests: Mapping[str, str] = field(
        default_factory=dict
    )  # "algorithm:hex" by name, as the publisher serves the files
    pins: Mapping[str, Pin] = field(default_factory=dict)  # by raw name, of the publisher's files
    classes: tuple[str, ...] = ()
    by_hand: str = ""  # what to do where no source of its own can be asked


IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
IDX_FILES = tuple(File((f"{name}.gz", name), seconds=5 * MINUTE) for name in IDX_NAMES)
CIFAR_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
CIFAR_TEST = "test_batch.bin"
CIFAR_TAR = "cifar-10-binary.tar.gz"
CIFAR_FOLDER = "cifar-10-batches-bin"
SVHN_TRAIN, SVHN_TEST = "train_32x32.mat", "test_32x32.mat"
CELEBA_ZIP, CELEBA_PARTITION = "img_align_celeba.zip", "list_eval_partition.txt"
CELEBA_ATTRIBUTES = "list_attr_celeba.txt"
LSUN_ZIP, LSUN_MEMBER, LSUN_RAW = (
    "bedroom_train_lmdb.zip",
    "bedroom_train_lmdb/data.mdb",
    "train.mdb",
)
FOLDER_ZIP, FOLDER_LIST = "images.zip", "images.json"

# Debian compresses Fashion-MNIST anew.
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_DIGESTS = {
    "train-images-idx3-ubyte.gz": "sha256:b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "sha256:0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "sha256:cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "sha256:8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}

# Every md5 is the one that torchvision publishes.
MNIST = Known(
    raw=IDX_NAMES,
    files=IDX_FILES,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    digests={
        "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    },
    pins=dict(zip(IDX_NAMES, (Pin(47040016), Pin(60008), Pin(7840016), Pin(10008)), strict=True)),
    classes=tuple("0123456789"),
)

FASHION_MNIST = Known(
    raw=IDX_NAMES,
    files=IDX_FILES,
    # The publisher's repository and bucket; the bucket's website, which torchvision uses, speaks
    # http only.
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ),
    digests={
        "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    pins={
        "train-images-idx3-ubyte": Pin(
            47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": Pin(
            60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        "t10k-images-idx3-ubyte": Pin(
            7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        "t10k-labels-idx1-ubyte": Pin(
            10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

CIFAR10 = Known(
    raw=(*CIFAR_TRAIN, CIFAR_TEST),
    files=(File((CIFAR_TAR,)),),
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    digests={CIFAR_TAR: "md5:c32a1d4ab5d03f1284b67883e8d87530"},
    pins={name: Pin(30_730_000) for name in (*CIFAR_TRAIN, CIFAR_TEST)},
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)

SVHN = Known(
    raw=(SVHN_TRAIN, SVHN_TEST),
    files=(File((SVHN_TRAIN,)), File((SVHN_TEST,))),
    mirrors=("https://ufldl.stanford.edu/housenumbers/",),
    digests={
        SVHN_TRAIN: "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        SVHN_TEST: "md5:eb5a983be6a315427106f1b164d9cef3",
    },
    classes=tuple("0123456789"),
)

CELEBA_BOTH = (
    f"{CELEBA_ZIP} (md5 00d2c5bc6d35e252742224ab0c1e8fcb)",
    f"{CELEBA_PARTITION} (md5 d32c9cbf5e040fd4025c592c306e6668)",
)
CELEBA_THIRD = f"{CELEBA_ATTRIBUTES} (md5 75e246fa4810816ffd6ee81facbd244c)"
CELEBA_FROM = "from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and set dataset.source to the folder or https URL that holds"

CELEBA = Known(
    raw=(CELEBA_ZIP, CELEBA_PARTITION),
    files=(File((CELEBA_ZIP,), 4 * GIB, HOUR), File((CELEBA_PARTITION,), 64 * MIB)),
    by_hand=f"get {' and '.join(CELEBA_BOTH)} {CELEBA_FROM} both",
)

# With dataset.attributes: labels are made of the published attributes.
CELEBA_LABELLED = Known(
    raw=(*CELEBA.raw, CELEBA_ATTRIBUTES),
    files=(*CELEBA.files, File((CELEBA_ATTRIBUTES,), 64 * MIB)),
    by_hand=f"get {', '.join(CELEBA_BOTH)} and {CELEBA_THIRD} {CELEBA_FROM} all three",
)

LSUN = Known(
    raw=(LSUN_RAW,),
    files=(File((LSUN_ZIP,), 64 * GIB, 24 * HOUR),),
    by_hand=f"get {LSUN_ZIP} from https://www.yf.io/p/lsun and set dataset.source to the folder or https URL that holds it",
)

KNOWN = {
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "cifar10": CIFAR10,
    "svhn": SVHN,
    "celeba": CELEBA,
    "lsun": LSUN,
    "folder": Known(raw=(FOLDER_ZIP, FOLDER_LIST)),
    "fake": Known(
        raw=(),
        classes=(
            "disc",
            "square",
            "bar",
            "column",
            "plus",
            "cross",
            "triangle",
            "ring",
            "frame",
            "chessboard",
        ),
    ),
}
CLASSES = {name: known.classes for name, known in KNOWN.items() if known.classes}


def known_of(name: str, attributes: Sequence[str] = ()) -> Known:
    """The data set `name`; with `attributes`, which only celeba has, their file is one of its files."""
    return CELEBA_LABELLED if attributes else KNOWN[name]
