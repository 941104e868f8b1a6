"""Four clients at once against a shared server.

It is `mlflow server` with passwords, on Debian's PostgreSQL and an S3 on loopback.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from dcgan.tracking import store
from pipeline import mlflow_server, processes
from tests.support import s3
from tests.support.imports import ROOT
from tests.support.ports import free_port

BIN = max(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BIN, reason="PostgreSQL is missing: apt-get install postgresql"),
]

CLIENT = """if True:
    import sys
    import tempfile
    from pathlib import Path

    from PIL import Image

    from dcgan.tracking import outbox, runs, store

    # A fresh server on a busy machine is slow.
    outbox.PATIENCE, store.ANSWER_TIMEOUT = 120, 60
    image = Path(tempfile.mkdtemp(), "image.png")
    sys.stdin.readline()
    with runs.open_run(sys.argv[1], dataset="toys") as run:
        for start in range(0, 200, 50):
            run.log_rows([{"step": start + i, "loss": float(start + i)} for i in range(50)])
        for step in range(3):
            Image.new("L", (8, 8), step).save(image)
            run.log_image(image, "samples", step)
        run.log_file(Path("params.yaml"), "notes")
    print(run.id, run.off)
"""


@dataclass(frozen=True)
class Shared:
    """A running server."""

    address: str  # without user and password
    passwords: dict[str, str]
    logs: list[Path]
    bucket: s3.Bucket  # of the artifacts

    @property
    def login(self) -> tuple[str, str]:
        """User and password."""
        return "admin", self.passwords["server"]

    @property
    def environment(self) -> dict[str, str]:
        """A client's, which holds the password."""
        mine = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MLFLOW", "DVC", "AWS"))
        }
        login = {
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": self.passwords["server"],
        }
        return {
            **mine,
            **login,
            "MLFLOW_TRACKING_URI": self.address,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT / "src"),
        }


@contextlib.contextmanager
def postgres(password: str) -> Iterator[tuple[str, Path]]:
    """A database server on 127.0.0.1 that ends with the block.

    Yields:
        Its address, with the password, and its log.
    """
    # It refuses to run as root, and pytest's folders are closed to others.
    person = "postgres" if os.getuid() == 0 else None
    port = free_port()

    def run(*command: str) -> None:
        subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            user=person,
            cwd="/",
            check=True,
            capture_output=True,
        )

    with tempfile.TemporaryDirectory() as name:
        folder, secret = Path(name), Path(name, "password")
        secret.write_text(password)
        secret.chmod(0o600)
        for path in (folder, secret) if person else ():
            shutil.chown(path, person)
        data = ("--pgdata", str(folder / "data"))
        run(
            "initdb",
            *data,
            "--username",
            "mlflow",
            "--auth",
            "scram-sha-256",
            "--pwfile",
            str(secret),
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        options += " -c fsync=off -c log_statement=all"
        run("pg_ctl", "start", *data, "--wait", "--log", str(folder / "log"), "--options", options)
        try:
            yield (
                f"postgresql+psycopg2://mlflow:{password}@127.0.0.1:{port}/postgres",
                folder / "log",
            )
        finally:
            run("pg_ctl", "stop", *data, "--mode", "immediate")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    passwords = {name: secrets.token_hex(12) for name in ("database", "server")}
    port = free_port()
    with postgres(passwords["database"]) as (uri, database_log), s3.bucket("runs") as bucket:
        passwords["bucket"] = bucket.secret
        config = folder / "basic_auth.ini"
        config.write_text(
            f"[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
            f"database_uri = sqlite:///{folder}/basic_auth.db\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "AWS"))},
            **store.ENVIRONMENT,
            "MLFLOW_LOGGING_LEVEL": "INFO",
            "MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_ARTIFACTS_DESTINATION": "s3://runs/mlflow",
            "MLFLOW_S3_ENDPOINT_URL": bucket.endpoint,
            "AWS_ACCESS_KEY_ID": bucket.key_id, "AWS_SECRET_ACCESS_KEY": bucket.secret,
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_AUTH_ADMIN_PASSWORD": passwords["server"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(12), "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--port",
            str(port),
            "--workers",
            "2",
            "--app-name",
            "basic-auth",
        ]
        command += [
            "--allowed-hosts",
            f"mlflow.example.org,127.0.0.1:{port}",
            "--cors-allowed-origins",
            "https://mlflow.example.org",
        ]
        with open(folder / "server.log", "wb") as log:
            group = processes.Group(
                command, mlflow_server.ENDING, env=environment, cwd=folder, stdout=log, stderr=log
            )
        with group:
            mlflow_server.wait_until_it_answers(group, f"http://127.0.0.1:{port}")
            yield Shared(
                f"http://127.0.0.1:{port}", passwords, [folder / "server.log", database_log], bucket
            )


def together(
    shared: Shared, folder: Path, fingerprints: list[str], *, one_machine: bool = False
) -> list[str]:
    """Run a client for each fingerprint, in one workspace or as on machines of their own.

    Returns:
        The ids of the runs.
    """
    processes = []
    for i, fingerprint in enumerate(fingerprints):
        environment = {
            **shared.environment,
            "DVC_ROOT": str(folder if one_machine else folder / f"client-{i}"),
        }
        command = [sys.executable, "-c", CLIENT, fingerprint]
        shared.logs.append(folder / f"client-{i}.log")
        with open(shared.logs[-1], "wb") as log:
            processes.append(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
            )
    for process in processes:
        assert process.stdin
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.wait(timeout=240)
    answers = [
        (folder / f"client-{i}.log").read_text().splitlines() for i in range(len(fingerprints))
    ]
    assert [len(lines) for lines in answers] == [1] * len(fingerprints), answers
    assert [lines[0].split()[1] for lines in answers] == ["False"] * len(fingerprints)
    return [lines[0].split()[0] for lines in answers]


def answer(shared: Shared, path: str, login: bool = True) -> dict:
    """What the server's API answers."""
    answered = requests.get(
        f"{shared.address}/api/2.0/mlflow/{path}", auth=shared.login if login else None, timeout=60
    )
    answered.raise_for_status()
    return answered.json()


def points(shared: Shared, run_id: str) -> list[tuple[int, float]]:
    metrics = answer(
        shared, f"metrics/get-history?run_id={run_id}&metric_key=loss&max_results=25000"
    )["metrics"]
    return sorted((int(point["step"]), float(point["value"])) for point in metrics)


EVERY = [(step, float(step)) for step in range(200)]


def test_nobody_gets_in_without_the_password(shared: Shared) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        answer(shared, "experiments/get?experiment_id=0", login=False)
    assert answer(shared, "experiments/get?experiment_id=0")["experiment"]["name"] == "Default"


@pytest.mark.holds("R-104")
def test_only_the_named_hosts_and_origins_are_answered(shared: Shared) -> None:
    def status(method: str, **headers: str) -> int:
        address = f"{shared.address}/api/2.0/mlflow/experiments/search"
        query = {"max_results": 1}
        return requests.request(
            method, address, json=query, headers=headers, auth=shared.login, timeout=60
        ).status_code

    assert (
        status("POST", Host="mlflow.example.org")
        == status("POST", Origin="https://mlflow.example.org")
        == 200
    )
    assert (
        status("POST", Host="evil.example.org")
        == status("POST", Origin="https://evil.example.org")
        == 403
    )


def test_four_clients_at_once_send_everything_once(shared: Shared, tmp_path: Path) -> None:
    run_ids = together(shared, tmp_path, [f"f{i}" for i in range(4)])
    assert len(set(run_ids)) == 4
    for run_id in run_ids:
        assert points(shared, run_id) == EVERY
        run = answer(shared, f"runs/get?run_id={run_id}")["run"]
        assert run["info"]["status"] == "FINISHED"
        files = {
            name: answer(shared, f"artifacts/list?run_id={run_id}&path={name}")["files"]
            for name in ("images", "notes")
        }
        assert len([file for file in files["images"] if file["path"].endswith(".png")]) == 3
        assert [file["path"] for file in files["notes"]] == ["notes/params.yaml"]
    experiments = answer(shared, "experiments/search?max_results=100")["experiments"]
    assert Counter(experiment["name"] for experiment in experiments)["dcgan-toys"] == 1
    for run_id in run_ids:
        assert (
            len(
                [
                    key
                    for key in shared.bucket.objects()
                    if key.endswith(f"/{run_id}/artifacts/notes/params.yaml")
                ]
            )
            == 1
        )


def test_two_clients_of_one_workspace_share_a_training_s_run(
    shared: Shared, tmp_path: Path
) -> None:
    # One may send what both have logged; the other then learns no id.
    (run_id,) = set(together(shared, tmp_path, ["one", "one"], one_machine=True)) - {"None"}
    assert points(shared, run_id) == EVERY
    experiment = answer(shared, "experiments/get-by-name?experiment_name=dcgan-toys")["experiment"][
        "experiment_id"
    ]
    query = {"experiment_ids": [experiment], "filter": "tags.fingerprint = 'one'"}
    runs = requests.post(
        f"{shared.address}/api/2.0/mlflow/runs/search", json=query, auth=shared.login, timeout=60
    ).json()["runs"]
    assert [run["info"]["run_id"] for run in runs] == [run_id]


def test_a_training_on_two_machines_at_once_has_a_run_on_each_at_most(
    shared: Shared, tmp_path: Path
) -> None:
    # The lock is a workspace's; MLflow itself lets two create a run with the same tag.
    for run_id in together(shared, tmp_path, ["same", "same"]):
        assert points(shared, run_id) == EVERY


def test_no_log_holds_a_password(shared: Shared) -> None:
    for path in shared.logs:
        text = path.read_bytes()
        assert text, path
        for name, password in shared.passwords.items():
            assert password.encode() not in text, f"{path}: the password of the {name}"
