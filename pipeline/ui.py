"""Browse the runs: a lean MLflow server on the store that the stages write to."""

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Annotated

import typer

from dcgan.errors import ConfigError, EnvironmentProblem
from dcgan.tracking import store
from pipeline import cli

START_SECONDS = 120


def main(
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 5000,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
) -> None:
    """Browse the runs in MLflow: python -m pipeline ui --port 5001. Ctrl-C ends it."""
    uri = store.location()
    if uri.startswith(("http://", "https://")):
        print(f"MLflow runs at {store.shown(uri)}")
        return
    check_address(host, port)
    store.connect()
    # A server that outlived us would keep the port.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    process = start_server(uri, host, port)
    try:
        address = f"http://{_in_url(host)}:{port}"
        wait_until_it_answers(process, address)
        print(
            f"MLflow runs at {address} (the runs are under Model training, top left; Ctrl-C ends it)",
            flush=True,
        )
        process.wait()
        raise EnvironmentProblem(
            f"ui: the MLflow server ended by itself with exit code {process.returncode}: see its lines above"
        )
    except KeyboardInterrupt:
        print("MLflow ended")
    finally:
        stop(process)


def check_address(host: str, port: int) -> None:
    """Refuse an address that others can reach, and a port that is taken.

    Raises:
        ConfigError: the address is not this machine's own.
        EnvironmentProblem: the port is taken.
    """
    if not (host == "localhost" or _is_loopback(host)):
        raise ConfigError(
            f"ui: --host {host}: must be a loopback address, because MLflow asks nobody for a password:"
            " leave it out, and put a reverse proxy with authentication in front"
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


def start_server(uri: str, host: str, port: int) -> "subprocess.Popen[bytes]":
    """Start `mlflow server` with one worker and without its job runner: two processes instead of fifteen."""
    # The store's address may hold a password, which a command line would show to everybody.
    quiet = {**store.ENVIRONMENT, "PYTHONWARNINGS": "ignore"}
    environment = {
        **quiet,
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
    }
    folder = store.artifacts(uri)
    if folder:
        environment["MLFLOW_ARTIFACTS_DESTINATION"] = folder.as_uri()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    # A process group of its own, so that its children can be ended with it.
    return subprocess.Popen(
        [*command, "--uvicorn-opts", "--log-level warning"], env=environment, start_new_session=True
    )


def wait_until_it_answers(process: "subprocess.Popen[bytes]", address: str) -> None:
    """Return when the server answers.

    Raises:
        EnvironmentProblem: it ended, or gave no answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310  # always http
            return
        time.sleep(0.2)
    state = (
        "gave no answer" if process.poll() is None else f"ended with exit code {process.returncode}"
    )
    raise EnvironmentProblem(f"ui: the MLflow server {state}: see its lines above")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server and all its children, gently for five seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    cli.run(main)
