"""Measure the challenger in models/ and the champion, and let the gate decide between them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcgan.config import reading, sections, trained
from pipeline import children, cli

if TYPE_CHECKING:
    from dcgan.promotion.gate import Decision
    from dcgan.promotion.versions import Version

MODELS, PREPARED, RESULTS = Path("models"), Path("data/prepared"), Path("results/gate")
METRICS = Path("results/evaluate/metrics.json")
GENERATOR, PROBE = MODELS / "generator.safetensors", Path("results/probe/metrics.json")
PICTURE = RESULTS / "samples.png"


class Params(sections.Section):
    """The keys of params.yaml that this command reads."""

    seed: sections.Seed
    dataset: sections.Dataset
    evaluate: sections.Evaluate
    gate: sections.Gate
    training: sections.OnDevice


def main(
    dataset: Annotated[
        str | None, typer.Option(help="Whose champion: NAME of dcgan-NAME. Default: dataset.title.")
    ] = None,
    limits_only: Annotated[
        bool, typer.Option("--limits-only", metavar="", help="Replace one that cannot be compared.")
    ] = False,
    other_data: Annotated[
        bool, typer.Option("--other-data", metavar="", help="Replace one that learnt other images.")
    ] = False,
) -> None:
    """Promote models/, refuse it, or say that one cannot tell (exit 0, 4, 7).

    Example: python -m pipeline promote.
    """
    params = reading.load(Params)
    from dcgan import data, errors, files
    from dcgan.promotion import registry, trial
    from dcgan.raw import catalog
    from dcgan.reports import gate_report, model_card
    from dcgan.tracking import runs

    name = dataset or catalog.title(params.dataset)
    training, challenger = trained.read(), trial.described(GENERATOR)
    # Asked before the measuring, so that no work is lost if the store is down.
    champion = registry.alias(name, "champion")
    record = trial.record(name, params.gate, training, challenger, champion)
    manifest = data.read_manifest(PREPARED)
    decision = trial.without_measuring(name, champion, challenger["sha256"])
    if decision is None and not other_data:
        decision = trial.of_other_data(champion, manifest["sketch"])
    decision = decision or measure(params, None if limits_only else champion, record)
    record |= vars(decision)
    write(record)
    outcome, reason, key = decision.outcome, decision.reasons[0], training["fingerprint"]
    with runs.open_run(key, dataset=training["dataset"], tags={"gate": outcome}) as run:
        run.log_folder(RESULTS, "gate")
    failures = {"refused": errors.Refused, "cannot tell": errors.CannotTell}
    if outcome in failures:
        raise failures[outcome](f"promote: {outcome}. {reason} {RESULTS}/gate.md says more")
    if children.has_remote() and (code := children.run("dvc", "push")):
        raise errors.EnvironmentProblem(
            f"promote: dvc push ended with {code}: nothing is registered; run promote again"
        )
    card = model_card.write(training, manifest, files.read_metrics(METRICS))
    description = gate_report.of_version(record)
    version = trial.register(record, training, MODELS, card, description, manifest["sketch"])
    expected = champion.number if champion else None
    registry.set_alias(name, "champion", version.number, reason, expected=expected)
    write({**record, "version": version.number})
    print(f"promote: {version.name} version {version.number} is the champion. {reason}")


def measure(params: Params, champion: "Version | None", record: dict[str, Any]) -> "Decision":
    """Measure both together; add the protocol to the record, and draw the picture."""
    from dcgan.networks import devices
    from dcgan.promotion import trial
    from dcgan.reports import gate_report

    device = devices.opened(params.training.device)
    both = trial.Trial.open(
        Path("results/reference"), params.seed, params.evaluate.num_samples, device
    )
    record["protocol"] = both.protocol()
    decision, images = both.decide(champion, GENERATOR, PROBE, params.gate, say)
    gate_report.save_picture(PICTURE, images)
    return decision


def say(line: str) -> None:
    """Print what is being done: measuring takes a minute for each of the two."""
    print(f"promote: {line}", flush=True)


def write(record: dict[str, Any]) -> None:
    """Write gate.json, and the same for people."""
    from dcgan import files
    from dcgan.reports import gate_report

    files.write_json(RESULTS / "gate.json", record)
    picture = PICTURE.name if PICTURE.is_file() else None
    files.write_text(RESULTS / "gate.md", gate_report.markdown(record, picture))


if __name__ == "__main__":
    cli.run(main)
