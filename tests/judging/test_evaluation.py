import json

import numpy as np
import pytest
import torch

from dcgan.config.sections import GeneratorParams
from dcgan.errors import NoCheckpoint
from dcgan.judging import evaluation
from dcgan.judging.comparison import Real
from dcgan.networks import exports
from dcgan.raw import fake
from dcgan.training import fresh

PARAMS = GeneratorParams(
    z_dim=8, z_distribution="normal", start="projection", start_size=7, start_norm="none", start_activation=True, channels=[8, 4],
    strides=[2, 2], kernel=4, padding="same", norm="none", norm_order="before", norm_momentum=0.1, norm_eps=1e-5,
    activation="relu", slope=0.2, bias=True, init="glorot",
)  # fmt: skip


def test_the_lowest_validation_fid_is_chosen_and_of_equals_the_first():
    rows = [
        {"epoch": 1, "fid_raw": 9.0, "fid_ema": 5.0},
        {"epoch": 2, "fid_raw": 4.0, "fid_ema": 7.0},
        {"epoch": 3, "fid_raw": 8.0, "fid_ema": 4.0},
    ]
    assert evaluation.choose(rows) == (1, "raw")
    assert evaluation.choose(rows[::2]) == (1, "ema")


def test_counts_are_named_as_people_say_them():
    assert [evaluation.count_name(count) for count in (10_000, 50_000, 64, 1500)] == [
        "10k",
        "50k",
        "64",
        "1500",
    ]


def test_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(NoCheckpoint, match="run train"):
        evaluation.epochs(tmp_path)
    for name in ("epoch-0002", "epoch-0010", "epoch-0001"):
        (tmp_path / name).mkdir()
    assert [path.name for path in evaluation.epochs(tmp_path)] == [
        "epoch-0001",
        "epoch-0002",
        "epoch-0010",
    ]


class Pixels:
    """An extractor whose features are an image's 16 mean values of 7 x 7 pixels, and whose classes are bright and dark."""

    name, sha256, resize, num_features, num_classes = "pixels", "0" * 64, "none", 16, 2

    def extract(self, images):
        means = (
            images.reshape(len(images), 4, 7, 4, 7)
            .mean((2, 4))
            .reshape(len(images), 16)
            .astype(np.float32)
            / 32
        )
        return means, (means.mean(1) > np.median(SHAPES.mean((1, 2, 3)) / 32)).astype(np.int64)


SHAPES = fake.draw(400, 28, 1, seed=1)[0]


def export(folder, epoch, constant):
    """An epoch's generators: of noise, or of one image."""
    torch.manual_seed(epoch)
    network = fresh.generator(PARAMS, 1)
    if constant:
        torch.nn.init.zeros_(network.start[0].weight)
    for weights in evaluation.WEIGHTS.values():
        exports.export(folder / f"epoch-{epoch:04d}" / weights, network, {"epoch": epoch})


@pytest.fixture
def judged(tmp_path):
    def judge(constant):
        for epoch in (1, 2, 3):
            export(tmp_path, epoch, constant)
        extractor = Pixels()
        features, verdicts = extractor.extract(SHAPES)
        real = Real.of(
            features, (np.bincount(verdicts, minlength=2) / len(verdicts)).tolist(), seed=1
        )
        tool = evaluation.Judge(extractor, 60, seed=1)
        return (
            tool,
            real,
            [tool.judge(folder, real) for folder in evaluation.epochs(tmp_path)],
            tmp_path,
            features,
        )

    return judge


def test_a_constant_generator_is_flagged_at_every_evaluation_and_all_its_figures_are_finite(judged):
    tool, real, rows, folder, features = judged(constant=True)
    assert [evaluation.collapsed(row) for row in rows] == [["raw", "ema"]] * 3
    assert all(np.isfinite(value) for row in rows for value in row.values())
    report = tool.report(folder / "epoch-0003" / "generator.safetensors", real, features)
    assert report.figures["collapsed"] and report.figures["vendi"] == pytest.approx(1, abs=1e-6)
    json.dumps(report.figures, allow_nan=False)


def test_the_report_is_the_mean_of_five_draws_that_the_choice_has_not_seen(judged):
    tool, real, rows, folder, features = judged(constant=False)
    path = folder / "epoch-0002" / "generator.safetensors"
    figures = tool.report(path, real, features).figures
    generator, _ = exports.load_generator(path)
    draws = [real.all(*tool.draw(generator, f"report {index}")[1:]) for index in range(5)]
    for key in ("fid", "kid", "precision", "density", "vendi", "js_divergence"):
        name = f"{key}_60" if key in ("fid", "kid") else key
        values = [draw[key] for draw in draws]
        if key != "js_divergence":  # of all draws together
            assert figures[name] == pytest.approx(np.mean(values))
        assert figures["noise"][name] == pytest.approx(np.std(values, ddof=1))
    assert rows[1]["fid_raw"] not in [draw["fid"] for draw in draws]
    assert figures["fid_infinity"] < figures["fid_60"]  # FID of few images is too high
    assert set(figures["memorisation"]) >= {
        "generated_to_train",
        "test_to_train",
        "closer_than_test",
    }


def test_train_images_among_the_generated_are_shown_with_themselves(judged, monkeypatch):
    tool, real, _, folder, features = judged(constant=False)
    sample = evaluation.sampling.sample
    monkeypatch.setattr(
        evaluation.sampling,
        "sample",
        lambda *args, **kwargs: np.concatenate([SHAPES[7:10], sample(*args, **kwargs)[3:]]),
    )
    report = tool.report(folder / "epoch-0001" / "generator.safetensors", real, features)
    assert sorted(report.nearest[:3]) == [7, 8, 9]
    np.testing.assert_array_equal(report.generated[:3], SHAPES[report.nearest[:3]])


def test_an_image_does_not_depend_on_how_many_are_asked_for(judged):
    tool, _, _, folder, _ = judged(constant=False)
    generator, _ = exports.load_generator(folder / "epoch-0001" / "generator.safetensors")
    few, many = (
        evaluation.Judge(tool.extractor, count, seed=1).draw(generator, "x")[0]
        for count in (30, 130)
    )
    np.testing.assert_array_equal(few, many[:30])
