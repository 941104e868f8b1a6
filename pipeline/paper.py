"""The paper stage: the experiments of the DCGAN paper (arXiv 1511.06434, sections 6.1 to 6.3) on the chosen checkpoint."""

from pathlib import Path

from dcgan.config import reading, sections
from pipeline import cli

PREPARED, RESULTS = Path("data/prepared"), Path("results/paper")
GUIDED_IMAGES = 2000  # test images among which D's strongest responses are looked for


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    seed: sections.Seed
    paper: sections.Paper


def main() -> None:
    """Repeat the paper's experiments on the chosen checkpoint: python -m pipeline.paper."""
    params = reading.load(Params)
    from dcgan import data, files
    from dcgan.judging.reference import Reference
    from dcgan.networks import exports
    from dcgan.paper import experiments
    from dcgan.pictures import grids, plots
    from dcgan.tracking import runs as tracking

    about = files.read_json(Path("results/train/run.json"))
    classes = data.read_manifest(PREPARED)["classes"]
    generator, export = exports.load_generator(Path("models/generator.safetensors"))
    discriminator, _ = exports.load_discriminator(Path("models/discriminator.safetensors"))
    extractor = Reference.open(Path("results/reference"), params.seed).extractor
    judge = extractor.probabilities if extractor.num_classes else None
    count = params.paper.num_candidates
    test = data.open_split(PREPARED, "test").images[:GUIDED_IMAGES]
    on_samples = experiments.Experiments(
        generator, judge, classes, seed=params.seed, num_candidates=count
    )
    results = {
        "arithmetic": on_samples.arithmetic(params.paper.arithmetic),
        "forgetting": on_samples.forgetting(params.paper.forget),
        "guided": experiments.guided(discriminator, test, params.seed),
        "turn": on_samples.turn(),
        "walk": on_samples.walk(),
    }
    protocol = {
        "seed": params.seed,
        "num_candidates": count,
        "epoch": export["epoch"],
        "weights": export["weights"],
    }
    report = {"protocol": protocol | extractor.description()} | {
        name: each for name, (_, each) in results.items()
    }
    for name, (picture, each) in results.items():
        if picture is None:
            plots.note(f"{name}: left out: {each['left_out']}", RESULTS / f"{name}.png")
        else:
            grids.save_png(RESULTS / f"{name}.png", picture)
    files.write_json(RESULTS / "report.json", report)
    with tracking.run(about["fingerprint"], dataset=about["dataset"]) as run:
        run.log_folder(RESULTS, "paper")
    made = [name for name, (picture, _) in results.items() if picture is not None]
    print(f"paper: {', '.join(made)} in {RESULTS}")


if __name__ == "__main__":
    cli.run(main)
