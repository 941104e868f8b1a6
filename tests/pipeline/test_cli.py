"""The command line: quick help, one-line errors, documented exit codes."""

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan.errors import DataError
from pipeline import cli, workspace
from pipeline.__main__ import COMMANDS
from tests.support import tiny_models
from tests.support.imports import ROOT

HEAVY = {
    "torch", "torchvision", "mlflow", "great_expectations", "torch_fidelity", "pandas",
    "matplotlib", "scipy",
}  # fmt: skip


def pipeline(*args: str, python: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *python, "-m", "pipeline", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def imported(process: "subprocess.CompletedProcess[str]") -> set[str]:
    """Top-level packages that a process run with -X importtime has imported."""
    return {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in process.stderr.splitlines()
        if "|" in line
    }


@pytest.mark.parametrize("args", [[], ["--help"]], ids=str)
def test_the_list_of_commands_needs_no_heavy_import(args: list[str]) -> None:
    process = pipeline(*args, python=("-X", "importtime"))
    assert process.returncode == 0
    for name, text in COMMANDS.items():
        assert re.search(rf"\b{name}\b +{re.escape(text.split()[0])}", process.stdout)
    assert "typer" in imported(process)
    assert not imported(process) & (HEAVY | {"pydantic", "numpy"})


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_its_help_without_heavy_imports(name: str) -> None:
    process = pipeline(name, "--help", python=("-X", "importtime"))
    assert process.returncode == 0, process.stderr[-500:]
    assert f"python -m pipeline {name}" in process.stdout
    assert not imported(process) & HEAVY


@pytest.mark.parametrize("name", ["sample", "promote", "init", "ui"])
def test_a_flag_asks_for_no_value(name: str) -> None:
    # Typer itself writes it behind --help.
    lines = pipeline(name, "--help").stdout.splitlines()
    assert not [line for line in lines if "<bool>" in line and "Show this message" not in line]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_commands_say(name: str) -> None:
    tree = ast.parse((ROOT / "pipeline" / f"{name}.py").read_text())
    # A module of several commands says itself what they are for.
    main = next(
        (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"),
        tree,
    )
    first_line = (ast.get_docstring(main) or "").splitlines()[0]
    # The example command follows after a colon or a full stop.
    assert re.split(r": python -m|\. |\.$", first_line)[0] + "." == COMMANDS[name]


def test_every_command_is_in_the_list() -> None:
    modules = {
        path.stem
        for path in (ROOT / "pipeline").glob("*.py")
        if re.search(r"^(def main\(|SUBCOMMANDS =)", path.read_text(), re.M)
    }
    assert modules - {"__main__"} == set(COMMANDS)


def test_a_command_of_several_lists_them_and_refuses_others_without_heavy_imports() -> None:
    process = pipeline("recipe", "--help", python=("-X", "importtime"))
    assert process.returncode == 0 and not imported(process) & (HEAVY | {"pydantic", "numpy"})
    for name in ("list", "show", "apply", "flags"):
        assert re.search(rf"\b{name}\b  +[A-Z]", process.stdout)
        assert pipeline("recipe", name, "--help").returncode == 0
    unknown = pipeline("recipe", "aply")
    assert unknown.returncode == 2 and "Did you mean 'apply'" in unknown.stderr


def test_an_unknown_command_is_refused_in_one_line_with_a_suggestion() -> None:
    process = pipeline("evalaute")
    assert process.returncode == 2 and process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: No such command 'evalaute'. Did you mean 'evaluate'")


def run(function: Callable[..., object], *args: str) -> int:
    """Exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.run(function, args=list(args), prog="python -m pipeline test")
    return int(ended.value.code or 0)


def test_a_user_error_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise DataError("data/raw: \x1b[31mred\nand a second line")

    assert run(main) == 3
    output = capsys.readouterr()
    assert output.out == "" and output.err == "error: data/raw: \\x1b[31mred\\nand a second line\n"


def test_debug_shows_the_traceback() -> None:
    def main() -> None:
        raise DataError("data/raw: bad")

    with pytest.raises(DataError, match="data/raw: bad"):
        cli.run(main, args=["--debug"])


def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(main, args=[])


def test_a_bad_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(count: int = 1) -> None:
        pass

    assert [run(main), run(main, "--count", "two"), run(main, "--cuont", "2")] == [0, 2, 2]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: Invalid value for '--count'") and "--count" in second


@pytest.mark.holds("R-21")
def test_the_keyboard_ends_a_command_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert run(main) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.holds("R-26")
def test_a_command_goes_on_when_the_reader_of_its_lines_has_gone(tmp_path: Path) -> None:
    script = """if True:
        import pathlib, sys
        from pipeline import cli

        def main():
            for _ in range(100000):
                print("line")
            pathlib.Path(sys.argv[1]).touch()

        cli.run(main, args=[])
    """
    done = tmp_path / "done"
    with subprocess.Popen(
        [sys.executable, "-c", script, done], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
    assert done.exists()


@pytest.mark.holds("R-20", "R-22")
def test_sigterm_ends_any_command_with_one_line_and_143() -> None:
    script = """if True:
        import time
        from pipeline import cli

        def main():
            print("ready", flush=True)
            time.sleep(60)

        cli.run(main, args=[])
    """
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.terminate()
        said = process.stderr.read().decode()
        assert process.wait(timeout=60) == 143
    assert said == "error: stopped by SIGTERM; run the same command again to go on\n"


@pytest.mark.holds("R-22")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_an_import_is_answered_after_it(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nprint('importing', flush=True)\n"
        "for _ in range(20): time.sleep(.05)\nprint('imported', flush=True)\n"
    )
    script = """if True:
        import signal, time
        from pipeline import cli

        # A shell that runs the tests in the background has them ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def main():
            import slow
            time.sleep(60)

        cli.run(main, args=[])
    """
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:  # fmt: skip
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        said, complaint = process.communicate(timeout=60)
    assert (said, process.returncode) == ("imported\n", code)
    assert len(complaint.splitlines()) == 1 and complaint.startswith("error: stopped by")


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.holds("R-21")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_a_later_one_ends_the_command(
    handlers: None, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: clock[0])
    noted = cli.catch_signals()
    assert noted() == 0
    os.kill(os.getpid(), number)
    assert noted() == number
    clock[0] += cli.processes.SAME_REQUEST + 0.1
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.holds("R-21")
def test_repeats_within_two_seconds_are_the_same_request(
    handlers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: clock[0])
    noted = cli.catch_signals()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
        clock[0] += 0.9
    assert noted() == signal.SIGTERM


# Commands that should answer at once


@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (("sample", "--count", "4"), {"mlflow", "torchvision", "matplotlib", "scipy", "sklearn"}),
        (("sync",), HEAVY),
        (("doctor",), HEAVY - {"torch"}),
    ],
    ids=["sample", "sync", "doctor"],  # sets have another order in each process
)
def test_a_quick_command_imports_only_what_it_needs(
    args: tuple[str, ...], unwanted: set[str], tmp_path: Path
) -> None:
    tiny_models.write(tmp_path / "models")
    (tmp_path / ".git").mkdir()
    environment = {key: value for key, value in os.environ.items() if "MLFLOW" not in key}
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipeline", *args],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
    )  # fmt: skip
    assert "typer" in imported(process)
    assert not imported(process) & unwanted


def test_a_terminal_without_utf_8_shows_other_letters_escaped() -> None:
    text = "chr(0x76f4) + chr(0x526a)"
    code = f"from pipeline import cli; cli.run(lambda: print('class', {text}), args=[])"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (0, b"class \\u76f4\\u526a\n"), process.stderr


def test_on_windows_one_line_says_what_works() -> None:
    code = "import sys; from pipeline import __main__; sys.platform = 'win32'; __main__.main()"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1 and "use WSL 2" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_a_stage_notes_how_long_it_took_and_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def fails() -> None:
        raise DataError("no data")

    for command, code in ((fails, 3), (lambda: None, 0)):
        with pytest.raises(SystemExit):
            cli.run(command, args=[], prog="python -m pipeline.train")
        assert workspace.stages(workspace.count_stages() - 1)[0]["exit"] == code


def test_ctrl_c_in_a_stage_says_what_dvc_has_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")

    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        cli.run(stopped, args=[])
    assert ended.value.code == 130
    assert "DVC had removed the outputs of train" in capsys.readouterr().err


@pytest.mark.holds("R-95")
@pytest.mark.parametrize("who", ["torch", "numpy", "python"])
def test_out_of_memory_is_one_line_with_what_to_lower(who, monkeypatch, capsys):
    def command():
        """Ask for a petabyte."""
        if who == "torch":
            torch.empty(2**50, dtype=torch.uint8)
        elif who == "numpy":
            np.empty(2**60, np.uint8)
        else:
            bytearray(2**62)

    monkeypatch.setenv("DVC_STAGE", "train")
    with pytest.raises(SystemExit) as ended:
        cli.run(command, args=[])
    assert ended.value.code == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory (")
    assert "lower batch_size, or the channels of the networks; what earlier stages" in line


@pytest.mark.holds("R-90", "R-92")
def test_a_disk_error_that_nobody_has_named_is_one_line_and_another_is_none(tmp_path, capsys):
    def full():
        """Write to a disk that is full."""
        with open("/dev/full", "w") as file:
            file.write("a")

    def missing():
        """Read what is not there."""
        (tmp_path / "none").read_text()

    with pytest.raises(SystemExit) as ended:
        cli.run(full, args=[])
    assert ended.value.code == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: a file: No space left on device: make room, or check the folder and" + (
        " its rights"
    )
    with pytest.raises(FileNotFoundError):
        cli.run(missing, args=[])


@pytest.mark.holds("R-95")
def test_another_runtime_error_is_not_taken_for_it():
    def command():
        """Fail."""
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        cli.run(command, args=[])
