"""Time the figures of one checkpoint beside torch-fidelity's and pytorch-fid's.

    python bench/evaluation.py --write    # after `dvc repro reference`; two minutes

Both sides get the same 10,000 images as a generator would draw them (drawing takes the same time
on both, and is not measured), the same extractor, and the real images measured
before: torch-fidelity from its cache, ours from `Real`. They take turns. torch-fidelity gives FID,
KID, precision and recall; ours gives these and density, coverage, the Vendi score and the class
shares. The Fréchet distance alone is timed at 2,048 features, the number of Inception's.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch
import torch_fidelity
from pytorch_fid.fid_score import calculate_frechet_distance
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from training import machine, put_table  # beside this file

from dcgan import data
from dcgan.judging import fidelity
from dcgan.judging.reference import Reference
from dcgan.judging.sample import Sample
from dcgan.networks.devices import keep_memory
from dcgan.reports import markdown

COUNT, ROUNDS = 10_000, 3
PREPARED, REFERENCE = Path("data/prepared"), Path("results/reference")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into its document")
    args = parser.parse_args()
    keep_memory()
    rows = [
        row("figures of 10,000 images, 128 features", "torch-fidelity", *figures()),
        row("Fréchet distance, 2,048 features", "pytorch-fid", *frechet()),
    ]
    head = ["what", "beside", "theirs, s", "ours, s", "ratio"]
    text = f"{markdown.table(head, rows)}\n\n{machine()}."
    print(text)
    if args.write:
        put_table("evaluation.py", text)


def row(what: str, beside: str, theirs: float, ours: float) -> list[str]:
    """One line of the table."""
    return [what, beside, f"{theirs:.1f}", f"{ours:.1f}", f"{theirs / ours:.1f}"]


def in_turns(theirs: Callable[[], Any], ours: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of both, medians of some rounds in turns after one that warms up."""
    seconds: list[tuple[float, float]] = []
    for _ in range(ROUNDS + 1):
        pair = []
        for each in (theirs, ours):
            began = time.perf_counter()
            each()
            pair.append(time.perf_counter() - began)
        seconds.append((pair[0], pair[1]))
    one, two = zip(*seconds[1:], strict=True)
    return statistics.median(one), statistics.median(two)


class Images(Dataset[Tensor]):
    """An array as torch-fidelity takes it."""

    def __init__(self, images: data.Images) -> None:
        self.images = torch.from_numpy(np.array(images))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def figures() -> tuple[float, float]:
    """All figures of 10,000 images: torch-fidelity and ours."""
    reference = Reference.open(REFERENCE, 1)
    real_images = np.array(data.open_split(PREPARED, "test").images)[:COUNT]
    generated = np.roll(real_images, 3, axis=3)  # as hard to measure as a generator's
    real = reference.real("test")
    network = reference.extractor.network

    class Extractor(FeatureExtractorBase):  # type: ignore[misc]  # has no types
        """The same network, with torch-fidelity's interface."""

        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = network

        @staticmethod
        def get_provided_features_list() -> tuple[str]:
            return ("128",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "128"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor]:
            return (self.network(data.to_float(images))[0],)

    torch_fidelity.register_feature_extractor("ours", Extractor)
    with tempfile.TemporaryDirectory() as cache:
        inputs = (Images(generated), Images(real_images))

        def theirs() -> None:
            with contextlib.redirect_stderr(io.StringIO()):
                torch_fidelity.calculate_metrics(
                    input1=inputs[0], input2=inputs[1], cuda=False, fid=True, kid=True, prc=True,
                    feature_extractor="ours", cache=True, cache_root=cache,
                    input2_cache_name="real", batch_size=500, verbose=False,
                )  # fmt: skip

        return in_turns(theirs, lambda: real.all_figures(reference.extractor.extract(generated)))


def frechet() -> tuple[float, float]:
    """The distance alone, from statistics: pytorch-fid and ours."""
    draw = np.random.default_rng(1)
    mix = draw.standard_normal((2048, 2048)) / 45
    one, two = (
        Sample((draw.standard_normal((COUNT, 2048)) @ mix + shift).astype(np.float32)).statistics
        for shift in (0, 0.1)
    )
    theirs = calculate_frechet_distance(one.mu, one.sigma, two.mu, two.sigma)
    assert abs(theirs / fidelity.fid(one, two) - 1) < 1e-4
    return in_turns(
        lambda: calculate_frechet_distance(one.mu, one.sigma, two.mu, two.sigma),
        lambda: fidelity.fid(one, two),
    )


if __name__ == "__main__":
    main()
