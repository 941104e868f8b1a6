"""A generator as a folder that any static server serves: a page that draws images in the browser.

The page, model.onnx, and of the npm package onnxruntime-web what runs it: nothing comes from
another server. The package is the user's own download, because no Python package has these files.
"""

import html
import json
import tarfile
from pathlib import Path

from dcgan import files
from dcgan.errors import ConfigError, DataError
from dcgan.networks.models import Generator
from dcgan.promotion import onnx_model

PAGE = "index.html"
RUNTIME = (
    "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
)  # fmt: skip
MOST_BYTES = 64 * 2**20  # of one of them
GET_IT = "download it with: npm pack onnxruntime-web"
TEMPLATE = Path(__file__).with_name("page.html")


def write(folder: Path, generator: Generator, title: str, card: str, package: Path) -> None:
    """Write the page and all that it needs.

    Args:
        folder: is there, and empty.
        generator: in evaluation mode, on the CPU.
        title: of the images.
        card: Markdown, which the page shows as text.
        package: onnxruntime-web as npm packs it, a .tgz.

    Raises:
        ConfigError: there is no such package.
        DataError: it is another one.
        EnvironmentProblem: as `onnx_model.write`.
    """
    _unpack(package, folder)
    onnx_model.write(folder / onnx_model.MODEL, generator)
    size = sum(path.stat().st_size for path in folder.iterdir())
    a = generator.architecture
    settings = {"size": a.z_dim, "distribution": a.z_distribution, "card": card}
    # In a script, only this ends the text early.
    inside = json.dumps(settings).replace("<", "\\u003c")
    # The settings last: a card may have any words in it.
    text = TEMPLATE.read_text()
    for mark, value in (
        ("SIZE", str(a.z_dim)), ("MEGABYTES", f"{size / 1e6:.0f}"),
        ("TITLE", html.escape(f"dcgan-{title}")), ("SETTINGS", inside),
    ):  # fmt: skip
        text = text.replace(f"__{mark}__", value)
    files.write_text(folder / PAGE, text)


def _unpack(package: Path, folder: Path) -> None:
    """Copy the files of RUNTIME out of the package; nothing else in it is read."""
    if not package.is_file():
        raise ConfigError(f"--runtime {package}: does not exist: {GET_IT}")
    try:
        with tarfile.open(package, "r:gz") as archive:
            for name in RUNTIME:
                member = archive.getmember(f"package/dist/{name}")
                content = archive.extractfile(member) if member.isfile() else None
                if content is None or member.size > MOST_BYTES:
                    raise KeyError(name)
                files.write_bytes(folder / name, content.read())
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise DataError(
            f"--runtime {package}: is no package of onnxruntime-web, or of another version"
            f" ({' '.join(str(error).split())}): {GET_IT}"
        ) from error
