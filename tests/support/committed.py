"""The committed run's metrics, and a run.json for them, as reports read both."""

from dcgan import files
from dcgan.judging import figures
from tests.support.imports import ROOT

METRICS = figures.read(files.read_json(ROOT / "results/evaluate/metrics.json"), "metrics.json")
SETTINGS = {
    "seed": 999,
    "lr": 0.003,
    "generator": {"z_dim": 100, "channels": [256, 128]},
    "discriminator": {"init": "glorot"},
    "training": {"loss": "hinge"},
}
TRAINING = {
    "dataset": "fashion_mnist", "data_sha256": "d" * 64, "seed": 999, "epochs": 5,
    "fingerprint": "0123456789abcdef-5", "device": "cpu", "precision": "bfloat16",
    "settings": SETTINGS,
}  # fmt: skip
