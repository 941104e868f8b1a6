"""params.yaml is read as DVC reads it, and what is no plain YAML is refused."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dcgan.config import reading, sections
from dcgan.errors import ConfigError
from tests.config.values import VALUES, message


@pytest.mark.parametrize("whole", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(whole):
    assert "must be a section of keys" in message(whole)


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(text.encode())
    return path


@pytest.mark.holds("R-87")
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


@pytest.mark.holds("R-86")
@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a:\n\t- 1\n", "a: [1\n", "a: !!python/object/apply:os.system [echo]\n"],
    ids=["duplicate key", "tab", "open bracket", "python object"],
)
def test_what_is_no_plain_yaml_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(ConfigError, match="is no YAML") as caught:
        reading.load(sections.AllParams, path=write(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.holds("R-86")
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


@pytest.mark.holds("R-86")
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
