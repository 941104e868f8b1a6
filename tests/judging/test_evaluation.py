import json

import numpy as np
import pytest
import torch

from dcgan.config.sections import GeneratorParams
from dcgan.errors import NoCheckpoint
from dcgan.judging import evaluation
from dcgan.judging.comparison import Real
from dcgan.judging.sample import Sample
from dcgan.networks import exports
from dcgan.training import fresh
from tests.support import shapes

PARAMS = GeneratorParams(
    z_dim=8, z_distribution="normal", start="projection", start_size=7, start_norm="none",
    start_activation=True, channels=[8, 4], strides=[2, 2], kernel=4, padding="same", norm="none",
    norm_order="before", norm_momentum=0.1, norm_eps=1e-5,
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
    """An extractor: 16 features, the mean values of 7 x 7 pixels; two classes, bright and dark."""

    name, sha256, resize, num_features, num_classes = "pixels", "0" * 64, "none", 16, 2
    device = torch.device("cpu")

    def description(self):
        return {"extractor": self.name, "extractor_sha256": self.sha256, "resize": self.resize}

    def extract(self, images):
        means = (
            images.reshape(len(images), 4, 7, 4, 7)
            .mean((2, 4))
            .reshape(len(images), 16)
            .astype(np.float32)
            / 32
        )
        return Sample(
            means, (means.mean(1) > np.median(SHAPES.mean((1, 2, 3)) / 32)).astype(np.int64)
        )


SHAPES = shapes.draw(400, 28, 1, seed=1)[0]


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
    def measure(constant):
        for epoch in (1, 2, 3):
            export(tmp_path, epoch, constant)
        extractor = Pixels()
        train = extractor.extract(SHAPES)
        shares = (np.bincount(train.verdicts, minlength=2) / len(train)).tolist()
        real = Real.of(train, shares, seed=1)
        judge = evaluation.Judge(extractor, 60, seed=1)
        rows = [judge.row(folder, real) for folder in evaluation.epochs(tmp_path)]
        return judge, real, rows, tmp_path, train

    return measure


@pytest.mark.holds("R-43")
def test_a_constant_generator_is_flagged_at_every_evaluation_and_all_its_figures_are_finite(judged):
    judge, real, rows, folder, train = judged(constant=True)
    assert [evaluation.collapsed(row) for row in rows] == [["raw", "ema"]] * 3
    assert all(np.isfinite(value) for row in rows for value in row.values())
    report = judge.report(folder / "epoch-0003" / "generator.safetensors", real, train)
    assert report.figures["collapsed"] and report.figures["vendi"]["mean"] == pytest.approx(
        1, abs=1e-6
    )
    json.dumps(report.figures, allow_nan=False)


def test_the_report_is_the_mean_of_five_draws_that_the_choice_has_not_seen(judged):
    judge, real, rows, folder, train = judged(constant=False)
    path = folder / "epoch-0002" / "generator.safetensors"
    figures = judge.report(path, real, train).figures
    generator, _ = exports.load_generator(path)
    draws = [real.all_figures(judge.draw(generator, f"report {index}")[1]) for index in range(5)]
    for key in ("fid", "kid", "precision", "density", "vendi", "js_divergence"):
        values = [draw[key] for draw in draws]
        if key != "js_divergence":  # of all draws together
            assert figures[key]["mean"] == pytest.approx(np.mean(values))
        assert figures[key]["deviation"] == pytest.approx(np.std(values, ddof=1))
    pooled = Sample.pooled([judge.draw(generator, f"report {index}")[1] for index in range(5)])
    counts = np.bincount(pooled.verdicts, minlength=2)
    assert figures["class_shares"] == pytest.approx(counts / 300)
    assert figures["smallest_class_share"]["mean"] == pytest.approx(counts.min() / 300)
    assert rows[1]["fid_raw"] not in [draw["fid"] for draw in draws]
    # FID of few images is too high. There is one value of all draws, which has no deviation.
    assert figures["fid_infinity"]["mean"] < figures["fid"]["mean"]
    assert figures["fid_infinity"]["deviation"] is None
    assert set(figures["memorisation"]) >= {
        "generated_to_train",
        "test_to_train",
        "closer_than_test",
    }


def test_the_record_holds_figures_with_their_protocol_and_plain_numbers_of_single_draws(judged):
    judge, real, rows, folder, train = judged(constant=False)
    index, weights = evaluation.choose(rows)
    report = judge.report(folder / "epoch-0001" / evaluation.WEIGHTS[weights], real, train)
    record = judge.record(rows, report, real, {"floor": {"fid": 1.0}, "ceiling": {"fid": 9.0}})
    json.dumps(record, allow_nan=False)
    assert record["validation"] == {"fid": rows[index][f"fid_{weights}"]}
    assert record["last_epoch_validation"]["ema"] == {"fid": rows[-1]["fid_ema"]}
    assert (record["epoch"], record["weights"]) == (index + 1, weights)
    assert (record["floor"], record["ceiling"]) == ({"fid": 1.0}, {"fid": 9.0})
    protocol = record["protocol"]
    assert (protocol["generated_images"], protocol["real_images"], protocol["draws"]) == (
        60,
        400,
        5,
    )
    # Every figure of the draws has this one shape, whatever its name.
    shaped = {key for key, value in record.items() if isinstance(value, dict) and "mean" in value}
    assert all(set(record[key]) == {"mean", "deviation"} for key in shaped)
    assert not [key for key, value in record.items() if isinstance(value, float)]
    assert shaped == {
        "fid", "kid", "kid_std", "precision", "recall", "density", "coverage", "vendi",
        "js_divergence", "smallest_class_share", "fid_infinity",
    }  # fmt: skip


def test_train_images_among_the_generated_are_shown_with_themselves(judged, monkeypatch):
    judge, real, _, folder, train = judged(constant=False)
    sample = evaluation.sampling.sample
    monkeypatch.setattr(
        evaluation.sampling,
        "sample",
        lambda *args, **kwargs: np.concatenate([SHAPES[7:10], sample(*args, **kwargs)[3:]]),
    )
    report = judge.report(folder / "epoch-0001" / "generator.safetensors", real, train)
    assert sorted(report.nearest[:3]) == [7, 8, 9]
    np.testing.assert_array_equal(report.generated[:3], SHAPES[report.nearest[:3]])


def test_an_image_does_not_depend_on_how_many_are_asked_for(judged):
    judge, _, _, folder, _ = judged(constant=False)
    generator, _ = exports.load_generator(folder / "epoch-0001" / "generator.safetensors")
    few, many = (
        evaluation.Judge(judge.extractor, count, seed=1).draw(generator, "x")[0]
        for count in (30, 130)
    )
    np.testing.assert_array_equal(few, many[:30])


def test_more_generated_images_than_sense_are_told_with_a_number():
    assert evaluation.warnings(1000, 50, 60) == []
    (warning,) = evaluation.warnings(10_000, 50, 60)
    assert "evaluate.num_samples = 10000" in warning and "500 are enough" in warning


def test_one_figure_is_shown_where_there_is_no_average():
    row = {"epoch": 1, "fid_raw": 3.0, "fid_ema": 3.0, "collapsed_raw": 0, "collapsed_ema": 0}
    assert evaluation.lines(row) == ["epoch 1: FID 3.00 on validation"]
    assert evaluation.lines({**row, "fid_ema": 2.0}) == [
        "epoch 1: FID 3.00 raw, 2.00 EMA on validation"
    ]


def test_the_better_weights_of_an_epoch_and_their_figures():
    row = {"epoch": 3, "fid_raw": 2.0, "recall_raw": 0.5, "fid_ema": 1.0, "recall_ema": 0.25}
    assert evaluation.best(row) == ("ema", {"fid": 1.0, "recall": 0.25})
    assert evaluation.best({**row, "fid_ema": 2.0}) == ("raw", {"fid": 2.0, "recall": 0.5})
