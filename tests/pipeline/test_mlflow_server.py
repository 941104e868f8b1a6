"""Which addresses the MLflow server listens on."""

import json
import socket
import subprocess
import sys

import pytest

from dcgan.errors import ConfigError, EnvironmentProblem
from pipeline import mlflow_server


@pytest.mark.holds("R-104")
def test_ui_refuses_an_address_that_others_can_reach() -> None:
    for host in ("0.0.0.0", "192.168.0.7", "example.org", "::"):
        with pytest.raises(
            ConfigError,
            match=r"ssh -L 5000:127\.0\.0\.1:5000 .* docker run -p 127\.0\.0\.1:5000:5000",
        ):
            mlflow_server.check_address(host, 5000)


def test_ui_listens_to_others_where_it_is_told_to() -> None:
    mlflow_server.check_address("0.0.0.0", 0, open_to_others=True)


def test_ui_refuses_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {port} .* choose another with --port"):
            mlflow_server.check_address("127.0.0.1", port)
    mlflow_server.check_address("127.0.0.1", port)


# In a process of its own: MLflow's server sets up the logging of the process that imports it.
ALLOWED = """
import json, sys
from mlflow.server.security_utils import is_allowed_host_header
allowed, hosts = json.loads(sys.argv[1])
print(json.dumps([host for host in hosts if is_allowed_host_header(allowed, host)]))
"""


def answered(listening: str, hosts: list[str]) -> list[str]:
    """The hosts that MLflow's server would answer."""
    question = json.dumps([mlflow_server.allowed_hosts(listening), hosts])
    done = subprocess.run(
        [sys.executable, "-c", ALLOWED, question], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.holds("R-104")
def test_a_page_of_another_name_cannot_read_the_runs() -> None:
    """MLflow's own list has 10.*, so that a page from 10.example.com passed."""
    ours = ["localhost:5000", "127.0.0.1:5000", "127.0.0.1:6001", "[::1]:5000", "localhost"]
    others = [
        "10.example.com", "10.0.0.7:5000", "192.168.evil.org", "localhost.evil.org:5000",
        "127.0.0.1.evil.org", "evil.org",
    ]  # fmt: skip
    assert answered("127.0.0.1", [*ours, *others]) == ours
    assert answered("fd00::1", ["[fd00::1]:5000", *others]) == ["[fd00::1]:5000"]
