"""`python -m pipeline sample`: images from a file or a registered model, whole or not at all."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.networks import exports, sampling
from dcgan.pictures import grids
from dcgan.promotion import bundle, registry, serving
from dcgan.tracking import store
from pipeline import cli, sample
from tests.support import tiny_models
from tests.support.imports import ROOT


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write(tmp_path_factory.mktemp("models"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: object) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        cli.run(sample.main, args=[str(arg) for arg in args], prog="python -m pipeline sample")
    return int(ended.value.code or 0)


def drawn(models: Path, count: int, seed: int) -> np.ndarray:
    return sampling.sample(
        exports.load_generator(models / "generator.safetensors")[0], count, seed=seed
    )


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_a_grid_of_a_registered_champion(root: Path, models: Path) -> None:
    model = serving.write_model(root / "model", models, "# card\n")
    version = registry.register(model, dataset="toys", fingerprint="aa", tags={})
    registry.set_alias("toys", "champion", version.number, "the first", expected=None)
    name, out = "models:/dcgan-toys@champion", root / "new/grid.png"
    assert run("--model", name, "--seed", 7, "--count", 9, "--out", out) == 0
    assert (pixels(out) == grids.shown(grids.tile(drawn(models, 9, 7), columns=3))).all()
    store.connect().log_artifacts(version.run_id, str(model), "model")
    name = f"runs:/{version.run_id}/model"
    assert run("--model", name, "--seed", 7, "--count", 9) == 0
    assert (root / "samples.png").read_bytes() == out.read_bytes()


def test_the_exports_of_the_pipeline_are_the_default(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_models.write(root / "models")
    assert run("--count", 4) == 0
    assert (
        pixels(root / "samples.png")
        == grids.shown(grids.tile(drawn(root / "models", 4, 0), columns=2))
    ).all()
    assert (
        capsys.readouterr().out
        == "sample: 4 images of seed 0 from models/generator.safetensors in samples.png\n"
    )


def test_image_i_depends_on_the_seed_and_i_alone(root: Path, models: Path) -> None:
    path = models / "generator.safetensors"
    for name, seed, count in (("few", 5, 2), ("many", 5, 130), ("other", 6, 2)):
        options = ("--seed", seed, "--count", count, "--out", f"{name}.npz")
        assert run("--model", path, "--npz", *options) == 0
    few, many, other = (
        np.load(f"{name}.npz", allow_pickle=False)["images"] for name in ("few", "many", "other")
    )
    assert few.shape == (2, 1, 8, 8) and few.dtype == np.uint8 and len(many) == 130
    assert (few == many[:2]).all() and not (few == other).all()
    assert (few == drawn(models, 2, 5)).all()


def test_the_same_command_writes_the_same_bytes(root: Path, models: Path) -> None:
    path = models / "generator.safetensors"
    for options in (("--npz",), ("--latent-walk",), ()):
        suffix = {"--npz": ".npz", "--latent-walk": ".gif"}.get("".join(options), ".png")
        for name in ("a", "b"):
            out = f"{name}{suffix}"
            assert run("--model", path, "--count", 3, "--out", out, *options) == 0
        assert Path(f"a{suffix}").read_bytes() == Path(f"b{suffix}").read_bytes()


def test_a_walk_passes_the_images_of_the_seed_and_has_no_jump(root: Path, models: Path) -> None:
    assert (
        run("--model", models / "generator.safetensors", "--latent-walk", "--count", 3, "--seed", 7)
        == 0
    )
    with Image.open("samples.gif") as walk:
        assert walk.n_frames == 3 * sample.BETWEEN and walk.info["loop"] == 0
        frames = []
        for index in range(walk.n_frames):
            walk.seek(index)
            frames.append(np.asarray(walk.convert("L")).astype(int))
    expected = [
        np.asarray(grids.enlarged(grids.tile(image[None], columns=1), 16))[..., 0]
        for image in drawn(models, 3, 7)
    ]
    for index, image in enumerate(expected):
        # The path is computed in float32, so a pixel may be rounded the other way.
        assert abs(frames[index * sample.BETWEEN] - image).max() <= 1
    steps = [
        abs(after - before).mean()
        for before, after in zip(frames, [*frames[1:], frames[0]], strict=True)
    ]
    assert max(steps) < abs(expected[0].astype(int) - expected[1]).mean() / 2


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (("--count", 0), 2, "Invalid value for '--count'"),
        (("--count", -3), 2, "Invalid value for '--count'"),
        (("--count", 10**9), 2, "--count 1000000000: must be 1 to 10000 for a grid"),
        (("--count", 1, "--latent-walk"), 2, "--count 1: must be 2 to 200 for --latent-walk"),
        (("--seed", -1), 2, "Invalid value for '--seed'"),
        (("--seed", 2**32), 2, "Invalid value for '--seed'"),
        (("--out", "grid.jpg"), 2, "--out grid.jpg: must end in .png, because a grid is written"),
        (("--out", "grid.png", "--npz"), 2, "must end in .npz"),
        (("--out", "grid.npz", "--latent-walk"), 2, "must end in .gif"),
        (("--npz", "--latent-walk"), 2, "give one of them"),
        (("--out", "a-file/grid.png"), 6, "its folder cannot be made"),
        (("--out", "folder.png"), 2, "is a folder"),
        (("--model", "nothing.safetensors"), 5, "nothing.safetensors: does not exist"),
        (("--model", "models:/dcgan-toys@champion"), 5, "models:/dcgan-toys@champion"),
        (("--model", "https://example.org/model"), 2, "must be models:/NAME@ALIAS"),
        (("--model", "a-file"), 3, "a-file"),
        (("--model", "folder.png"), 5, "is no model folder"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], args: tuple[object, ...], code: int, line: str
) -> None:
    tiny_models.write(root / "models")
    (root / "a-file").write_text("not a folder, nor a model")
    (root / "folder.png").mkdir()
    assert run(*args) == code
    output = capsys.readouterr()
    (error,) = output.err.splitlines()
    assert line in error and output.out == ""
    left = {path.name for path in root.iterdir()} - {"models", "a-file", "folder.png", ".mlflow"}
    assert left == set()


@pytest.mark.holds("R-16")
@pytest.mark.parametrize("change", ["pickle", "flipped"])
def test_a_hostile_model_is_refused_and_nothing_of_it_runs(
    root: Path, models: Path, change: str
) -> None:
    model = serving.write_model(root / "model", models, "# card\n")
    if change == "pickle":
        tiny_models.rewrite(model, bundle.GENERATOR, tiny_models.marker_pickle(root / "marker"))
    else:
        content = bytearray((model / bundle.GENERATOR).read_bytes())
        content[-2] ^= 1
        (model / bundle.GENERATOR).write_bytes(content)
    assert run("--model", model, "--count", 2) == 3
    assert run("--model", model / bundle.GENERATOR, "--count", 2) == 3
    assert not (root / "marker").exists() and not (root / "samples.png").exists()


def test_a_local_model_needs_no_mlflow(root: Path, models: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "import pipeline; from pipeline import cli, sample\n"
        "try: cli.run(sample.main, args=sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'mlflow' not in sys.modules"
    )
    options = ("--model", str(models / "generator.safetensors"), "--count", "2")
    command = [sys.executable, "-B", "-c", script, *options]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
