"""The page's folder: what it holds, and which packages are refused."""

import io
import tarfile
from pathlib import Path

import pytest

from dcgan.errors import ConfigError, DataError
from dcgan.promotion import onnx_model, web_page
from tests.support.networks import MNIST_TF, generator


def package(path: Path, names: tuple[str, ...] = web_page.RUNTIME) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in (*names, "../../evil.js"):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def test_the_folder_has_page_model_and_runtime_and_nothing_else_of_the_package(tmp_path: Path):
    folder = tmp_path / "out"
    folder.mkdir()
    tgz = package(tmp_path / "ort.tgz")
    web_page.write(folder, generator(MNIST_TF).eval(), "<b>toys", "</script> SIZE", tgz)
    written = {path.name: path for path in folder.iterdir()}
    assert set(written) == {web_page.PAGE, onnx_model.MODEL, *web_page.RUNTIME}
    assert not list(tmp_path.rglob("evil.js"))
    page = written[web_page.PAGE].read_text()
    assert "<title>dcgan-&lt;b&gt;toys</title>" in page
    assert '"\\u003c/script> SIZE"' in page and '"size": 100' in page and "__" not in page
    assert page.count("</script>") == 2 and "http://" not in page and "https://" not in page


@pytest.mark.parametrize("kind", ["missing", "text", "other"])
def test_what_is_not_the_package_is_refused_with_the_command_that_gets_it(
    tmp_path: Path, kind: str
):
    path = tmp_path / "ort.tgz"
    if kind == "text":
        path.write_text("no archive")
    elif kind == "other":
        package(path, web_page.RUNTIME[:1])
    with pytest.raises((ConfigError, DataError), match=r"^--runtime [^\n]*: npm pack onnx"):
        web_page.write(tmp_path, generator(MNIST_TF).eval(), "toys", "", path)
