import copy
import importlib
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan.config import reading, sections
from dcgan.errors import ConfigError

VALUES = reading.read_yaml(Path("params.yaml"))


def changed(key: str, value: object) -> dict:
    values = copy.deepcopy(VALUES)
    *sections, name = key.split(".")
    section = values
    for part in sections:
        section = section[part]
    if value is ...:
        del section[name]
    else:
        section[name] = value
    return values


def message(values: object) -> str:
    with pytest.raises(ConfigError) as caught:
        reading.parse(values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("lr", -0.1, "lr = -0.1: must be > 0 and at most 1"),
        ("lr", 0, "lr = 0: must be > 0 and at most 1"),
        ("lr", math.inf, "lr = inf: must be a number > 0 and at most 1"),
        ("lr", math.nan, "lr = nan: must be a number > 0 and at most 1"),
        ("lr", 1e9, "lr = 1000000000.0: must be > 0 and at most 1"),
        ("lr", "2e-4", "lr = '2e-4': must be a number > 0 and at most 1"),
        ("lr", None, "lr = None: must be a number > 0 and at most 1"),
        ("lr", ..., "lr: missing: add it, a number > 0 and at most 1"),
        ("lrr", 1, "lrr: unknown key: did you mean lr?"),
        ("training.losss", 1, "training.losss: unknown key: did you mean loss?"),
        ("beta1", 1.0, "beta1 = 1.0: must be at least 0 and below 1"),
        ("training.beta2", 1, "training.beta2 = 1: must be at least 0 and below 1"),
        ("batch_size", 0, "batch_size = 0: must be at least 1 and at most 65536"),
        (
            "batch_size",
            1.5,
            "batch_size = 1.5: must be a whole number at least 1 and at most 65536",
        ),
        (
            "batch_size",
            "8",
            "batch_size = '8': must be a whole number at least 1 and at most 65536",
        ),
        (
            "batch_size",
            True,
            "batch_size = True: must be a whole number at least 1 and at most 65536",
        ),
        ("seed", -1, "seed = -1: must be at least 0 and at most 4294967295"),
        ("seed", 2**32, "seed = 4294967296: must be at least 0 and at most 4294967295"),
        ("epochs", 0, "epochs = 0: must be at least 1 and at most 100000"),
        (
            "training.loss",
            "wgan",
            "training.loss = 'wgan': must be one of: non_saturating, minimax, least_squares, hinge",
        ),
        (
            "training.generator_lr_scale",
            0,
            "training.generator_lr_scale = 0: must be > 0 and at most 100",
        ),
        (
            "generator.channels",
            [1, 0, 2],
            "generator.channels[1] = 0: must be at least 1 and at most 4096",
        ),
        (
            "generator.channels",
            [64],
            "generator: channels has 1 values, strides has 3: must have one a layer each",
        ),
        ("generator.z_dim", 0, "generator.z_dim = 0: must be at least 1 and at most 4096"),
        ("generator.kernel", 1, "must be at least the stride"),
        ("dataset", 3, "dataset = 3: must be a section of keys"),
        (
            "dataset.name",
            "mnits",
            "dataset.name = 'mnits': must be one of: mnist, fashion_mnist, cifar10",
        ),
        (
            "dataset.name",
            "folder",
            "test_size = 0: must be at least 1, because folder has no test split of its own",
        ),
        (
            "dataset.test_size",
            5,
            "test_size = 5: must be 0, because fashion_mnist has a test split of its own",
        ),
        ("dataset.channels", 2, "dataset.channels = 2: must be one of: 1, 3"),
        ("dataset.crop", 0, "dataset.crop = 0: must be"),
        (
            "dataset.attributes",
            ["Male"],
            "attributes = ['Male']: must be [] with name: fashion_mnist; only celeba has any",
        ),
        (
            "dataset.attributes",
            None,
            "dataset.attributes = None: must be a list of at most 4 values",
        ),
        (
            "dataset.attributes",
            "Male",
            "dataset.attributes = 'Male': must be a list of at most 4 values",
        ),
        ("dataset.attributes", [1], "dataset.attributes[0] = 1: must be text"),
        (
            "dataset.attributes",
            ...,
            "dataset.attributes: missing: add it, a list of at most 4 values",
        ),
        (
            "reference.extractor",
            "vgg",
            "reference.extractor = 'vgg': must be one of: auto, classifier, rotation, inception",
        ),
        ("reference.weights", 3, "reference.weights = 3: must be text or null"),
        (
            "reference.weights_sha256",
            "6726825d",
            "weights_sha256 = '6726825d': must be 64 digits of 0-9 and a-f, or null",
        ),
        ("reference.weights_sha256", "AB" * 32, "must be 64 digits of 0-9 and a-f, or null"),
        ("reference.weights_sha256", "ab" * 32, "weights_sha256: must be null with weights: null"),
        (
            "training.update",
            "alternate",
            "must be one of: simultaneous, alternating, concatenated, one_network",
        ),
        ("training.label_smoothing", 0.1, "label_smoothing = 0.1: must be 0 with loss: hinge"),
        (
            "training.diff_augment",
            ["colour"],
            "training.diff_augment[0] = 'colour': must be one of: color, translation, cutout",
        ),
        (
            "training.linear_decay_from",
            1.5,
            "training.linear_decay_from = 1.5: must be at least 0 and at most 1",
        ),
        ("dataset.image_size", 32, "gives 28 x 28 images: must be dataset.image_size = 32"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_key_value_and_range(key, value, said):
    assert said in message(changed(key, value))
    assert message(changed(key, value)).startswith("params.yaml: ")


def test_what_does_not_fit_together_is_refused():
    values = changed("training.update", "simultaneous")
    values["training"]["discriminator_steps"] = 2
    assert "discriminator_steps = 2: must be 1 with update: simultaneous" in message(values)
    values = changed("dataset.name", "folder")
    values["dataset"]["test_size"] = 10
    assert "source = None: must be the folder with the images" in message(values)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Male", "Male"], "attributes[1] = 'Male': must not come twice"),
        (
            ["Male", "is smiling"],
            "attributes[1] = 'is smiling': must be a word of letters, digits and _",
        ),
        (
            ["Male+Smiling"],
            "attributes[0] = 'Male+Smiling': must be a word of letters, digits and _",
        ),
        (["{name}"], "attributes[0] = '{name}': must be a word"),
        ([""], "attributes[0] = '': must be a word"),
        (["Male\n"], "attributes[0] = 'Male\\n': must be a word"),
        (["M\xe4nnlich"], "must be a word"),
        (["A", "B", "C", "D", "E"], "dataset.attributes = ['A', 'B', 'C', 'D', 'E']: must be"),
    ],
)
def test_attributes_of_celeba_are_at_most_four_different_words(names, said):
    values = changed("dataset.name", "celeba")
    values["dataset"]["attributes"] = names
    assert said in message(values)
    values["dataset"]["attributes"] = ["5_o_Clock_Shadow", "Male", "Smiling", "Young"]
    assert reading.parse(values).dataset.attributes == [
        "5_o_Clock_Shadow",
        "Male",
        "Smiling",
        "Young",
    ]


@pytest.mark.parametrize("whole", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(whole):
    assert "must be a section of keys" in message(whole)


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(text.encode())
    return path


def test_a_hand_written_exponent_is_a_float_as_dvc_reads_it(tmp_path):
    text = re.sub(
        r"^lr: \S+", "lr: 2e-4", Path("params.yaml").read_text(), count=1, flags=re.MULTILINE
    )
    assert reading.load(sections.AllParams, path=write(tmp_path, text)).lr == 2e-4
    assert reading.read_yaml(write(tmp_path, "a: 010\nb: yes\nc: 1_000\n")) == {
        "a": 10,
        "b": "yes",
        "c": 1000,
    }


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a:\n\t- 1\n", "a: [1\n", "a: !!python/object/apply:os.system [echo]\n"],
    ids=["duplicate key", "tab", "open bracket", "python object"],
)
def test_what_is_no_plain_yaml_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(ConfigError, match="is no YAML") as caught:
        reading.load(sections.AllParams, path=write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_empty_huge_and_binary_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        reading.load(sections.AllParams, path=tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match="must be a section of keys"):
        reading.load(sections.AllParams, path=write(tmp_path, ""))
    with pytest.raises(ConfigError, match="must be at most"):
        reading.load(sections.AllParams, path=write(tmp_path, "#" * 2_000_000))
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no UTF-8"):
        reading.load(sections.AllParams, path=tmp_path / "params.yaml")


def test_aliases_that_multiply_are_refused_without_being_written_out(tmp_path):
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    with pytest.raises(ConfigError) as caught:
        reading.load(sections.AllParams, path=write(tmp_path, bomb + "lr: *u\n"))
    assert len(str(caught.value)) < 500


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + Path("params.yaml").read_bytes())
    assert reading.load(sections.AllParams, path=path).seed == VALUES["seed"]


def test_a_stage_gets_only_what_it_has_declared():
    class Params(sections.Section):
        lr: sections.Rate

    params = reading.load(Params)
    assert params.model_dump() == {"lr": VALUES["lr"]}
    with pytest.raises(AttributeError):
        _ = params.seed  # and mypy says so before


@pytest.mark.parametrize("path", sorted(Path("pipeline").glob("*.py")), ids=lambda path: path.stem)
def test_a_stage_declares_keys_as_the_schema_does(path):
    """Another type there would check a value twice, by two rules."""
    module = importlib.import_module(f"pipeline.{path.stem}") if path.stem[0] != "_" else None
    declared = [each for each in vars(module).values() if isinstance(each, type)] if module else []
    for each in declared:
        if issubclass(each, sections.Section):
            for key, field in each.model_fields.items():
                whole = sections.AllParams.model_fields[key]
                assert (field.annotation, field.metadata) == (whole.annotation, whole.metadata), key


def test_a_stage_answers_a_bad_file_with_one_line_and_exit_code_2(tmp_path):
    text = Path("params.yaml").read_text() + "lrr: 1\n"
    write(tmp_path, text)
    command = [sys.executable, "-m", "pipeline.train"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: params.yaml: lrr: unknown key: did you mean lr?\n"
