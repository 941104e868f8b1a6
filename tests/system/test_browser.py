"""MLflow's pages as a person sees them, in Debian's Chromium."""

import contextlib
import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from bench import screenshots
from dcgan import files
from dcgan.config import keys, reading, sections
from dcgan.judging import figures
from dcgan.pictures import gif, grids
from dcgan.promotion import registry, serving
from dcgan.reports import markdown, run_page
from dcgan.tracking import runs
from tests.support import tiny_models
from tests.support.imports import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not screenshots.CHROMIUM, reason="chromium is missing: apt-get install chromium"
    ),
]

EPOCHS = 5
ABOUT = {
    "dataset": "toys", "data_sha256": "d" * 64, "seed": 999, "epochs": EPOCHS,
    "fingerprint": "0123456789abcdef-5",
    "device": "cpu", "precision": "bfloat16",
}  # fmt: skip
NAME = "toys-01234567-5"  # of its run


def write_store(folder: Path) -> None:
    """What the stages of a small training log, and its model registered as the champion."""
    rng = np.random.default_rng(0)
    metrics = figures.read(files.read_json(ROOT / "results/evaluate/metrics.json"), "metrics.json")
    with open(ROOT / "results/train/history.csv") as file:
        history = [
            {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)
        ][::10]
    pictures = [rng.integers(0, 256, (112, 112, 3), np.uint8) for _ in range(EPOCHS + 1)]
    with runs.open_run(
        ABOUT["fingerprint"], dataset="toys", tags=ABOUT, system_metrics=True
    ) as run:
        run.log_params(
            keys.flatten(
                reading.load(sections.AllParams).model_dump(include={"generator", "training"})
            )
        )
        run.log_dataset(
            "toys",
            ABOUT["data_sha256"],
            "https://example.com/toys/",
            "training",
            {"split": "train", "images": 9, "shape": [1, 8, 8], "classes": {}},
        )
        run.log_rows(history)
        for epoch, grid in enumerate(pictures):
            grids.save_png(folder / f"epoch-{epoch}.png", grid)
            run.log_image(folder / f"epoch-{epoch}.png", "samples", epoch)
    model = serving.write_model(folder / "model", tiny_models.write(folder / "exports"), "# card\n")
    with runs.open_run(ABOUT["fingerprint"], dataset="toys") as run:
        for epoch in range(1, EPOCHS + 1):
            run.log_rows([{"step": epoch, "classifier-01234567/validation/fid_ema": 30 / epoch}])
        numbers = {
            key: value
            for key, value in keys.flatten(metrics).items()
            if isinstance(value, int | float)
        }
        run.log_metrics({f"classifier-01234567/{key}": value for key, value in numbers.items()})
        for epoch in range(1, EPOCHS + 1):
            run.log_checkpoint(
                f"epoch-{epoch:04d}", f"{epoch}" * 64, epoch, {"checkpoint/fid": 30 / epoch},
                {"epoch": epoch}, ("toys", ABOUT["data_sha256"]),
            )  # fmt: skip
        run.describe(run_page.describe(ABOUT, metrics))
        run.log_folder(model, "model")
        run.set_tags(serving.tags(model, "model"))
    frames = [grids.labelled(grid, f"epoch {epoch}") for epoch, grid in enumerate(pictures)]
    gif.gif(frames, folder / "render/training.gif", frame_ms=200)
    grids.save_png(folder / "render/real_and_generated.png", pictures[-1])
    with runs.open_run(ABOUT["fingerprint"], dataset="toys") as run:
        run.log_folder(folder / "render", "render")
    version = registry.register(
        model, dataset="toys", fingerprint=ABOUT["fingerprint"], tags={"epoch": "5"},
        description=f"Epoch 5.\n\n{markdown.spaced_table(['figure', 'mean'], [['fid', '5.6']])}",
    )  # fmt: skip
    registry.set_alias("toys", "champion", version.number, "the first", expected=None)


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[screenshots.Pages, list[str]]]:
    """The pages of the run, and the errors that the browser reported."""
    folder = tmp_path_factory.mktemp("store")
    complaints: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(folder))
        patch.chdir(ROOT)
        write_store(folder)
        experiment, run, model = screenshots.chosen()
        assert model == "dcgan-toys"
        with screenshots.server() as address, screenshots.browser() as page:
            page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
            page.on(
                "console",
                lambda message: complaints.extend(
                    [message.text] if message.type == "error" else []
                ),
            )
            page.on(
                "requestfailed",
                lambda request: complaints.append(f"failed: {request.url} {request.failure}"),
            )
            page.on(
                "response",
                lambda answer: complaints.extend(
                    [f"{answer.status} {answer.url}"] if answer.status >= 400 else []
                ),
            )
            yield screenshots.Pages(page, address, experiment, run), complaints


Shown = tuple[screenshots.Pages, list[str]]


def test_the_run_list_names_the_run_and_has_its_figures(pages: Shown) -> None:
    assert pages[0].runs().all_inner_texts()[0] == NAME
    heads = pages[0].page.locator("[role=columnheader]").all_inner_texts()
    assert "classifier-01234567/fid.mean" in " ".join(heads)


def test_every_checkpoint_is_a_model_with_its_figure(pages: Shown) -> None:
    # The registered model, of other weights, has none.
    figures_ = [float(text) for text in pages[0].checkpoints().all_inner_texts() if text]
    assert sorted(figures_) == [30 / epoch for epoch in range(EPOCHS, 0, -1)]
    tables = pages[0].checkpoint("epoch-0003").all_inner_texts()
    assert "checkpoint/fid" in tables[0] and "10" in tables[0]


def test_a_version_says_what_the_gate_has_measured(pages: Shown) -> None:
    assert "5.6" in pages[0].version("dcgan-toys").inner_text()
    assert "Epoch 5." in pages[0].page.locator("main").inner_text()


def test_the_overview_shows_the_description_with_its_table_and_images(pages: Shown) -> None:
    table = pages[0].overview().inner_text()
    assert "fid" in table and "±" in table and "real train images" in table
    text = pages[0].page.locator("main").inner_text()
    parts = ["A DCGAN on toys", "kid", "extractor", "Made from data", "Remake it", "Metrics ("]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "Finished" in text and "dcgan-toys" in text
    image = pages[0].page.locator("main img[src*=real_and_generated]")
    expect(image).to_be_visible()
    assert natural_width(image) == 112


def test_metrics_are_charts_with_their_epochs(pages: Shown) -> None:
    charts = pages[0].metrics()
    for name in ("classifier-01234567/validation/fid_ema", "loss_d", "loss_g"):
        chart = charts.filter(has_text=f"{NAME} ({name})")
        expect(chart).to_have_count(1)
        expect(chart.locator(".scatterlayer path.js-line").first).to_be_attached()


def test_sample_grids_have_a_slider_over_the_epochs(pages: Shown) -> None:
    dialog = pages[0].images()
    slider = dialog.get_by_role("slider")
    assert (slider.get_attribute("aria-valuemin"), slider.get_attribute("aria-valuemax")) == (
        "0",
        str(EPOCHS),
    )
    assert slider.get_attribute("aria-valuenow") == str(EPOCHS)
    # MLflow shows a compressed copy of its own size.
    assert natural_width(dialog.locator("img").first) > 0


def test_the_gif_is_shown_among_the_artifacts(pages: Shown) -> None:
    assert natural_width(pages[0].artifact()) == 112


def test_the_registry_shows_the_champion(pages: Shown) -> None:
    alias = pages[0].model("dcgan-toys")
    assert alias.inner_text().replace("\xa0", " ") == "@ champion"
    text = pages[0].page.locator("main").inner_text()
    assert "Version 1" in text and "The alias champion is the one in use" in text


def test_every_page_came_without_errors(pages: Shown) -> None:
    # MLflow asks which user is logged in; without passwords there is none.
    expected = ("/users/current", "the server responded with a status of 404 (Not Found)")
    assert [text for text in pages[1] if not text.endswith(expected)] == []


def test_the_charts_of_dvc_plots_are_drawn_without_a_network(pages: Shown, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    # The pictures beside the charts are in DVC's cache, which a clone has not.
    subprocess.run(["dvc", "plots", "show"], cwd=folder, check=True, capture_output=True)
    asked: list[str] = []
    # A second browser beside that of the other pages is not possible, a second window is.
    context = pages[0].page.context.browser.new_context(offline=True)
    with contextlib.closing(context.new_page()) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / "dvc_plots/index.html").as_uri())
        charts = page.locator("canvas")
        expect(charts.nth(4)).to_be_visible()  # five at least, of two files
        # A drawn chart has pixels of other colours than white.
        drawn = charts.evaluate_all(
            """all => all.filter(canvas => canvas.width > 0).map(canvas => new Set(
            canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
            ).size > 2)"""
        )
        assert len(drawn) >= 5 and all(drawn)
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked


def natural_width(image: Locator) -> int:
    """Width of a picture, once the browser has decoded it; 0 where it cannot."""
    return int(image.evaluate("image => image.decode().then(() => image.naturalWidth, () => 0)"))
