"""promote and rollback: real registry and extractor, untrained generators of different quality."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcgan import errors, files
from dcgan.config import reading, sections
from dcgan.judging import evaluation
from dcgan.judging.reference import Reference
from dcgan.networks import exports
from dcgan.promotion import registry
from dcgan.promotion.registry import Move
from dcgan.reports import gate_report
from dcgan.tracking import store
from dcgan.training import fresh
from pipeline import children, promote, reference, rollback
from tests.support.repository import Repository
from tests.support.untrained import ABOUT, METRICS, SMALL, write_data


def write_generator(folder: Path, seed: int, **changes: object) -> None:
    torch.manual_seed(seed)
    params = reading.load(sections.AllParams).generator.model_copy(update=changes)
    generator = fresh.generator(params, 1)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(seed + 1)  # so that they differ in more than the seed
    exports.export(folder / "generator.safetensors", generator, {"epoch": 1, "weights": "raw"})


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> Repository:
    repo = Repository(tmp_path_factory.mktemp("repo"), tmp_path_factory.mktemp("source"), **SMALL)
    write_data(repo)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repo.folder)
        reference.main()
        for seed in range(4):
            write_generator(repo.folder / f"candidates/{seed}", seed)
        discriminator = fresh.discriminator(reading.load(sections.AllParams).discriminator, 1, 28)
        exports.export(
            Path("models/discriminator.safetensors"), discriminator, {"epoch": 1, "weights": "raw"}
        )
        opened = Reference.open(Path("results/reference"), 0)
        judge, test = evaluation.Judge(opened.extractor, 60, 0), opened.real("test")
        fids = {}
        for path in Path("candidates").iterdir():
            generator, _ = exports.load_generator(path / "generator.safetensors")
            fids[path] = test.basic_figures(judge.draw(generator, "x")[1])["fid"]
    for rank, path in enumerate(sorted(fids, key=fids.get)):
        shutil.move(repo.folder / path, repo.folder / "ranked" / str(rank))
    return repo


@pytest.fixture(autouse=True)
def here(repo, monkeypatch, request):
    """In the repository, all but the registry as at the start; each test has its own model."""
    monkeypatch.chdir(repo.folder)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    files.write_json(Path("results/train/run.json"), ABOUT)
    files.write_json(Path("results/evaluate/metrics.json"), METRICS)
    files.write_json(Path("results/probe/metrics.json"), {"discriminator": {"test_accuracy": 0.9}})
    shutil.rmtree("results/gate", ignore_errors=True)
    kept = {
        path: path.read_bytes()
        for path in [Path("params.yaml"), *Path("results/reference").rglob("*.*")]
    }
    yield
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.fixture
def name(request) -> str:
    return request.node.name.replace("[", "-").replace("]", "")[:100]


def challenge(rank: int) -> None:
    """Put a generator into models/: 0 is the best, 3 the worst."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(f"ranked/{rank}/generator{suffix}", f"models/generator{suffix}")


def run(name: str, rank: int | None = None, **options: bool) -> int:
    """The exit code of promote."""
    if rank is not None:
        challenge(rank)
    try:
        promote.main(dataset=name, **options)
    except errors.UserError as error:
        assert "\n" not in str(error)
        return error.exit_code
    return 0


def gate() -> dict:
    return json.loads(Path("results/gate/gate.json").read_text())


def champion(name: str) -> int | None:
    version = registry.alias(name, "champion")
    return version.number if version else None


def numbers(name: str) -> list[int]:
    return sorted(version.number for version in registry.all_versions(name))


def test_the_first_challenger_is_promoted_by_the_floors_and_can_be_fetched(name, tmp_path):
    assert run(name, 2) == 0
    record = gate()
    assert (record["outcome"], record["version"], record["champion"]) == ("promoted", 1, None)
    assert champion(name) == 1
    version = registry.alias(name, "champion")
    assert (
        version.tags["generator_sha256"]
        == record["challenger"]["sha256"]
        == files.sha256(Path("models/generator.safetensors"))
    )
    # What people read on the pages of the version and of the model.
    client = store.connect()
    page = client.get_model_version(f"dcgan-{name}", "1").description
    assert page.startswith(f"Epoch {record['challenger']['epoch']}, ")
    assert page == gate_report.of_version(record)
    about = client.get_registered_model(f"dcgan-{name}").description
    assert f"--model models:/dcgan-{name}@champion" in about
    fetched = registry.fetch(f"models:/dcgan-{name}@champion", tmp_path / "model")
    assert (
        files.sha256(fetched / "artifacts/generator.safetensors") == record["challenger"]["sha256"]
    )
    text = Path("results/gate/gate.md").read_text()
    assert (
        "| kid | " in text and "None" not in text and "nan" not in text
    )  # of floors that are switched off
    assert (
        "promoted" in text
        and "no champion" in text
        and "samples.png" in text
        and "seed 999" in text
    )
    card = (fetched / "README.md").read_text()
    assert "# dcgan-fashion_mnist" in card and "| fid | 1.00 ± 0.10 | 0.1 | 9 |" in card
    assert {"fid", "kid", "recall", "smallest_class_share", "probe", "memorisation"} <= set(
        record["numbers"]["challenger"]
    )
    assert Path("results/gate/samples.png").is_file()


def test_a_better_one_is_promoted_and_a_worse_one_is_refused(name):
    assert [run(name, 2), run(name, 3)] == [0, 4]
    assert (champion(name), numbers(name)) == (1, [1])
    assert gate()["outcome"] == "refused" and "higher by" in gate()["reasons"][0]
    assert run(name, 0) == 0
    assert (champion(name), numbers(name), gate()["version"]) == (2, [1, 2], 2)
    moves = registry.history(name)
    assert [(move.version, move.before) for move in moves] == [(2, 1), (1, None)]
    assert "lower by" in moves[0].reason


def test_one_within_the_margin_leaves_the_registry_as_it_was(name, repo):
    assert run(name, 2) == 0
    repo.set(**{"gate.absolute": 1e6})
    assert run(name, 0) == 7
    assert (champion(name), numbers(name), gate()["outcome"]) == (1, [1], "cannot tell")


def test_the_card_says_what_the_model_was_trained_with_and_not_what_params_say_today(
    name, repo, tmp_path
):
    repo.set(lr=0.5)
    assert run(name, 2) == 0
    fetched = registry.fetch(f"models:/dcgan-{name}@champion", tmp_path / "model")
    card = (fetched / "README.md").read_text()
    assert "lr: 0.0123" in card and "0.5" not in card.partition("## Training")[2]


def test_a_training_that_noted_no_settings_is_refused_before_the_work(name, monkeypatch):
    files.write_json(
        Path("results/train/run.json"), {k: v for k, v in ABOUT.items() if k != "settings"}
    )
    monkeypatch.setattr(promote, "measure", None)
    assert run(name, 2) == 3
    assert not Path("results/gate").exists()


def test_both_are_measured_on_the_same_latent_vectors(name):
    # The worse one is measured twice, as the challenger and then as the champion: the same figures,
    # draw for draw.
    assert run(name, 2) == 0
    before = gate()["numbers"]["challenger"]
    assert run(name, 0) == 0
    again = gate()["numbers"]["champion"]
    assert {key: value for key, value in before.items() if key != "probe"} == again


def test_the_champion_itself_is_no_challenger(name, monkeypatch):
    assert run(name, 2) == 0
    monkeypatch.setattr(promote, "measure", None)  # it is not measured
    assert run(name) == 7
    assert (champion(name), numbers(name)) == (1, [1])
    assert "is the champion, version 1" in gate()["reasons"][0]


@pytest.mark.parametrize("bad", ["not a number", "missing", "no file"])
def test_a_probe_without_a_figure_refuses(name, bad):
    path = Path("results/probe/metrics.json")
    path.write_text(
        json.dumps({"discriminator": {"test_accuracy": math.nan} if bad == "not a number" else {}})
    )
    if bad == "no file":
        path.unlink()
    assert run(name, 0) == 4
    assert (champion(name), numbers(name)) == (None, [])
    assert "probe accuracy" in gate()["reasons"][0]


@pytest.mark.holds("R-46")
@pytest.mark.parametrize("bad", ["NaN", "damaged"])
def test_a_generator_that_cannot_be_measured_is_refused_and_the_champion_stays(name, bad):
    assert run(name, 2) == 0
    challenge(0)
    path = Path("models/generator.safetensors")
    tensors, description = files.read_tensors(path)
    if bad == "NaN":
        # By name: safetensors gives the tensors in any order, and some of them count batches.
        tensors["layers.0.weight"].view(-1)[0] = math.nan
        files.write_tensors(
            path, tensors, {key: value for key, value in description.items() if key != "sha256"}
        )
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert run(name) == 4
    assert (champion(name), numbers(name)) == (1, [1])
    assert gate()["reasons"][0].startswith(
        "The challenger cannot be measured: models/generator.safetensors"
    )


@pytest.mark.parametrize("lacking", ["sha256", "epoch", "weights", None])
def test_a_description_that_names_no_weights_is_refused_in_a_line(name, lacking, capsys):
    challenge(0)
    path = Path("models/generator.json")
    bad = (
        [] if lacking is None else {k: v for k, v in files.read_json(path).items() if k != lacking}
    )
    files.write_json(path, bad)
    with pytest.raises(
        errors.DataError, match=f"generator.json: has no {lacking or 'sha256'}: run"
    ):
        promote.main(name)


def test_without_exports_there_is_nothing_to_judge(name):
    challenge(0)
    Path("models/generator.json").unlink()
    assert run(name) == 5


def test_a_figure_that_data_without_labels_do_not_have_is_not_asked_for(name, repo):
    repo.set(**{"gate.min_class_share": 0.02})
    prepared, before = Path("data/prepared"), Path("before")
    shutil.copytree(prepared, before)
    shutil.copytree("results/reference", "reference")
    write_data(repo, classes=False)
    reference.main()
    files.write_json(Path("results/probe/metrics.json"), {"skipped": "no labels: nothing to probe"})
    assert run(name, 0) == 0
    for folder, kept in ((prepared, before), (Path("results/reference"), Path("reference"))):
        shutil.rmtree(folder)
        shutil.move(kept, folder)
    verdicts = {floor["figure"]: floor["verdict"] for floor in gate()["numbers"]["floors"]}
    assert verdicts["probe"] == verdicts["smallest_class_share"] == "not asked"
    assert any("no labels" in reason for reason in gate()["reasons"])


def test_under_another_extractor_the_champion_is_measured_anew(name, repo):
    assert run(name, 2) == 0
    before = gate()
    repo.set(seed=5)
    reference.main()
    assert run(name, 0) == 0
    after = gate()
    assert before["protocol"]["extractor_sha256"] != after["protocol"]["extractor_sha256"]
    assert before["numbers"]["challenger"]["fid"] != after["numbers"]["champion"]["fid"]


def test_a_champion_with_images_of_another_shape_cannot_be_compared_until_somebody_says_so(name):
    assert run(name, 2) == 0
    other = Path("other")
    write_generator(other, 1, start_size=8)
    for suffix in (".safetensors", ".json"):
        shutil.copy(other / f"generator{suffix}", f"models/generator{suffix}")
    # The extractor takes images of any size, so that here the challenger is the odd one.
    assert run(name) == 7
    assert "28 x 28 x 1" in gate()["reasons"][0] and "32 x 32 x 1" in gate()["reasons"][0]
    assert champion(name) == 1
    assert run(name, limits_only=True) == 0
    assert champion(name) == 2


class Killed(BaseException):
    """The end, in the midst of it."""


@pytest.mark.parametrize(
    "step", ["write", "has_remote", "register", "registered", "set_alias", "aliased"]
)
def test_killed_between_any_two_effects_the_same_command_completes_it(name, step, monkeypatch):
    def killed(where: object, function: str, *, after: bool = False) -> None:
        real: Callable = getattr(where, function)

        def call(*args, **kwargs):
            if after:
                real(*args, **kwargs)
            raise Killed

        patch.setattr(where, function, call)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if step in ("write", "has_remote"):
            killed(promote if step == "write" else children, step)
        else:
            killed(
                registry,
                {"registered": "register", "aliased": "set_alias"}.get(step, step),
                after=step.endswith("ed"),
            )
        run(name, 0)
    assert champion(name) == (1 if step == "aliased" else None)
    # The alias is the last effect: there the work was done, and the same generator is no
    # challenger.
    assert run(name) == (7 if step == "aliased" else 0)
    assert (champion(name), numbers(name)) == (1, [1])


@pytest.mark.holds("R-79")
def test_of_two_jobs_at_once_one_wins_and_both_versions_stay(name, monkeypatch):
    assert run(name, 2) == 0
    real, order = children.has_remote, iter((0,))

    def meanwhile() -> bool:
        # The other job comes to its end between our decision and our registration.
        for rank in order:
            kept = {path: path.read_bytes() for path in Path("models").glob("generator.*")}
            assert run(name, rank) == 0
            for path, content in kept.items():
                path.write_bytes(content)
        return real()

    monkeypatch.setattr(children, "has_remote", meanwhile)
    challenge(1)
    with pytest.raises(
        errors.EnvironmentProblem,
        match=r"points at version 2, expected version 1: another process moved it",
    ) as caught:
        promote.main(dataset=name)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 6
    assert (champion(name), numbers(name)) == (2, [1, 2, 3])


def test_a_store_that_is_down_costs_no_measuring_and_changes_nothing(name, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(promote, "measure", None)
    assert run(name, 0) == 6
    assert not Path("results/gate").exists()


def test_rollback_goes_back_says_why_and_its_generator_is_not_promoted_again(name):
    assert [run(name, 3), run(name, 1), run(name, 0)] == [0, 0, 0]
    rollback.main("grey images", dataset=name)
    assert champion(name) == 2
    assert registry.history(name)[0].reason == "rolled back: grey images"
    # Better than the champion by its figures, and not wanted.
    assert run(name, 0) == 4
    assert "version 3, which was rolled back: grey images" in gate()["reasons"][0]
    rollback.main("still grey", dataset=name)
    assert champion(name) == 1
    with pytest.raises(errors.NoCheckpoint, match=r"version 1 of .* is the first champion"):
        rollback.main("again", dataset=name)
    rollback.main("they were meant to be grey", to=3, dataset=name)
    assert champion(name) == 3


def test_rollback_refuses_in_one_line_what_makes_no_sense(name):
    for message, kind, options in (
        ("has no champion", errors.NoCheckpoint, {"reason": "x"}),
        ("say why", errors.ConfigError, {"reason": " "}),
        ("is the champion already", errors.ConfigError, {"reason": "x", "to": 1}),
        ("9", errors.NoCheckpoint, {"reason": "x", "to": 9}),
    ):
        with pytest.raises(kind, match=message) as caught:
            rollback.main(dataset=name, **options)
        assert "\n" not in str(caught.value)
        if message == "has no champion":
            assert run(name, 2) == 0
    assert champion(name) == 1


def moves(*steps: tuple[int | None, int] | tuple[int | None, int, str]) -> list[Move]:
    """Moves from and to a version, oldest first here, newest first as the registry has them."""
    return [
        Move("champion", step[1], step[0], "why", str(at), step[2] if len(step) > 2 else "promoted")
        for at, step in enumerate(steps)
    ][::-1]


BACK = "rolled back"


def test_the_champion_before_is_found_in_any_history():
    for steps, current, expected in (
        ([(None, 1)], 1, None),
        ([(None, 1), (1, 2)], 2, 1),
        ([(None, 1), (1, 2), (2, 3), (3, 2, BACK)], 2, 1),  # not 3 again
        ([(None, 1), (1, 2), (2, 1, BACK)], 1, None),
        ([(None, 1), (1, 2), (2, 1, BACK), (1, 3)], 3, 1),  # not 2, which was rolled back
        ([(None, 1), (1, 2), (1, 2)], 2, 1),  # noted, killed, made
        ([(None, 1), (1, 2), (1, 3)], 3, 1),  # 2 was noted and not made
        ([(None, 1), (1, 2)], 1, None),  # the same, and nothing since
        ([(None, 1), (1, 2), (2, 1, BACK)], 2, 1),  # a rollback noted and not made
        ([(None, 1), (7, 2)], 2, 7),  # somebody moved it to 7 by hand
        ([(None, 1), (1, 2)], 7, 2),
        ([], 4, None),
        ([(None, 1), (1, 2), (2, 1), (1, 3)], 3, 1),
        ([(None, 1), (1, 2), (2, 1)], 1, 2),  # promoted back, as better than 2
    ):
        assert rollback.before(moves(*steps), current) == expected, (steps, current)
