from pathlib import Path

from dcgan import data
from pipeline import data_docs
from tests.support import shapes
from tests.support.prepared import write_prepared


def test_pages_are_made_where_validate_was_skipped_and_only_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes((Path(__file__).parents[2] / "params.yaml").read_bytes())
    images, labels = shapes.draw(60, 28, 1, seed=0)
    splits = {split: (images[i::3], labels[i::3]) for i, split in enumerate(data.SPLITS)}
    write_prepared(Path("prepared"), splits, name="toys", classes=list("abcdefghij"), image_size=28)
    folder = data_docs.ensure(Path("prepared"))
    assert "Data Docs" in (folder / "index.html").read_text()
    (folder / "index.html").write_text("kept")
    assert data_docs.ensure(Path("prepared")) == folder
    assert (folder / "index.html").read_text() == "kept"
