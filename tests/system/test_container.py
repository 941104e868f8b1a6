"""The Dockerfile carried out without Docker: its steps in a chroot, then its entry point.

debootstrap makes the chroot; the entry point is process 1. Docker would do it otherwise: here the
base image is Debian's bookworm with a copy of the Python that runs the tests, at /usr/local; the
build stage's own commands install one small package of the lock; and in place of the six gigabytes
of the whole lock, the packages that the tests run with are mounted, read only.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import dockerfile
from tests.support.imports import ROOT
from tests.support.params import small
from tests.support.repository import Repository

BUILD, FINAL = dockerfile.stages()
ENVIRONMENT = dockerfile.environment(FINAL)
UID, GID = map(int, dockerfile.values(FINAL, "USER")[0].value.split(":"))
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
# What Debian's smallest system lacks and the python image has.
LIBRARIES = (
    "ca-certificates,libsqlite3-0,libffi8,libbz2-1.0,liblzma5,libreadline8,libssl3,zlib1g,"
    "libncursesw6,libgdbm6,libuuid1"
)
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "true"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mounts need root"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="apt-get install debootstrap"),
    pytest.mark.skipif(subprocess.run(UNSHARE, check=False).returncode != 0,
                       reason="this machine allows no new namespaces"),
    pytest.mark.skipif(sys.base_prefix == "/usr", reason="Debian's own Python cannot be copied"),
]  # fmt: skip


class Image:
    """A root folder in which the steps have run."""

    # How the build stage ended when the lock's hashes were wrong.
    with_wrong_hashes: "subprocess.CompletedProcess[str]"

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(
        self, *command: str, environment: dict[str, str], user: str = "", mounts: str = ""
    ) -> list[str]:
        """A command as process 1, in namespaces of its own.

        As root, or as a user, for whom the root folder is read-only.
        """
        root = self.root
        script = f"set -e; mount --bind {root} {root}; mount --rbind /dev {root}/dev\n"
        script += f"mount -t proc proc {root}/proc\n{mounts}\n"
        if user:
            # As `docker run --read-only --tmpfs /tmp` has it.
            script += f"mount -o remount,bind,ro {root}\n"
            script += f"mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmp {root}/tmp\n"
        words = ["--userspec", user, "--groups", ""] if user else []
        words += [
            str(root),
            "env",
            "-i",
            *(f"{key}={value}" for key, value in environment.items()),
            *command,
        ]
        return [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "-c",
            f'{script}exec chroot "$@"',
            "-",
            *words,
        ]

    def build(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command of the build, as root."""
        environment = {"PATH": SYSTEM_PATH, "HOME": "/root"}
        return subprocess.run(
            self.command(*command, environment=environment),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    root = folder / "root"
    command = ["debootstrap", "--variant=minbase", f"--include={LIBRARIES}", "bookworm", root]
    subprocess.run(command, check=True, capture_output=True)
    copy_python(root / "usr/local")
    # How this machine reaches the registries.
    for path in ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if Path(path).is_file():
            shutil.copy(path, root / path[1:])
    image = Image(root)
    assert image.build("ldconfig").returncode == 0
    (build,) = dockerfile.values(BUILD, "RUN")
    lock = one_package("filelock")
    (root / "tmp/requirements.lock").write_text(re.sub("sha256:.{8}", "sha256:00000000", lock))
    image.with_wrong_hashes = image.build("sh", "-c", build.value)
    (root / "tmp/requirements.lock").write_text(lock)
    for line in [build, *FINAL]:
        if line.name == "RUN":
            done = image.build("sh", "-c", line.value)
            assert done.returncode == 0, done.stdout + done.stderr
        elif line.name == "COPY" and not line.value.startswith("--from"):
            source, target = line.words
            shutil.copy(ROOT / source, root / target[1:])
        elif line.name == "WORKDIR":
            (root / line.value[1:]).mkdir()
    script = Path(sysconfig.get_path("scripts"), "dvc").read_text()
    (root / "opt/venv/bin/dvc").write_text(re.sub("^#!.*", "#!/opt/venv/bin/python", script))
    (root / "opt/venv/bin/dvc").chmod(0o755)
    yield image
    shutil.rmtree(root)


def copy_python(target: Path) -> None:
    """The interpreter of the tests with its library and pip, as the python image has them."""
    base = Path(sys.base_prefix)

    def ignore(folder: str, names: list[str]) -> set[str]:
        if folder.endswith("site-packages"):
            return {
                name
                for name in names
                if re.split("[-_]", name)[0] not in ("pip", "setuptools", "wheel", "pkg")
            }
        if folder == str(base / "bin"):
            return {name for name in names if not name.startswith(("python", "pip"))}
        return {"test", "__pycache__"} & set(names)

    for name in ("bin", "lib", "include"):
        shutil.copytree(
            base / name, target / name, symlinks=True, dirs_exist_ok=True, ignore=ignore
        )


def one_package(name: str) -> str:
    """A package's lines of the lock."""
    lock = (ROOT / "requirements.lock").read_text()
    start = lock.index(f"\n{name}==") + 1
    return lock[start : lock.index("\n    #", start) + 1]


@pytest.fixture
def repository(tmp_path, image) -> Repository:
    """The small project in the folder that the container mounts; it trains for some seconds."""
    data = {
        "dataset.source": None,
        "dataset.name": "fake",
        "dataset.max_images": 700,
        "dataset.test_size": 200,
    }
    repo = Repository(tmp_path / "work", tmp_path, **small(epochs=20, **data))
    give(repo.folder, UID, GID)
    return repo


def give(folder: Path, uid: int, gid: int) -> None:
    """Make a folder and all that is in it another user's."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, uid, gid, follow_symlinks=False)


def start(
    image: Image, repo: Repository, *command: str, user: str = f"{UID}:{GID}"
) -> "subprocess.Popen[str]":
    """In place of `docker run`: the entry point as process 1.

    It has the image's user and environment, and nothing else.
    """
    packages = sysconfig.get_path("purelib")
    mounts = f"""
        mount --bind {repo.folder} {image.root}/work
        mount -o bind,ro {packages} {image.root}/opt/venv/lib/python3.11/site-packages
    """
    path = ENVIRONMENT["PATH"].replace("$PATH", SYSTEM_PATH)
    words = [*dockerfile.values(FINAL, "ENTRYPOINT")[0].words, *command]
    work = dockerfile.values(FINAL, "WORKDIR")[0].value
    return subprocess.Popen(
        image.command("sh", "-c", f'cd {work} && exec "$@"', "-", *words, user=user, mounts=mounts,
                      environment={**ENVIRONMENT, "PATH": path, "OMP_NUM_THREADS": "1"}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(process: "subprocess.Popen[str]") -> str:
    """The output of a container that has ended well."""
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    return output


def test_the_build_stages_environment_has_the_locked_package_and_no_pip(image):
    packages = image.root / "opt/venv/lib/python3.11/site-packages"
    assert (packages / "filelock/__init__.py").is_file()
    assert not list(packages.glob("pip*")) and not list(packages.glob("setuptools*"))


@pytest.mark.holds("R-100")
def test_a_lock_with_wrong_hashes_is_not_installed(image):
    assert image.with_wrong_hashes.returncode != 0
    assert "DO NOT MATCH THE HASHES" in image.with_wrong_hashes.stderr


def test_no_build_tool_is_left(image, repository):
    script = (
        "import shutil, sys; "
        f"print([name for name in sys.argv[1:] if shutil.which(name, path={SYSTEM_PATH!r})])"
    )
    tools = ("pip", "pip3", "wheel", "gcc", "cc", "make", "ld", "curl", "wget")
    assert (
        ended(start(image, repository, "python", "-c", script, *tools, "git")).strip() == "['git']"
    )


@pytest.mark.holds("R-103")
def test_only_the_volume_and_tmp_can_be_written(image, repository):
    script = """
import os
for path in ("/", "/etc", "/usr/local/bin", "/opt/venv", "/var/tmp", "/work", "/tmp"):
    try:
        open(os.path.join(path, "written"), "w").close()
        print(path)
    except OSError as error:
        assert error.strerror == "Read-only file system", (path, error)
print(os.getuid(), os.getgid(), open("/proc/1/comm").read().strip())
"""
    assert ended(start(image, repository, "python", "-c", script)).splitlines() == [
        "/work",
        "/tmp",
        f"{UID} {GID} tini",
    ]


@pytest.mark.holds("R-25")
def test_sigterm_ends_the_container_with_143_and_a_checkpoint_and_the_same_command_goes_on(
    image, repository
):
    scratch = repository.folder / ".scratch/train"
    process = start(image, repository, "dvc", "repro", "train")
    while not list(scratch.glob("*/state-*[1-9]*.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    # To process 1 alone, as docker stop does.
    one = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    os.kill(one, signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143, output
    (step,) = re.findall(
        r"error: stopped after step (\d+) of 360; run the same command again to go on\n", output
    )
    assert list(scratch.glob(f"*/state-{int(step):09d}.json"))
    assert not (repository.folder / "models/checkpoints").exists()
    # The next one runs as whoever owns the repository, a user without a name in the image.
    give(repository.folder, 23456, 23456)
    assert f"going on after {step} steps" in ended(
        start(image, repository, "dvc", "repro", "train", user="23456:23456")
    )
    assert (repository.folder / "models/checkpoints/epoch-0020").is_dir()
    assert (repository.folder / "dvc.lock").stat().st_uid == 23456
