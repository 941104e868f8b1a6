"""Recipes: exact networks, complete overlays, edits that keep comments, the same flags for DVC."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from dcgan.config import edits, keys, reading, recipes, sections
from dcgan.errors import ConfigError
from dcgan.networks.models import Discriminator, Generator
from dcgan.networks.summary import count_parameters
from dcgan.training import fresh
from tests.support.imports import ROOT

FOLDER = ROOT / "recipes"
PARAMS = ROOT / "params.yaml"
NAMES = recipes.names(FOLDER)
FAITHFUL = [name for name in NAMES if name != "best28"]
# The user's own: how it is run, and where images that are their own come from.
FREE = {
    "dataset": {
        "source",
        "download_minutes",
        "title",
        "fit",
        "background",
        "enlarge",
        "max_value",
        "class_folders",
        "max_images",
        "on_bad_image",
        "duplicates",
        "near_bits",
    },
    "training": {
        "keep_every",
        "keep_last",
        "start_from",
        "precision",
        "device",
        "deterministic",
        "log_every",
        "save_seconds",
        "processes",
        "sync_batch_norm",
        "cuda_graphs",
    },
}


def recipe(name: str, params: Path = PARAMS) -> recipes.Recipe:
    return recipes.load(FOLDER / f"{name}.yaml", params)


def networks(name: str) -> tuple[Generator, Discriminator]:
    params = recipe(name).params
    channels, size = params.dataset.channels, params.dataset.image_size
    return fresh.generator(params.generator, channels), fresh.discriminator(
        params.discriminator, channels, size
    )


def copy(folder: Path, text: str | None = None) -> Path:
    path = folder / "params.yaml"
    path.write_text(PARAMS.read_text() if text is None else text)
    return path


def comments(text: str) -> list[str]:
    return re.findall(r"#.*", text)


def test_the_default_is_the_best_recipe_with_fewer_epochs():
    default, best = reading.read_yaml(PARAMS), recipe("best28").overlay
    assert default.pop("epochs") < best.pop("epochs")
    assert {
        key: value for key, value in keys.leaves(best).items() if keys.leaves(default)[key] != value
    } == {}


def test_all_reference_systems_have_a_recipe():
    assert set(NAMES) == {
        "mnist-tf", "fashion-rmsprop", "fashion-adam", "celeba64", "paper64", "svhn32", "probe32",
        "best28",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "of_g", "of_d"),
    [
        ("mnist-tf", (2_305_472, 25_472), (212_865, 0)),
        ("fashion-rmsprop", (413_825, 384), (212_865, 0)),
        ("fashion-adam", (840_321, 384), (212_865, 0)),
        ("celeba64", (3_576_704, 1_920), (2_765_568, 1_792)),
        # Added up by hand, layer by layer; these sources give no totals.
        ("paper64", (18_855_040, 3_840), (17_232_768, 3_584)),
        ("svhn32", (1_439_296, 896), (1_033_664, 768)),
        ("probe32", (6_675_328, 3_584), (4_586_112, 3_328)),
    ],
)
def test_the_networks_have_the_parameters_of_the_reference_to_the_last_digit(name, of_g, of_d):
    generator, discriminator = networks(name)
    assert (count_parameters(generator), count_parameters(discriminator)) == (of_g, of_d)


@pytest.mark.parametrize(
    ("name", "features", "flat"), [("svhn32", 7_168, 4_096), ("probe32", 28_672, 8_192)]
)
def test_the_probe_nets_give_the_papers_number_of_features(name, features, flat):
    discriminator = networks(name)[1]
    assert 16 * sum(discriminator.architecture.channels) == features
    assert discriminator.head[0].in_features == flat


@pytest.mark.parametrize(
    ("name", "rates", "sizes", "z", "steps"),
    [
        (
            "mnist-tf",
            (1e-4, 0.9, 0.999, 1e-7),
            (256, 100),
            ("normal", 100),
            ("adam_keras", "simultaneous", False),
        ),
        (
            "fashion-rmsprop",
            (1e-3, None, 0.9, 1e-7),
            (64, 20),
            ("normal", 32),
            ("rmsprop_keras", "concatenated", True),
        ),
        (
            "fashion-adam",
            (1e-3, 0.9, 0.999, 1e-7),
            (32, 10),
            ("normal", 100),
            ("adam_keras", "concatenated", True),
        ),
        (
            "celeba64",
            (2e-4, 0.5, 0.999, 1e-8),
            (128, 5),
            ("normal", 100),
            ("adam", "alternating", False),
        ),
        (
            "paper64",
            (2e-4, 0.5, 0.999, 1e-8),
            (128, 5),
            ("uniform", 100),
            ("adam", "one_network", False),
        ),
        (
            "svhn32",
            (5e-4, 0.5, 0.999, 1e-8),
            (64, 200),
            ("normal", 100),
            ("adam", "one_network", False),
        ),
        (
            "probe32",
            (2e-4, 0.5, 0.999, 1e-8),
            (128, 25),
            ("uniform", 256),
            ("adam", "one_network", False),
        ),
    ],
)
def test_the_settings_are_those_of_the_reference(name, rates, sizes, z, steps):
    params = recipe(name).params
    training, generator = params.training, params.generator
    beta1 = None if training.optimizer == "rmsprop_keras" else params.beta1  # RMSprop has none.
    assert (params.lr, beta1, training.beta2, training.eps) == rates
    assert (params.batch_size, params.epochs) == sizes
    assert (generator.z_distribution, generator.z_dim) == z
    assert (training.optimizer, training.update, training.drop_last) == steps
    assert params.discriminator.dropout[:2] == {
        "mnist-tf": [0.3, 0.3], "fashion-rmsprop": [0.3, 0.4], "fashion-adam": [0.3, 0.3],
    }.get(name, [0.0, 0.0])  # fmt: skip
    keras = name.startswith(("mnist", "fashion"))
    for network in (generator, params.discriminator):
        assert (network.norm_momentum, network.norm_eps) == ((0.01, 1e-3) if keras else (0.1, 1e-5))
        assert (network.padding, network.init) == (
            ("same", "glorot") if keras else ("symmetric", "normal")
        )


@pytest.mark.parametrize("name", FAITHFUL)
def test_improvements_are_off_in_faithful_recipes(name):
    params = recipe(name).params
    training = params.training
    assert (
        training.loss == "non_saturating"
        and training.discriminator_steps == 1
        and training.generator_lr_scale == 1
    )
    assert not (
        training.label_smoothing
        or training.r1_gamma
        or training.diff_augment
        or training.ema_half_life
    )
    assert training.linear_decay_from == 1 and not params.discriminator.spectral_norm


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_sets_every_key_that_decides_what_is_trained_and_on_what(name):
    values = reading.read_yaml(PARAMS)
    decisive = {"lr", "beta1", "batch_size", "epochs"}
    for section in ("dataset", "generator", "discriminator", "training"):
        decisive |= {
            f"{section}.{key}" for key in values[section] if key not in FREE.get(section, ())
        }
    decisive |= {"probe.protocol", "probe.c", "probe.c_unit"}
    assert set(keys.leaves(recipe(name).overlay)) == decisive


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_file_is_in_block_style_and_says_first_what_it_reproduces(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    assert text.startswith("# ") and "\nreproduces: " in text
    assert not re.search(r": +[\[{](?!\])", text)
    assert max(len(line) for line in text.splitlines()) <= 132


def test_the_recipe_applied_last_decides_whatever_came_before(tmp_path):
    path = copy(tmp_path)
    results = set()
    for order in (NAMES, NAMES[::-1]):
        for name in (*order, "celeba64"):
            recipes.apply(recipe(name, path), path)
            assert reading.parse(reading.read_yaml(path), path) == recipe(name, path).params
        results.add(path.read_text())
    assert len(results) == 1


@pytest.mark.parametrize("name", NAMES)
def test_applying_keeps_every_comment_and_touches_nothing_else(tmp_path, name):
    path = copy(tmp_path)
    recipes.apply(recipe(name, path), path)
    before, after = PARAMS.read_text(), path.read_text()
    assert comments(after) == comments(before)
    assert reading.read_yaml(path) == edits.merge(reading.read_yaml(PARAMS), recipe(name).overlay)
    changed = {key for key, _, _ in recipes.changes(recipe(name))}
    unchanged = [
        line for line in before.splitlines() if line.startswith("  ") and not line.startswith("  -")
    ]
    for line in unchanged:
        if line.split(":")[0].strip() not in {key.split(".")[-1] for key in changed}:
            assert line in after.splitlines()
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_applying_there_and_back_gives_the_same_text(tmp_path):
    path = copy(tmp_path)
    for name in (
        "celeba64",
        "best28",
    ):  # Every number written once, because we write 1e-07 where a hand may write 1.0e-07.
        recipes.apply(recipe(name, path), path)
    before = path.read_text()
    for name in FAITHFUL:
        recipes.apply(recipe(name, path), path)
        assert path.read_text() != before
    recipes.apply(recipe("best28", path), path)
    # A value longer than the space before its comment moves the comment for good.
    assert re.sub(" +#", " #", path.read_text()) == re.sub(" +#", " #", before)


def test_a_file_that_is_equal_already_is_not_written(tmp_path):
    path = copy(tmp_path)
    assert recipes.apply(recipe("celeba64", path), path)
    before = path.stat()
    assert recipes.apply(recipe("celeba64", path), path) == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


LISTS = """\
a:                # on the key
- 1
- 2               # on the last value

# before b
b: []             # empty
c:
  # before d
  d: null         # nothing
  e: 'x'
"""


@pytest.mark.parametrize(
    ("overlay", "old", "new"),
    [
        ({"a": [7]}, "- 1\n- 2               #", "- 7               #"),
        ({"a": [7, 8, 9]}, "- 1\n- 2               #", "- 7\n- 8\n- 9               #"),
        ({"b": [1, 2]}, "b: []             # empty\n", "b:                # empty\n- 1\n- 2\n"),
        ({"c": {"d": 5, "e": "x"}}, "d: null         #", "d: 5            #"),
        ({"c": {"e": None}}, "e: 'x'", "e: null"),
        ({"a": [1, 2], "b": []}, "", ""),
    ],
    ids=["shorter list", "longer list", "list where none was", "value", "null", "equal"],
)
def test_an_edit_changes_the_value_and_no_other_byte(tmp_path, overlay, old, new):
    path = copy(tmp_path, LISTS)
    assert edits.edit(path, overlay) == LISTS.replace(old, new)


def test_a_list_that_becomes_empty_and_comes_back_keeps_its_comment(tmp_path):
    text = PARAMS.read_text()
    path = copy(tmp_path)
    for augment in (["color", "cutout"], [], ["translation"], []):
        path.write_text(edits.edit(path, {"training": {"diff_augment": augment}}))
        assert reading.parse(reading.read_yaml(path)).training.diff_augment == augment
        assert comments(path.read_text()) == comments(text)
    assert "diff_augment: []  " in path.read_text()


def test_values_that_share_one_place_are_not_edited(tmp_path):
    path = copy(tmp_path, "a: &same {x: 1}\nb: *same\n")
    with pytest.raises(
        ConfigError, match="cannot be edited, because some of its values share one place"
    ):
        edits.edit(path, {"a": {"x": 2}})


@pytest.mark.parametrize("name", NAMES)
def test_dvc_makes_of_the_flags_the_parameters_that_apply_makes(tmp_path, name):
    path = copy(tmp_path)
    flags = recipes.flags(recipe(name, path))
    assert set(flags[::2]) == {"-S"} and not any(re.search(r"\s", flag) for flag in flags)
    apply_overrides(path, flags[1::2])
    # As JSON, so that 1, 1.0 and true are not the same.
    through_dvc = json.dumps(reading.read_yaml(path))
    shutil.copy(PARAMS, path)
    recipes.apply(recipe(name, path), path)
    assert json.dumps(reading.read_yaml(path)) == through_dvc


@pytest.mark.parametrize(
    "text", ["images/photos", "https://example.org/a_b-c.d", "null", "2e-4", "photos"]
)
def test_texts_and_lists_reach_dvc_as_they_are(tmp_path, text):
    path = copy(tmp_path)
    written = tmp_path / "mine.yaml"
    overlay = {
        "reproduces": "mine",
        "dataset": {"source": text},
        "training": {"diff_augment": ["color", "cutout"]},
    }
    written.write_text(json.dumps(overlay))
    apply_overrides(path, recipes.flags(recipes.load(written, path))[1::2])
    values = reading.read_yaml(path)
    assert (values["dataset"]["source"], values["training"]["diff_augment"]) == (
        text,
        ["color", "cutout"],
    )


@pytest.mark.parametrize("text", ["my photos", "a'b", "*", "a,b", "$HOME", "a\nb"])
def test_a_text_that_a_shell_would_tear_apart_is_refused_as_a_flag(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"reproduces": "mine", "dataset": {"source": text}}))
    with pytest.raises(ConfigError, match=r"recipe mine: dataset\.source = .* use recipe apply"):
        recipes.flags(recipes.load(path, PARAMS))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reproduces: x\nlrr: 1\n", "lrr: unknown key: did you mean lr?"),
        (
            "reproduces: x\ntraining: {losss: hinge}\n",
            "training.losss: unknown key: did you mean loss?",
        ),
        ("reproduces: x\nlr: -1\n", "lr = -1: must be > 0 and at most 1"),
        ("reproduces: x\nlr: {a: 1}\n", "must be a number > 0 and at most 1"),
        ("reproduces: x\ndataset: 3\n", "dataset = 3: must be a section of keys"),
        (
            "reproduces: x\ngenerator: {channels: [64]}\n",
            "generator: channels has 1 values, strides has 3",
        ),
        ("lr: 0.1\n", "reproduces = None: must be one line"),
        ("reproduces: [x]\n", "reproduces = ['x']: must be one line"),
        ("reproduces: |\n  x\n  y\n", "must be one line"),
        ("", "must be a section of keys"),
        ("- lr\n", "must be a section of keys"),
        ("reproduces: x\nlr: 1\nlr: 2\n", "is no YAML"),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line_that_names_its_file_and_key(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        recipes.load(path, PARAMS)
    assert (
        str(caught.value).startswith(f"{path}: ")
        and said in str(caught.value)
        and "\n" not in str(caught.value)
    )


def test_what_is_wrong_in_params_yaml_is_not_blamed_on_the_recipe(tmp_path):
    path = copy(tmp_path, PARAMS.read_text().replace("seed: 999", "seed: -1"))
    with pytest.raises(ConfigError, match=re.escape(f"{path}: seed = -1")):
        recipe("celeba64", path)


def test_an_unknown_name_is_refused_with_a_suggestion_or_all_names(tmp_path):
    with pytest.raises(ConfigError, match=r"recipe celeb64: unknown: did you mean celeba64\?"):
        recipes.find("celeb64", FOLDER)
    with pytest.raises(ConfigError, match=r"must be one of best28, celeba64, .*, svhn32"):
        recipes.find("../params", FOLDER)
    with pytest.raises(ConfigError, match="no recipe found"):
        recipes.find("celeba64", tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the project's params.yaml and recipes."""
    shutil.copytree(FOLDER, tmp_path / "recipes")
    copy(tmp_path)
    return tmp_path


def run(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline", "recipe", *args]
    environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_list_has_a_row_for_each_recipe(project):
    done = run(project, "list")
    assert (done.returncode, done.stderr) == (0, "")
    for name in NAMES:
        assert recipe(name).reproduces in done.stdout
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines()
    ]
    row_number = next(i for i, row in enumerate(rows) if row[0] == "celeba64")
    assert rows[row_number][1:] == [
        "celeba",
        "G 3,576,704",
        "alternating",
        "the PyTorch tutorial's DCGAN on CelebA",
    ]
    assert rows[row_number + 1][1:3] == ["64 x 64 x 3", "D 2,765,568"]


def test_show_says_what_changes_and_sums_the_layers_up(project):
    done = run(project, "show", "mnist-tf")
    assert (done.returncode, done.stderr) == (0, "")
    lr = reading.read_yaml(PARAMS)["lr"]
    assert f"lr: {lr} -> 0.0001\n" in done.stdout
    assert re.search(
        r"1,254,400.*25,088.*819,200.*204,800.*1,600.*2,305,472.*25,472.*212,865",
        done.stdout,
        re.DOTALL,
    )


def test_apply_writes_once_and_then_finds_nothing_to_change(project):
    first, second = run(project, "apply", "celeba64"), run(project, "apply", "celeba64")
    assert (first.returncode, second.returncode) == (0, 0)
    assert re.fullmatch(
        r"params.yaml: [1-9]\d* values changed to those of celeba64\n", first.stdout
    )
    assert second.stdout == "params.yaml: 0 values changed to those of celeba64\n"
    assert reading.load(sections.AllParams, path=project / "params.yaml").lr == 2e-4


def test_a_shell_hands_the_flags_on_one_by_one(project):
    command = f"printf '%s\\n' $({sys.executable} -m pipeline recipe flags celeba64)"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == recipes.flags(recipe("celeba64"))


@pytest.mark.parametrize("command", ["show", "apply", "flags"])
def test_an_unknown_recipe_ends_a_command_with_one_line_and_exit_code_2(project, command):
    done = run(project, command, "celeb64")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: recipe celeb64: unknown: did you mean celeba64?\n"
    assert (project / "params.yaml").read_text() == PARAMS.read_text()
