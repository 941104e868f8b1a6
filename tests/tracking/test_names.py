"""Names that MLflow takes."""

from pathlib import Path

import pytest

from dcgan.tracking import runs, store
from tests.support.stores import (
    artifacts,
    save_image,
    waiting,
    warnings,
)

HOSTILE = ["../x", "%2e%2e/x", "a#b", "x" * 300, "a\0b", "\x1b[31mred", "..", "/etc/x"]


@pytest.mark.holds("R-85")
def test_hostile_names_are_escaped_and_nothing_is_written_outside(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "a.txt").write_text("text")
    image = save_image(root)
    before = {path for path in root.parent.rglob("*") if ".mlflow" not in path.parts}
    for name in HOSTILE:
        with runs.open_run(name, dataset=name, name=name, tags={name: name}) as run:
            run.log_params({name: name})
            run.log_metrics({name: 1.0})
            run.log_image(image, name, 1)
            run.log_file(root / "a.txt", name)
        logged = store.connect().get_run(run.id)
        shown = str([logged.info.run_name, logged.data.params, logged.data.tags])
        assert len(logged.data.metrics) == 1 and "\x1b" not in shown and "\0" not in shown
        assert (
            sum(path.endswith("a.txt") for path in artifacts(run.id)) == 1
            and len(artifacts(run.id, "images")) == 2
        )
    assert not warnings(caplog) and waiting(root) == []
    assert {path for path in root.parent.rglob("*") if ".mlflow" not in path.parts} == before
