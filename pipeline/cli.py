"""Run one command: one-line errors and documented exit codes; a traceback only with --debug."""

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from dcgan.errors import UserError

EXIT_CODES = "Exit codes: 0 fine, 2 config, 3 data, 4 diverged or refused, 5 no checkpoint, 6 environment, 130 and 143 signals."


def run(*commands: Callable[..., Any], args: list[str] | None = None, prog: str | None = None) -> None:
    """Give one function the command line, or several of them as subcommands, and exit."""
    args = sys.argv[1:] if args is None else args
    debug = "--debug" in args
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=len(commands) > 1)
    for command in commands:
        app.command(epilog=f"--debug shows tracebacks. {EXIT_CODES}")(command)
    try:
        app([arg for arg in args if arg != "--debug"], prog_name=prog)
    except UserError as error:
        if debug:
            raise
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        if debug:
            raise
        fail("stopped by the keyboard; run the same command again to go on", 130)
    except BrokenPipeError:
        # Whoever read our output is gone, and that is no error of ours; the interpreter must not complain at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, exit_code: int) -> None:
    """Print one line on stderr, control characters escaped, and exit."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message)
    print(f"error: {line}", file=sys.stderr)
    sys.exit(exit_code)
