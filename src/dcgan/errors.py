"""What can go wrong for a user, one class per exit code.

Every message is one line: what, where, found, expected, what to do. `pipeline.cli` prints it and
exits with `exit_code`.
"""


class UserError(Exception):
    """Something the user can put right; never raised for a bug of ours."""

    exit_code = 1


class ConfigError(UserError):
    """A bad value in params.yaml or on the command line."""

    exit_code = 2


class DataError(UserError):
    """Data that is missing, damaged or not what it claims to be."""

    exit_code = 3


class Diverged(UserError):
    """Training left the finite numbers."""

    exit_code = 4


class Refused(UserError):
    """The gate refused a model: worse than the champion, or outside a limit; nothing is moved."""

    exit_code = 4


class CannotTell(UserError):
    """The gate cannot tell two models apart; the registry stays."""

    exit_code = 7


class NoCheckpoint(UserError):
    """No usable checkpoint or export where one is needed."""

    exit_code = 5


class EnvironmentProblem(UserError):
    """Disk, permission, network, device, or a lock that another process holds."""

    exit_code = 6


class Stopped(UserError):
    """A signal asked the command to end, and its state is saved.

    The exit code is 128 + the signal's number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
