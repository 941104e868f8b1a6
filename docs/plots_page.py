"""Make `.dvc/plots.html`, the page of `dvc plots show` that draws its charts without a network.

DVC's own page loads Vega from a server. This one holds it, as npm publishes it:

    npm pack vega@5 vega-lite@5 vega-embed@6
    python docs/plots_page.py vega-5*.tgz vega-lite-5*.tgz vega-embed-6*.tgz
"""

import argparse
import json
import tarfile
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / ".dvc" / "plots.html"
# `{refresh_tag}` and `{plot_divs}` are DVC's; `{scripts}`, which loads Vega, is left out.
HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>DVC plots</title>
<style>
body { font-family: sans-serif; margin: 2em; }
div { display: inline-block; vertical-align: top; margin: 0.5em; }
img { max-width: 36em; }
table { border-spacing: 15px; }
</style>
"""
BODY = """\
</head>
<body>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", type=Path, nargs=3, help="of npm: vega, vega-lite, vega-embed")
    args = parser.parse_args()
    PAGE.write_text(HEAD + "".join(map(script, args.packages)) + BODY)
    print(f"{PAGE}: {PAGE.stat().st_size} bytes")


def script(package: Path) -> str:
    """The program of a package, with its name, version and licence above it."""
    with tarfile.open(package) as archive:
        about = json.loads(read(archive, "package.json"))
        program = read(archive, f"build/{about['name']}.min.js").strip()
        names = archive.getnames()
        licence = about["license"]
        if "package/LICENSE" in names:  # one of the three has none, of the same people's
            licence += "\n\n" + read(archive, "LICENSE").strip()
    if "</script" in program or "{plot_divs}" in program:
        raise SystemExit(f"{package}: its program cannot stand in a page")
    # The address of its map of source lines would be asked for.
    program = program.rpartition("//# sourceMappingURL=")[0].strip() or program
    return (
        f"<!-- {about['name']} {about['version']}, {licence}\n-->\n<script>\n{program}\n</script>\n"
    )


def read(archive: tarfile.TarFile, name: str) -> str:
    """The text of a package's file."""
    file = archive.extractfile(f"package/{name}")
    assert file is not None, f"{name} is no file"
    return file.read().decode()


if __name__ == "__main__":
    main()
