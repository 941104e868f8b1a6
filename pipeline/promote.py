"""Judge the challenger in models/ together with the champion, and promote it, refuse it, or say that one cannot tell."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcgan.config import reading, sections
from pipeline import children, cli

if TYPE_CHECKING:
    from dcgan.promotion.gate import Decision
    from dcgan.promotion.versions import Version

MODELS, PREPARED, REFERENCE, RESULTS = (
    Path("models"),
    Path("data/prepared"),
    Path("results/reference"),
    Path("results/gate"),
)
RUN = Path("results/train/run.json")
GENERATOR, PROBE = MODELS / "generator.safetensors", Path("results/probe/metrics.json")
PICTURE = RESULTS / "samples.png"


class Params(sections.Section):
    """The keys of params.yaml that this command reads."""

    seed: sections.Seed
    dataset: sections.Dataset
    evaluate: sections.Evaluate
    gate: sections.Gate


def main(
    dataset: Annotated[
        str | None, typer.Option(help="Whose champion: NAME of dcgan-NAME. Default: dataset.name.")
    ] = None,
    floors_only: Annotated[
        bool, typer.Option("--floors-only", help="Replace a champion that cannot be compared with.")
    ] = False,
) -> None:
    """Promote models/, refuse it, or say that one cannot tell (exit 0, 4, 7): python -m pipeline promote."""
    params = reading.load(Params)
    from dcgan import errors, files
    from dcgan.promotion import registry
    from dcgan.tracking import runs

    name = dataset or params.dataset.name
    about, challenger = files.read_json(RUN), described(GENERATOR)
    champion = registry.alias(
        name, "champion"
    )  # before the work, so that a store that is down costs none
    record: dict[str, Any] = {
        "dataset": name, "limits": params.gate.model_dump(), "protocol": None, "version": None,
        "champion": champion and {"version": champion.number, "generator_sha256": champion.tags.get("generator_sha256")},
        "challenger": {"fingerprint": about["fingerprint"], **{key: challenger[key] for key in ("sha256", "epoch", "weights")}},
    }  # fmt: skip
    decision = known(name, champion, challenger) or judge(
        params, None if floors_only else champion, record
    )
    record |= {
        "outcome": decision.outcome,
        "reasons": decision.reasons,
        "numbers": decision.numbers,
    }
    write(record)
    with runs.open_run(
        about["fingerprint"], dataset=about["dataset"], tags={"gate": decision.outcome}
    ) as run:
        run.log_folder(RESULTS, "gate")
    if decision.outcome == "refused":
        raise errors.Refused(f"promote: refused. {decision.reasons[0]} {RESULTS}/gate.md says more")
    if decision.outcome == "cannot tell":
        raise errors.CannotTell(
            f"promote: cannot tell. {decision.reasons[0]} {RESULTS}/gate.md says more"
        )
    if children.has_remote() and (code := children.run("dvc", "push")):
        raise errors.EnvironmentProblem(
            f"promote: dvc push ended with {code}: nothing is registered; run the same command again"
        )
    version = register(record)
    registry.set_alias(
        name,
        "champion",
        version.number,
        decision.reasons[0],
        expected=champion.number if champion else None,
    )
    write({**record, "version": version.number})
    print(
        f"promote: {version.name} version {version.number} is the champion. {decision.reasons[0]}"
    )


def described(generator: Path) -> dict[str, Any]:
    """The description beside an exported generator.

    Raises:
        NoCheckpoint: there is none.
    """
    from dcgan import errors, files

    if not generator.with_suffix(".json").is_file():
        raise errors.NoCheckpoint(
            f"{generator.with_suffix('.json')}: missing: run dvc repro, or dvc checkout"
        )
    about: dict[str, Any] = files.read_json(generator.with_suffix(".json"))
    return about


def known(
    dataset: str, champion: "Version | None", challenger: dict[str, Any]
) -> "Decision | None":
    """The decision on a generator that needs no judging: the champion itself, or one that a person has rolled back."""
    from dcgan.promotion import gate, registry
    from pipeline import rollback

    def same(version: "Version") -> bool:
        return version.tags.get("generator_sha256") == challenger["sha256"]

    if champion and same(champion):
        sentence = f"The challenger is the champion, version {champion.number}: the same generator, nothing to compare."
        return gate.Decision("cannot tell", [sentence], {})
    numbers = {version.number for version in registry.all_versions(dataset) if same(version)}
    for move in registry.history(dataset):
        if rollback.is_one(move) and move.before in numbers:
            sentence = f"This generator was version {move.before}, which was {move.reason}; rollback --to brings it back."
            return gate.Decision("refused", [sentence], {})
    return None


def judge(params: Params, champion: "Version | None", record: dict[str, Any]) -> "Decision":
    """Measure both on the same real images and latent vectors, by the same extractor; adds the protocol and writes the picture."""
    from dcgan import files
    from dcgan.judging import evaluation
    from dcgan.judging import extractor as features
    from dcgan.judging.comparison import Real
    from dcgan.pictures import grids
    from dcgan.promotion import bundle, registry, trial

    extractor = features.load(REFERENCE / "extractor")
    train, test = (
        features.load_features(REFERENCE / f"features/{name}.npy", extractor.sha256)
        for name in ("train", "test")
    )
    shares = files.read_json(REFERENCE / "features/test.json")["class_shares"]
    both = trial.Trial(
        extractor, params.evaluate.num_samples, Real.of(test, shares, params.seed), train
    )
    record["protocol"] = {
        **extractor.description(), "real_images": len(test), "generated_images": both.num_samples,
        "draws": evaluation.DRAWS, "seed": params.seed,
    }  # fmt: skip
    probe = files.read_json(PROBE) if PROBE.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        old = (
            registry.fetch(f"models:/{champion.name}/{champion.number}", Path(folder, "model"))
            if champion
            else None
        )
        print(
            "promote: measuring " + ("champion and challenger" if champion else "the challenger"),
            flush=True,
        )
        decision, images = both.decide(
            old and old / bundle.GENERATOR, GENERATOR, probe, params.gate
        )
    PICTURE.unlink(missing_ok=True)
    if (both_grids := trial.picture(images)) is not None:
        grids.save_png(PICTURE, both_grids)
    return decision


def register(record: dict[str, Any]) -> "Version":
    """Make a version of the challenger, read back before it counts; the one there is, where it was registered before."""
    from dcgan import data, files
    from dcgan.promotion import registry, serving
    from dcgan.reports import model_card

    about, manifest = files.read_json(RUN), data.read_manifest(PREPARED)
    settings = reading.load(sections.AllParams).model_dump(include=set(model_card.SETTINGS))
    card = model_card.write(
        about, settings, manifest, files.read_json(Path("results/evaluate/metrics.json"))
    )
    tags = {
        "epoch": str(record["challenger"]["epoch"]), "weights": record["challenger"]["weights"], "gate": record["reasons"][0],
        "data_sha256": about["data_sha256"], "extractor_sha256": record["protocol"]["extractor_sha256"],
        **{f"gate.{name}": str(found["mean"]) for name, found in record["numbers"]["challenger"].items()},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = serving.write_model(Path(folder, "model"), MODELS, card)
        return registry.register(
            model, dataset=record["dataset"], fingerprint=about["fingerprint"], tags=tags
        )


def write(record: dict[str, Any]) -> None:
    """Write gate.json, and the same for people."""
    from dcgan import files
    from dcgan.promotion import trial

    files.write_json(RESULTS / "gate.json", record)
    files.write_text(
        RESULTS / "gate.md", trial.markdown(record, PICTURE.name if PICTURE.is_file() else None)
    )


if __name__ == "__main__":
    cli.run(main)
