"""The paper stage: the DCGAN paper's experiments (arXiv 1511.06434) on the chosen checkpoint."""

from pathlib import Path

from dcgan.config import reading, sections, trained
from pipeline import cli

PREPARED, RESULTS = Path("data/prepared"), Path("results/paper")
GUIDED_IMAGES = 2000  # test images among which D's strongest responses are looked for


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    paper: sections.Paper
    training: sections.OnDevice


def main() -> None:
    """Repeat the paper's experiments on the chosen checkpoint: python -m pipeline.paper."""
    params = reading.load(Params)
    from dcgan import data, files, rng
    from dcgan.judging.reference import Reference
    from dcgan.networks import devices, exports
    from dcgan.paper import experiments
    from dcgan.pictures import grids, plots
    from dcgan.tracking import runs

    training = trained.read()
    classes = data.read_manifest(PREPARED)["classes"]
    generator, export = exports.load_generator(Path("models/generator.safetensors"))
    discriminator, _ = exports.load_discriminator(Path("models/discriminator.safetensors"))
    init = training["settings"]["discriminator"]["init"]
    device = devices.opened(params.training.device)
    frozen = Reference.open(Path("results/reference"), params.seed, device).extractor
    classify = frozen.probabilities if frozen.num_classes else None
    split = data.open_split(PREPARED, "test")
    test = split.images[rng.choose_of_each(split.labels, GUIDED_IMAGES, params.seed, "guided")]
    drawn = {"seed": params.seed, "num_candidates": params.paper.num_candidates}
    on_samples = experiments.Experiments(generator.to(device), classify, classes, **drawn)
    results = {
        "arithmetic": on_samples.arithmetic(params.paper.arithmetic),
        "forgetting": on_samples.forgetting(params.paper.forget),
        "guided": experiments.guided(discriminator.to(device), test, seed=params.seed, init=init),
        "turn": on_samples.turn(),
        "walk": on_samples.walk(),
    }
    protocol = drawn | {key: export[key] for key in ("epoch", "weights")} | frozen.description()
    for name, (picture, report) in results.items():
        if picture is None:
            plots.note(f"{name}: left out: {report['left_out']}", RESULTS / f"{name}.png")
        else:
            grids.save_png(RESULTS / f"{name}.png", picture)
    reports = {name: report for name, (_, report) in results.items()}
    files.write_json(RESULTS / "report.json", {"protocol": protocol} | reports)
    with runs.open_run(training["fingerprint"], dataset=training["dataset"]) as run:
        run.log_folder(RESULTS, "paper")
    made = [name for name, (picture, _) in results.items() if picture is not None]
    print(f"paper: {', '.join(made)} in {RESULTS}")


if __name__ == "__main__":
    cli.run(main)
