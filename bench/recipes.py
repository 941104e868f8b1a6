"""Compare settings at equal minutes of training: FID by epoch on the validation images, with the reference stage's extractor.

    python bench/recipes.py --seconds 360                  # all of them; after `dvc repro -s reference`
    python bench/recipes.py --only default fashion-adam

Only the seconds inside the training loop count; an epoch that began in time is finished. Prints a Markdown table.
"""

import argparse
import copy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from dcgan import checkpoint, config, data, features, fidelity, sampling, training, updates

# The reference systems as changes of params.yaml; what is not named here stays as the file has it.
KERAS_D = {
    "discriminator.channels": [64, 128], "discriminator.strides": [2, 2], "discriminator.dropout": [0.3, 0.3],
    "discriminator.spectral_norm": False, "training.loss": "bce", "training.generator_lr_scale": 1.0,
    "training.optimizer": "adam", "training.beta2": 0.999, "beta1": 0.9,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "fashion-adam": {
        **KERAS_D, "discriminator.slope": 0.2, "training.update": "concatenated", "lr": 1e-3, "batch_size": 32,
        "generator.start_norm": "map", "generator.start_activation": False, "generator.channels": [128, 64],
        "generator.strides": [2, 2], "generator.norm_order": "after", "generator.activation": "selu", "generator.bias": True,
    },
    "mnist-tf": {
        **KERAS_D, "discriminator.slope": 0.3, "training.update": "simultaneous", "lr": 1e-4, "batch_size": 256,
        "training.drop_last": False,
    },
}  # fmt: skip


def overlaid(changes: dict[str, Any]) -> config.Params:
    """params.yaml with some values changed."""
    values = copy.deepcopy(config.read_yaml(config.PARAMS_FILE))
    for key, value in {**changes, "epochs": 1000}.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[name] = value
    return config.parse(values)


def main() -> None:
    """Train each and print a row an epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=360.0, help="of training for each")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--samples", type=int, default=10_000, help="generated images a judgement")
    args = parser.parse_args()
    images = data.open_split(Path("data/prepared"), "train").images
    classifier, _ = features.load_classifier(Path("results/reference/classifier.safetensors"))
    real = fidelity.statistics(features.load_features(Path("results/reference/validation.features.npy")))
    device = training.choose_device("auto", False)
    print("| settings | epoch | seconds | images/s | FID raw | FID EMA | smallest class, % |\n|---|---|---|---|---|---|---|")
    for name in args.only:
        params = overlaid(SETTINGS[name])
        precision = training.choose_precision(params.training.precision, device)
        spent, began = 0.0, time.perf_counter()

        def on_epoch(epoch: int, state: updates.State, name: str = name, seed: int = params.seed) -> None:
            nonlocal spent, began
            spent += time.perf_counter() - began
            if epoch:
                fids, smallest = [], 0.0
                for network in (state.generator, state.ema):
                    fake, verdicts = features.extract(classifier, sampling.sample(network, args.samples, seed=seed))
                    fids.append(fidelity.fid(real, fidelity.statistics(fake)))
                    smallest = 100 * min(fidelity.class_histogram(verdicts, classifier.head.out_features)) / len(verdicts)
                rate = epoch * len(images) / spent
                print(
                    f"| {name} | {epoch} | {spent:.0f} | {rate:.0f} | {fids[0]:.2f} | {fids[1]:.2f} | {smallest:.1f} |", flush=True
                )
            began = time.perf_counter()
            if spent > args.seconds:
                raise StopIteration

        with tempfile.TemporaryDirectory() as folder, checkpoint.Scratch(Path(folder), "bench") as scratch:
            try:
                training.train(params, images, scratch, device=device, precision=precision, on_epoch=on_epoch)
            except StopIteration:
                continue


if __name__ == "__main__":
    main()
