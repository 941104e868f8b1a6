"""A metrics.json as evaluate writes it."""

METRICS = {
    "fid": {"mean": 10.0, "deviation": 0.5}, "kid": {"mean": 0.2, "deviation": 0.01},
    "kid_std": {"mean": 0.1, "deviation": 0.01}, "recall": {"mean": 0.5, "deviation": 0.01},
    "coverage": {"mean": 0.6, "deviation": 0.01},
    "epoch": 2, "weights": "ema", "collapsed": False,
    "protocol": {
        "extractor": "classifier", "extractor_sha256": "a" * 64, "resize": "none",
        "generated_images": 100, "real_images": 200, "reported_on": "test", "draws": 5,
    },
}  # fmt: skip
