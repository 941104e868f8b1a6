"""Validate the prepared images: bad data stops here, training depends on the report."""

from pathlib import Path

from dcgan.config import reading, sections
from pipeline import cli, data_docs

PREPARED = Path("data/prepared")
REPORT = Path("results/validate/report.json")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    expectations: sections.Expectations


def main() -> None:
    """Check data/prepared against all expectations; exit 3 where one that counts fails.

    Example: python -m pipeline.validate.
    """
    limits = reading.load(Params).expectations

    from dcgan import data, files, validation

    manifest = data.read_manifest(PREPARED)
    docs = data_docs.place(manifest)
    report = validation.validate(validation.statistics(PREPARED, manifest), manifest, limits, docs)
    files.write_metrics(REPORT, report)
    validation.check(report)
    warnings = validation.warnings(report)
    for warning in warnings:
        print(f"validate: warning: {warning}")
    met = len(report["expectations"]) - len(warnings)
    print(
        f"validate: {report['num_images']} images meet {met} of {len(report['expectations'])}"
        f" expectations; report in {REPORT}"
    )
    if (docs / "index.html").is_file():
        print(f"validate: Data Docs in {docs / 'index.html'}")


if __name__ == "__main__":
    cli.run(main)
