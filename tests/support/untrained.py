"""A small repository after `prepare` and `train`, without running them: data and what they say."""

import numpy as np

from tests.support import shapes
from tests.support.params import small
from tests.support.prepared import write_prepared
from tests.support.repository import Repository

SMALL = small(**{
    "evaluate.num_samples": 60, "generator.z_dim": 4, "generator.channels": [8, 4],
    "discriminator.channels": [4, 4], "discriminator.dropout": [0.0, 0.0],
    "gate.absolute": 0.0, "gate.relative": 0.0, "gate.z": 0.0, "gate.max_kid": None,
    "gate.min_recall": None, "gate.min_class_share": None, "gate.min_memorisation": None,
})  # fmt: skip

ABOUT = {
    "format": 1, "fingerprint": "aa" * 16 + "-1", "dataset": "fashion_mnist",
    "data_sha256": "bb" * 32, "seed": 999, "epochs": 1, "device": "cpu", "precision": "float32",
    # Not those of params.yaml.
    "settings": {
        "seed": 999, "lr": 0.0123, "generator": {"z_dim": 4}, "discriminator": {"init": "glorot"},
    },
}  # fmt: skip
# What the model card shows; the gate uses none of it.
METRICS = {
    "epoch": 1, "weights": "raw", "fid": {"mean": 1.0, "deviation": 0.1},
    "floor": {"fid": 0.1}, "ceiling": {"fid": 9.0},
    "memorisation": {"closer_than_test": 0.0}, "collapsed": False,
    "protocol": {
        "reported_on": "test", "generated_images": 60, "real_images": 100, "draws": 5,
        "extractor": "classifier", "extractor_sha256": "cc" * 32,
    },
}  # fmt: skip


def write_data(repo: Repository, *, classes: bool = True) -> None:
    images, labels = shapes.draw(400, 28, 1, seed=0)
    names = [str(number) for number in range(10)] if classes else []
    parts = {"train": slice(200), "validation": slice(200, 300), "test": slice(300, 400)}
    splits = {
        name: (images[part], labels[part] if classes else np.zeros(len(labels[part]), np.int64))
        for name, part in parts.items()
    }
    write_prepared(
        repo.folder / "data/prepared", splits, name="fashion_mnist", classes=names, image_size=28
    )
