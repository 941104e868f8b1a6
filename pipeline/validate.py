"""Validate the prepared images: bad data stops here, training depends on the report."""

from pathlib import Path

from dcgan.config import reading, sections
from pipeline import cli

PREPARED = Path("data/prepared")
REPORT = Path("results/validate/report.json")


class Params(sections.Section):
    """The keys of params.yaml that this stage reads."""

    expectations: sections.Expectations


def main() -> None:
    """Check data/prepared against all expectations; exit 3 where one fails.

    Example: python -m pipeline.validate.
    """
    reading.load(Params)

    from dcgan import data, files, validation

    manifest = data.read_manifest(PREPARED)
    # Data Docs hold dates, so they are no output of the stage; their folder has the data's hash in
    # its name, by which tracking finds them.
    docs = files.scratch("data_docs", data.data_sha256(manifest)[:16])
    report = validation.validate(validation.statistics(PREPARED, manifest), manifest, docs)
    files.write_json(REPORT, report)
    validation.check(report)
    print(
        f"validate: {report['num_images']} images meet {len(report['expectations'])} expectations;"
        f" report in {REPORT}"
    )
    if (docs / "index.html").is_file():
        print(f"validate: Data Docs in {docs / 'index.html'}")


if __name__ == "__main__":
    cli.run(main)
