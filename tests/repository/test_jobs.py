"""The job files of jobs/: Slurm's script with stubs in place of its commands, and the manifests."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.imports import ROOT

SCRIPT = ROOT / "jobs/slurm.sh"
KUBERNETES = ROOT / "jobs/kubernetes"
RETRIED, HOPELESS = {130, 143}, {2, 3, 4, 5}

# Runs the step's command in a session of its own and hands SIGTERM on, as srun does.
SRUN = """#!/bin/bash
echo "$@" >> srun.log
shift
setsid "$@" &
step=$!
trap 'kill -TERM "$step"' TERM
while :; do wait "$step"; status=$?; kill -0 "$step" 2>/dev/null || break; done
exit "$status"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then printf 'node7\\nnode8\\n'; else echo "$@" >> scontrol.log; fi
"""
# Ends as END says; `wait`: waits for a signal, and saves.
PYTHON = """#!/bin/bash
touch started
[ "$END" = wait ] || exit "$END"
trap 'sleep 0.3; touch saved; exit ${ENDS_WITH:-143}' TERM
while :; do sleep 0.05; done
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with stubs of Slurm's commands and of the programs that the script starts."""
    (tmp_path / "bin").mkdir()
    for name, text in {
        "srun": SRUN, "scontrol": SCONTROL, "python": PYTHON, "torchrun": PYTHON,
    }.items():  # fmt: skip
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def start(cluster: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    environment = {
        "PATH": f"{cluster / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "42",
        "SLURM_SUBMIT_DIR": str(cluster), "SLURM_JOB_NUM_NODES": "1", "END": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }  # fmt: skip
    return subprocess.Popen(
        ["bash", SCRIPT, *arguments], cwd=cluster, env=environment | variables,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def log(cluster: Path, name: str) -> str:
    file = cluster / f"{name}.log"
    return file.read_text().strip() if file.is_file() else ""


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 6, 130, 143])
def test_what_goes_back_into_the_queue_is_what_another_try_can_mend(cluster, code):
    job = start(cluster, END=str(code))
    job.communicate(timeout=20)
    assert job.returncode == code
    assert log(cluster, "scontrol") == ("requeue 42" if code in RETRIED | {6} else "")
    assert log(cluster, "srun") == "--kill-on-bad-exit=1 python -m pipeline repro"


@pytest.mark.parametrize(
    ("code", "restarts", "again"), [(6, 2, True), (6, 3, False), (143, 3, True), (143, 100, False)]
)
def test_the_number_of_tries_is_limited(cluster, code, restarts, again):
    job = start(cluster, END=str(code), SLURM_RESTART_COUNT=str(restarts))
    job.communicate(timeout=20)
    assert bool(log(cluster, "scontrol")) == again


def test_a_signal_reaches_the_step_which_saves_before_the_script_ends(cluster):
    job = start(cluster, END="wait")
    wait_for(cluster / "started")
    time.sleep(0.3)  # the stub sets its trap
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=20)
    assert job.returncode == 143, said
    assert (cluster / "saved").exists()
    assert log(cluster, "scontrol") == "requeue 42"


def test_several_nodes_meet_at_the_first_under_an_id_of_this_start(cluster):
    job = start(
        cluster, END="wait", ENDS_WITH="1", SLURM_JOB_NUM_NODES="2", SLURM_RESTART_COUNT="3",
        SLURM_JOB_NODELIST="node[7-8]", SLURM_GPUS_ON_NODE="4",
    )  # fmt: skip
    wait_for(cluster / "started")
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=20)
    assert job.returncode == 143  # torchrun said 1
    assert log(cluster, "scontrol") == "requeue 42"
    assert log(cluster, "srun") == (
        "--kill-on-bad-exit=1 torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 0"
        " --rdzv-backend c10d --rdzv-id 42.3 --rdzv-endpoint node7:20042 -m pipeline.train"
    )


def test_a_task_of_an_array_runs_its_cell_in_a_clone_of_its_own_and_requeues_itself_alone(cluster):
    for command in (
        ("git", "init", "--quiet"),
        ("git", "remote", "add", "origin", "git@example.org:x.git"),
        ("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty"),
    ):
        subprocess.run(command, cwd=cluster, check=True)
    job = start(
        cluster, "-S", "lr=1e-3,3e-3", "--git-remote", "origin", END="143",
        SLURM_ARRAY_JOB_ID="40", SLURM_ARRAY_TASK_ID="1",
    )  # fmt: skip
    said, _ = job.communicate(timeout=20)
    assert log(cluster, "scontrol") == "" and "restart 1" in said
    clone = cluster / ".scratch/cells/1"
    assert log(clone, "scontrol") == "requeue 40_1"
    assert log(clone, "srun") == (
        "--kill-on-bad-exit=1 python -m pipeline sweep run 1 -S lr=1e-3,3e-3 --git-remote origin"
    )
    url = subprocess.run(
        ["git", "remote", "get-url", "origin"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )
    assert url.stdout == "git@example.org:x.git\n"


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


def jobs() -> dict[str, dict[str, Any]]:
    """Each manifest's Job; of the JobSet, whose schema Kubernetes does not have, the Job in it."""
    (job_set,) = manifests("several-machines.yaml")
    (inner,) = job_set["spec"]["replicatedJobs"]
    return {
        "training": manifests("training.yaml")[1],
        "sweep": manifests("sweep.yaml")[0],
        "several machines": {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": job_set["metadata"],
            "spec": inner["template"]["spec"],
        },
    }  # fmt: skip


@pytest.mark.parametrize("manifest", [*jobs().values(), manifests("training.yaml")[0]])
def test_manifests_are_what_kubernetes_accepts(manifest):
    kubernetes_validate.validate(manifest, "1.33", strict=True)


@pytest.mark.parametrize("name", jobs())
def test_a_pod_has_time_to_save_and_never_another_beside_it(name):
    spec = jobs()[name]["spec"]
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never" and spec["podReplacementPolicy"] == "Failed"
    assert pod["terminationGracePeriodSeconds"] == 120
    assert "activeDeadlineSeconds" not in spec  # it kills without mercy
    (container,) = pod["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert {"OMP_NUM_THREADS"} <= {variable["name"] for variable in container["env"]}
    assert "/dev/shm" in {mount["mountPath"] for mount in container["volumeMounts"]}
    first = spec["podFailurePolicy"]["rules"][0]
    assert first["onPodConditions"][0]["type"] == "DisruptionTarget"


@pytest.mark.parametrize("name", ["training", "sweep"])
def test_exit_codes_decide_as_on_slurm(name):
    rules = jobs()[name]["spec"]["podFailurePolicy"]["rules"]
    ignored, failed = (set(rule["onExitCodes"]["values"]) for rule in rules[1:])
    assert (ignored, failed) == (RETRIED, HOPELESS)
    assert [rule["action"] for rule in rules][:2] == ["Ignore", "Ignore"]
    for rule in rules[1:]:
        assert rule["onExitCodes"]["containerName"] == "pipeline"


def test_skypilots_file_tries_again_on_the_same_exit_codes():
    job = yaml.safe_load((ROOT / "jobs/skypilot.yaml").read_text())
    assert set(job["resources"]["job_recovery"]["recover_on_exit_codes"]) == RETRIED | {6}
