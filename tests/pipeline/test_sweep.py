import subprocess
from pathlib import Path

import pytest

from tests.support.idx_source import write_idx_source
from tests.support.params import small
from tests.support.repository import Repository, ran

pytestmark = pytest.mark.timeout(300)
GRID = ("-S", "seed=1,2", "-S", "dataset.max_images=20,30")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A clone with a git remote and a DVC remote that other clones see too."""
    folder = tmp_path_factory.mktemp("sweep")
    write_idx_source(folder / "source", num_train=40, num_test=20)
    made = Repository(folder / "one", folder / "source", **small(**{"dataset.validation_size": 20}))
    made.run("git", "init", "--quiet", "--bare", str(folder / "remote.git"))
    made.run("git", "remote", "add", "origin", str(folder / "remote.git"))
    made.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    made.run("git", "commit", "--quiet", "--all", "--message", "a remote")
    made.run("git", "push", "--quiet", "origin", "HEAD:main")
    return made


def sweep(repo: Repository, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return repo.run("python", "-m", "pipeline", "sweep", *arguments, check=check)


def test_cells_are_all_combinations_and_the_last_key_changes_fastest(repo):
    listed = [line.split() for line in sweep(repo, "list", *GRID).stdout.splitlines()]
    assert [number for number, _ in listed] == ["0", "1", "2", "3"]
    assert [name.rpartition("-")[0] for _, name in listed] == [
        f"sweep-seed{seed}-max_images{count}" for seed in (1, 2) for count in (20, 30)
    ]
    assert len({name for _, name in listed}) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "4", *GRID), "sweep: K = 4: the grid has the cells 0 to 3"),
        (("list", "-S", "seed"), "expected KEY=VALUE,VALUE,..."),
        (("list", "-S", "sede=1,2"), "sede"),
        (("list", "-S", "lr=1,fast"), "lr"),
    ],
)
def test_a_wrong_grid_is_refused_in_one_line(repo, arguments, said):
    refused = sweep(repo, *arguments, check=False)
    assert refused.returncode == 2
    assert said in refused.stderr and "Traceback" not in refused.stderr


def test_a_cell_is_run_once_by_any_of_two_clones_and_both_see_its_figures(repo, tmp_path):
    options = (*GRID, "--git-remote", "origin", "--target", "download")
    first = sweep(repo, "run", "1", *options)
    assert ran(first.stdout) == ["download"]
    # Here, and in another clone, which has nothing but the remotes: nothing is run again.
    other = Repository.__new__(Repository)
    other.folder, other.env = tmp_path / "two", repo.env
    url = str(Path(repo.folder).parent / "remote.git")
    repo.run("git", "clone", "--quiet", "--branch", "main", url, str(other.folder))
    for each in (repo, other):
        again = sweep(each, "run", "1", *options)
        assert "is on origin already" in again.stdout and not ran(again.stdout)
    (name,) = other.run("dvc", "exp", "list", "--name-only", "origin").stdout.split()
    assert name.startswith("sweep-seed1-max_images30")


@pytest.mark.slow
def test_what_was_run_but_not_pushed_is_pushed_and_not_run_again(repo):
    options = (*GRID, "--target", "download")
    assert "-m pipeline run" in sweep(repo, "run", "2", *options).stdout
    again = sweep(repo, "run", "2", *options, "--git-remote", "origin")
    assert "-m pipeline run" not in again.stdout and "dvc exp push" in again.stdout
    assert "seed2-max_images20" in repo.run("dvc", "exp", "list", "--name-only", "origin").stdout


def test_show_says_which_cells_are_not_there(repo):
    shown = sweep(repo, "show", "-S", "seed=7,8", "--git-remote", "origin").stdout
    assert shown.count("not there") == 2
