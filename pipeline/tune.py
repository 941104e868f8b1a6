"""Search values of params.yaml with Optuna, for the lowest FID on validation.

Optuna proposes and remembers, in a sqlite file below .scratch; each trial is a DVC experiment, as a
cell of `sweep` is. A trial that is not among the better third at a ninth of the epochs, or at a
third of them, is not trained on (Li et al., "A System for Massively Parallel Hyperparameter
Tuning", 2020).
"""

import functools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from dcgan.errors import ConfigError, EnvironmentProblem
from pipeline import children, sweep, tables

if TYPE_CHECKING:
    import optuna

RESULTS = Path("results/tune")
FACTOR = 3  # of the epochs from rung to rung, and of the trials that stay
RUNGS = 3
DIVERGED = 4  # exit code
SPACE = re.compile(r"(log|uniform|int)\(([^,()]+),([^,()]+)\)")


class Axis(NamedTuple):
    """The values of one key."""

    key: str
    kind: str  # log, uniform, int or one_of
    values: tuple[Any, ...]  # of one_of all, else the lowest and the highest


def main(
    set_param: Annotated[
        list[str],
        typer.Option(
            "--set-param",
            "-S",
            help="KEY=log(LOW,HIGH), uniform(LOW,HIGH), int(LOW,HIGH) or VALUE,VALUE,...; repeat"
            " it.",
        ),
    ],
    trials: Annotated[int, typer.Option(min=1, help="How many in all, earlier ones too.")] = 30,
    name: Annotated[str, typer.Option(help="Of the search; the same one goes on.")] = "tune",
) -> None:
    """Search values of params.yaml for the lowest FID on validation, with Optuna.

    Example: python -m pipeline tune --trials 30 -S 'lr=log(1e-4,1e-2)' -S batch_size=32,64,128

    Each trial is a DVC experiment. The same command goes on after a kill. What is found is written
    to results/tune, and to one run in MLflow, the parent of the trials' runs.
    """
    if not re.fullmatch(r"[\w-]{1,40}", name):
        raise ConfigError(f"--name {name}: must be 1 to 40 letters, digits, _ or -")
    axes = [axis(pair) for pair in set_param]
    optuna = imported()
    from dcgan import files
    from dcgan.config import reading, sections
    from dcgan.raw import catalog

    params = reading.load(sections.AllParams)
    rungs = sorted({max(1, params.epochs // FACTOR**i) for i in range(RUNGS)})
    store = files.scratch("tune", f"{name}.db").absolute()
    store.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=name, storage=f"sqlite:///{store}", direction="minimize", load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR),
    )  # fmt: skip
    # Another seed as the search goes on: the same one would propose the first values again.
    study.sampler = optuna.samplers.TPESampler(seed=(params.seed + len(study.trials)) % 2**32)
    title = catalog.title(params.dataset)
    for trial in pending(study, trials):
        try_out(study, trial, axes, rungs, functools.partial(adopt, name, title))
        report(study, name, axes, title)
    show(study, axes)


def imported() -> Any:
    """Optuna, which no stage needs.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise EnvironmentProblem(
            "tune: needs optuna, which the stages do not: pip install optuna==5.0.0"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def axis(pair: str) -> Axis:
    """The values of `KEY=...`.

    Raises:
        ConfigError: it is none of the four forms, or its bounds are no rising numbers.
    """
    key, equals, text = pair.partition("=")
    if not equals or not text:
        raise ConfigError(f"-S {pair}: expected KEY=log(LOW,HIGH) or KEY=VALUE,VALUE,...")
    match = SPACE.fullmatch(text.replace(" ", ""))
    if match is None:
        if "(" in text:
            raise ConfigError(f"-S {pair}: expected log, uniform or int with (LOW,HIGH)")
        from dcgan.config import edits, keys

        (listed,) = keys.leaves(edits.overlay([f"{key}=[{text}]"])).values()
        return Axis(key, "one_of", tuple(listed))
    kind, *bounds = match.groups()
    try:
        low, high = (int(each) if kind == "int" else float(each) for each in bounds)
    except ValueError:
        raise ConfigError(f"-S {pair}: {bounds[0]} and {bounds[1]} must be numbers") from None
    if not low < high or (kind == "log" and low <= 0):
        raise ConfigError(f"-S {pair}: must rise" + (" from more than 0" if kind == "log" else ""))
    return Axis(key, kind, (low, high))


def pending(study: "optuna.Study", trials: int) -> "Iterator[optuna.Trial]":
    """The trials that a killed search has left, then new ones up to the number."""
    from optuna.trial import Trial, TrialState

    for left in study.get_trials(states=(TrialState.RUNNING,)):
        yield Trial(study, left._trial_id)
    while len(study.get_trials(deepcopy=False)) < trials:
        yield study.ask()


def try_out(
    study: "optuna.Study",
    trial: "optuna.Trial",
    axes: Sequence[Axis],
    rungs: Sequence[int],
    on_experiment: Callable[[], None],
) -> None:
    """Train a trial from rung to rung, and tell Optuna how it ended.

    `on_experiment` is called while the workspace holds the results of one that ended well.

    Raises:
        typer.Exit: an experiment failed otherwise than by diverging; the trial stays pending.
        ConfigError: the search had other values for a key.
    """
    from optuna.trial import TrialState

    try:
        values = {each.key: suggested(trial, each) for each in axes}
    except ValueError as error:
        raise ConfigError(
            f"tune: an earlier search of this name had other values ({error}): use another --name"
        ) from error
    seen = study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for i, epochs in enumerate(rungs):
        pairs = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        (cell,) = sweep.cells([*pairs, f"epochs={epochs}"], prefix="tune")
        said = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                         for key, value in values.items())  # fmt: skip
        if not sweep.here(cell):
            print(f"tune: trial {trial.number}: {said}, {epochs} epochs", flush=True)
            code = children.run(
                sys.executable, "-m", "pipeline", "run", "--name", cell.name, *cell.flags,
                "evaluate",
            )  # fmt: skip
            if code == DIVERGED:
                study.tell(trial, state=TrialState.FAIL)
                print(f"tune: trial {trial.number} diverged")
                return
            if code:
                raise typer.Exit(code)
            on_experiment()
        fid = float(sweep.figures(cell)["validation"]["fid"])
        print(f"tune: trial {trial.number}: {said}, {epochs} epochs: FID {fid:.2f}", flush=True)
        trial.set_user_attr("experiment", cell.name)
        step = FACTOR**i
        if step not in seen:
            trial.report(fid, step)
        if epochs != rungs[-1] and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, fid)


def suggested(trial: "optuna.Trial", axis: Axis) -> Any:
    """Optuna's value for a key; of a trial that goes on, the one that it has."""
    if axis.kind == "one_of":
        # As text, because Optuna keeps no lists.
        return json.loads(
            trial.suggest_categorical(axis.key, [json.dumps(value) for value in axis.values])
        )
    if axis.kind == "int":
        return trial.suggest_int(axis.key, *axis.values)
    return trial.suggest_float(axis.key, *axis.values, log=axis.kind == "log")


def adopt(name: str, dataset: str) -> None:
    """Make the search's run in MLflow the parent of the run of the training that has just ended."""
    from dcgan.config import trained
    from dcgan.tracking import runs

    with runs.open_run(f"tune-{name}", dataset=dataset, name=f"tune {name}") as parent:
        parent_id = parent.id
    training = trained.read()
    with runs.open_run(training["fingerprint"], dataset=training["dataset"]) as run:
        run.set_tags({"mlflow.parentRunId": parent_id})


def report(study: "optuna.Study", name: str, axes: Sequence[Axis], dataset: str) -> None:
    """Write the table and the picture, and log them in the search's own run."""
    from dcgan import files
    from dcgan.reports import search
    from dcgan.tracking import runs

    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            **values_of(trial, axes),
            "fid": last(trial),
            "experiment": trial.user_attrs.get("experiment"),
        }
        for trial in study.get_trials(deepcopy=False)
    ]
    rows = [row for row in rows if row["fid"] is not None]
    if not rows:
        return
    files.write_csv(RESULTS / f"{name}.csv", rows)
    search.draw(rows, [axis.key for axis in axes], RESULTS / f"{name}.png")
    with runs.open_run(f"tune-{name}", dataset=dataset, name=f"tune {name}") as run:
        run.log_params({axis.key: f"{axis.kind} {axis.values}" for axis in axes})
        run.log_rows({"step": row["trial"], "fid": row["fid"]} for row in rows)
        run.log_file(RESULTS / f"{name}.csv", "tune")
        run.log_file(RESULTS / f"{name}.png", "tune")


def values_of(trial: "optuna.trial.FrozenTrial", axes: Sequence[Axis]) -> dict[str, Any]:
    """What a trial has tried, by key."""
    return {
        axis.key: json.loads(value) if axis.kind == "one_of" else value
        for axis in axes
        if (value := trial.params.get(axis.key)) is not None
    }


def last(trial: "optuna.trial.FrozenTrial") -> float | None:
    """The FID of a trial's last rung."""
    steps = trial.intermediate_values
    return steps[max(steps)] if steps else None


def show(study: "optuna.Study", axes: Sequence[Axis]) -> None:
    """Print the best trials."""
    from optuna.trial import TrialState

    whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    table = tables.new("trial", "FID on validation", "values", "experiment")
    for trial in sorted(whole, key=lambda trial: trial.value or 0.0)[:5]:
        values = ", ".join(f"{key} {value}" for key, value in values_of(trial, axes).items())
        table.add_row(
            str(trial.number), f"{trial.value:.2f}", values, trial.user_attrs["experiment"]
        )
    tables.show(table)
    if whole:
        print(f"tune: dvc exp apply {study.best_trial.user_attrs['experiment']}")
