"""The pages of the site that are no files of docs/: a hook of mkdocs.

The README is the first page, CONTRIBUTING.md another one, and each package of `src/dcgan` has a
page of its public functions and classes, made of their docstrings.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "src/dcgan"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; mkdocs calls this with those of docs/."""
    pages = {
        "index.md": moved((ROOT / "README.md").read_text()),
        "contributing.md": moved((ROOT / "CONTRIBUTING.md").read_text()),
        **dict(api_pages()),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def moved(text: str) -> str:
    """A document of the root with its links as they are from docs/."""
    text = re.sub(r'(\]\(|src=")docs/', r"\1", text)
    return text.replace("](CONTRIBUTING.md", "](contributing.md").replace(
        "](README.md", "](index.md"
    )


def api_pages() -> Iterator[tuple[str, str]]:
    """A page a package, and one that lists them."""
    rows = []
    for package in sorted(path.parent for path in LIBRARY.glob("*/__init__.py")):
        name = package.name
        modules = sorted(path.stem for path in package.glob("*.py") if path.stem != "__init__")
        body = "\n\n".join(f"::: dcgan.{name}.{module}" for module in modules)
        yield f"api/{name}.md", f"# dcgan.{name}\n\n{body}\n"
        rows.append(f"| [dcgan.{name}](api/{name}.md) | {', '.join(modules)} |")
    ground = sorted(path.stem for path in LIBRARY.glob("*.py") if path.stem != "__init__")
    body = "\n\n".join(f"::: dcgan.{module}" for module in ground)
    yield "api/ground.md", f"# Files that all packages use\n\n{body}\n"
    rows.append(f"| [files that all packages use](api/ground.md) | {', '.join(ground)} |")
    table = "\n".join(["| package | modules |", "|---|---|", *rows])
    yield "api.md", f"# Modules\n\nPublic functions and classes, by package.\n\n{table}\n"
