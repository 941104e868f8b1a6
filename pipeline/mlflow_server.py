"""A lean MLflow server on loopback, for `ui` and for pictures of its pages."""

import contextlib
import glob
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

from dcgan.errors import ConfigError, EnvironmentProblem
from dcgan.tracking import store
from pipeline import processes

START_SECONDS = 120
ENDING = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def check_address(host: str, port: int, *, open_to_others: bool = False) -> None:
    """Refuse an address that others can reach, unless they may, and a port that is taken.

    Raises:
        ConfigError: the address is not this machine's own.
        EnvironmentProblem: the port is taken.
    """
    from dcgan.raw import sources

    if not sources.is_loopback(host) and not open_to_others:
        raise ConfigError(
            f"ui: --host {host}: others could read and change the runs, because MLflow asks for no"
            f" password; from another machine use: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE; in"
            f" a container add --open, and publish the port on loopback only:"
            f" docker run -p 127.0.0.1:{port}:{port}"
        )
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server does, so that a port whose last connections linger counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise EnvironmentProblem(
                f"ui: port {port} of {host}: {error.strerror}: choose another with --port"
            ) from error


def start(uri: str, host: str, port: int) -> processes.Group:
    """Start `mlflow server` with one worker and no job runner: 2 processes instead of 15.

    Args:
        uri: of the store.
        host: loopback address to listen on.
        port: TCP port.
    """
    environment = {
        **store.ENVIRONMENT,
        "PYTHONWARNINGS": "ignore",
        **os.environ,
        # Not on the command line, which everybody can read: the address may hold a password.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
    }
    folder = store.artifacts(uri)
    if folder:
        environment["MLFLOW_ARTIFACTS_DESTINATION"] = folder.as_uri()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port),
        "--workers", "1", "--uvicorn-opts", "--log-level warning",
        "--allowed-hosts", ",".join(allowed_hosts(host)),
    ]  # fmt: skip
    return processes.Group(command, ENDING, env=environment)


def allowed_hosts(host: str) -> list[str]:
    """The names by which a browser may ask, any port with each: a tunnel has a port of its own.

    MLflow's own list has 10.*, which also 10.example.com matches: a page from there could read
    every run.
    """
    names = dict.fromkeys(["localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host])
    return [pattern for name in names for pattern in (name, f"{glob.escape(name)}:*")]


def wait_until_it_answers(server: processes.Group, address: str) -> None:
    """Return when the server answers.

    Raises:
        EnvironmentProblem: it ended, or gave no answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        # S310: the address is always http.
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310
            return
        time.sleep(0.2)
    code = server.process.poll()
    state = "gave no answer" if code is None else f"ended with exit code {code}"
    raise EnvironmentProblem(f"ui: the MLflow server {state}: see its lines above")
