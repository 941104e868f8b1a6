"""Each way to fail has the exit code that the command line documents."""

import inspect
import re
import signal

import pytest

from dcgan import errors
from pipeline import cli

# What `--help` says of the codes: "config" -> 2.
CODES = {words: int(code) for code, words in re.findall(r"(\d+) ([a-z ]+)", cli.EXIT_CODES)}
WORDS = {
    errors.ConfigError: "config",
    errors.DataError: "data",
    errors.Diverged: "diverged or refused",
    errors.Refused: "diverged or refused",
    errors.NoCheckpoint: "no checkpoint",
    errors.EnvironmentProblem: "environment",
    errors.CannotTell: "cannot tell",
}


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_an_error_has_the_documented_exit_code(kind):
    assert kind("what: found, expected").exit_code == CODES[WORDS[kind]]


def test_every_error_of_the_module_is_a_user_error_with_a_documented_code():
    found = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)}
    assert found == {*WORDS, errors.UserError, errors.Stopped}
    assert all(issubclass(kind, errors.UserError) for kind in found)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_128_and_its_number(number, code):
    stopped = errors.Stopped("stopped", number)
    assert (str(stopped), stopped.exit_code) == ("stopped", code)
    assert re.search(rf"\b{code}\b", cli.EXIT_CODES)
