"""Pictures of MLflow's pages for the README, taken of the newest run in the store of this folder.

    python bench/screenshots.py                   # writes docs/images/mlflow-*.png, a minute
    python bench/screenshots.py --out elsewhere

Where models are registered, the run is the champion's. Needs Debian's Chromium (apt-get install
chromium) and the development lock.
"""

import argparse
import contextlib
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from PIL import Image  # noqa: E402
from playwright.sync_api import Locator, Page, sync_playwright  # noqa: E402

from dcgan.tracking import store, view  # noqa: E402
from pipeline import mlflow_server  # noqa: E402

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTH, HEIGHT = 1400, 1000
MODEL_TRAINING = "workflowType=machine_learning"  # else MLflow shows its pages for language models
TIMEOUT_MS = 60_000
SETTLE_MS = 2000  # charts take a moment to come to rest
COLOURS = 128  # of a picture, which makes a third of its size


class Pages:
    """MLflow's pages of one run. Each method returns what the page is for, once it is shown."""

    def __init__(self, page: Page, address: str, experiment: str, run: str) -> None:
        self.page = page
        self._experiment = f"{address}/#/experiments/{experiment}"
        self._runs = f"{self._experiment}/runs"
        self._run = f"{self._runs}/{run}"
        self._models = f"{address}/#/models"
        self._view = view.share(store.connect(), experiment)
        page.set_default_timeout(TIMEOUT_MS)
        # It opens with a chat at the side and without the runs.
        page.goto(self._runs)
        page.get_by_text("Model training", exact=True).click()
        page.get_by_label("Close", exact=True).click()

    def runs(self) -> Locator:
        """The cells with the names of the runs, in the list that `make ui` links to."""
        self.page.goto(f"{self._runs}?{MODEL_TRAINING}&viewStateShareKey={self._view}")
        self._seen(self.page.locator("[role=gridcell][col-id*='fid.mean']"))
        return self._seen(self.page.locator("[role=gridcell] a[href*='/runs/']"))

    def checkpoints(self) -> Locator:
        """All judged checkpoints of the experiment: the cells with their FID."""
        self.page.goto(f"{self._experiment}/models?{MODEL_TRAINING}")
        self.page.set_viewport_size({"width": 1900, "height": HEIGHT})
        return self._seen(self.page.locator("[role=gridcell][col-id*='checkpoint/fid']"))

    def checkpoint(self, name: str) -> Locator:
        """The page of a checkpoint: the tables of its figures, parameters and runs."""
        self.page.goto(f"{self._experiment}/models?{MODEL_TRAINING}")
        self._seen(self.page.locator("[role=gridcell] a").filter(has_text=name)).first.click()
        self._seen(self.page.get_by_text("About this logged model"))
        return self._seen(self.page.locator("main [role=table]"))

    def version(self, name: str, number: int = 1) -> Locator:
        """The description of a version of a registered model."""
        self.page.goto(f"{self._models}/{name}/versions/{number}")
        return self._seen(self.page.locator("main table").filter(has_text="figure"))

    def overview(self) -> Locator:
        """The run's description, unfolded."""
        self.page.goto(self._run)
        self._seen(self.page.get_by_text("Show more", exact=True)).first.click()
        return self._seen(self.page.locator("main table").filter(has_text="this model, test"))

    def metrics(self, pattern: str = "fid_(raw|ema)|vendi_ema|loss_") -> Locator:
        """The charts whose names match a regular expression.

        MLflow draws each one only when it comes into view.
        """
        self.page.goto(f"{self._run}/model-metrics")
        self.page.get_by_placeholder("Search metric charts").fill(pattern)
        self._seen(self.page.locator("main .js-plotly-plot"))
        return self.page.get_by_test_id("experiment-view-compare-runs-card")

    def images(self, name: str = "samples") -> Locator:
        """The images of a key in full size, with the slider at the last of them."""
        self.page.goto(f"{self._run}/model-metrics")
        self.page.get_by_placeholder("Search metric charts").fill(name)
        # Other pictures have this name in theirs, and some of them a single step.
        card = self.page.get_by_test_id("experiment-view-compare-runs-card").filter(
            has_text=re.compile(f"^{name}")
        )
        self._seen(card).first.get_by_role("button").first.click()
        dialog = self._seen(self.page.get_by_role("dialog"))
        steps = self._seen(dialog.locator("input[type=number]"))
        last = steps.get_attribute("max")
        steps.fill(last or "0")
        steps.blur()
        # It stands below the run's parameters.
        self._seen(
            dialog.locator(f"img[src*='step%2B{last}%2B']")
        ).first.scroll_into_view_if_needed()
        return dialog

    def artifact(self, path: str = "render/training.gif") -> Locator:
        """A picture among the run's artifacts."""
        self.page.goto(f"{self._run}/artifacts/{path}")
        return self._seen(self.page.locator(f"img[alt='{path}']"))

    def model(self, name: str) -> Locator:
        """The aliases of a registered model's versions."""
        self.page.goto(f"{self._models}/{name}")
        return self._seen(self.page.get_by_title("champion", exact=True))

    def _seen(self, what: Locator) -> Locator:
        what.first.wait_for()
        return what


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        finally:
            chromium.close()


@contextlib.contextmanager
def server() -> Iterator[str]:
    """MLflow on the store of this folder, as `make ui` starts it; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with mlflow_server.start(store.location(), "127.0.0.1", port) as group:
        mlflow_server.wait_until_it_answers(group, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


def take(page: Page, path: Path) -> None:
    """Save what is on the screen as a small PNG."""
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(path)


def chosen() -> tuple[str, str, str | None]:
    """Experiment and run to show, and the registered model or None."""
    client = store.connect()
    names = {
        experiment.experiment_id: experiment.name
        for experiment in client.search_experiments()
        if experiment.name.startswith("dcgan-")
    }
    runs = client.search_runs(
        list(names), "attributes.status = 'FINISHED'", order_by=["attributes.start_time DESC"]
    )
    if not runs:
        sys.exit("screenshots: no run is finished: run `make repro`")
    for model in client.search_registered_models():
        if "champion" in model.aliases:
            version = client.get_model_version(model.name, str(model.aliases["champion"]))
            champion = next((run for run in runs if run.info.run_id == version.run_id), None)
            if champion:
                return champion.info.experiment_id, champion.info.run_id, model.name
    return runs[0].info.experiment_id, runs[0].info.run_id, None


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs/images", help="folder of the pictures"
    )
    out = parser.parse_args().out
    if not CHROMIUM:
        sys.exit("screenshots: chromium is missing: apt-get install chromium")
    out.mkdir(parents=True, exist_ok=True)
    experiment, run, model = chosen()
    with server() as address, browser() as page:
        pages = Pages(page, address, experiment, run)
        shown: dict[str, Callable[[], Locator]] = {
            "runs": pages.runs, "overview": pages.overview, "metrics": pages.metrics,
            "images": pages.images, "artifacts": pages.artifact, "checkpoints": pages.checkpoints,
            "checkpoint": lambda: pages.checkpoint("epoch-"),
        }  # fmt: skip
        if model:
            shown["model"] = lambda: pages.model(model)
            shown["version"] = lambda: pages.version(model)
        for name, show in shown.items():
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            show()
            take(page, out / f"mlflow-{name}.png")
    if not model:
        print(
            "screenshots: no model is registered with the alias champion:"
            " mlflow-model.png and mlflow-version.png are not taken"
        )


if __name__ == "__main__":
    main()
