"""The model card: what the model was made of, how good it is, its limits and its use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcgan.config import keys, reading
from dcgan.errors import DataError
from dcgan.judging import figures
from dcgan.reports import markdown

RECIPES = Path("recipes")
# The keys of results/evaluate/metrics.json that a card needs, with floor and ceiling.
MEASURED = (
    "epoch", "weights", "collapsed", "memorisation.closer_than_test", "protocol.reported_on",
    "protocol.generated_images", "protocol.real_images", "protocol.extractor",
    "protocol.extractor_sha256",
)  # fmt: skip
FEW = 8  # settings in which a training may differ from a recipe that its card still names


def write(
    training: Mapping[str, Any], manifest: Mapping[str, Any], metrics: Mapping[str, Any]
) -> str:
    """The card as Markdown.

    Args:
        training: results/train/run.json, as `config.trained` reads it.
        manifest: of the prepared images.
        metrics: results/evaluate/metrics.json, also of the older shape.

    Raises:
        DataError: as `figures.read`, or the metrics lack what the card says.
    """
    metrics = figures.read(metrics, "results/evaluate/metrics.json")
    flat = keys.leaves(metrics)
    missing = [key for key in MEASURED if key not in flat]
    missing += [key for key in ("floor", "ceiling") if not isinstance(metrics.get(key), dict)]
    if missing:
        raise DataError(f"results/evaluate/metrics.json: has no {missing[0]}: run evaluate again")
    trained_with, protocol = training["settings"], metrics["protocol"]
    name, size = training["dataset"], manifest["image_size"]
    colour = "grey" if manifest["channels"] == 1 else "RGB"
    counts = ", ".join(f"{part['count']} {split}" for split, part in manifest["splits"].items())
    data = [
        ["data set", name],
        ["images", f"{counts}; {size} x {size}, {colour}"],
        ["sha256 of the prepared images", f"`{training['data_sha256']}`"],
        ["classes", ", ".join(manifest["classes"]) or "none"],
        ["licence", manifest.get("licence", "unknown")],
    ]
    table = markdown.table(["", "model", "floor", "ceiling", ""], markdown.figure_rows(metrics))
    lines = "\n".join(f"{key}: {value}" for key, value in keys.flatten(trained_with).items())
    return f"""# dcgan-{name}

A DCGAN that turns {trained_with["generator"]["z_dim"]} random numbers into one {size} x {size} \
{colour} image like those of **{name}**.
Epoch {metrics["epoch"]} of {training["epochs"]}, {metrics["weights"]} weights, chosen by the \
lowest FID on validation images.

## Data

{markdown.table(["", ""], data)}

## Figures

{table}

Measured once on the {protocol["reported_on"]} split: {protocol["generated_images"]} generated \
against {protocol["real_images"]}
real images, mean and standard deviation of {protocol["draws"]} draws of latent vectors. Floor: \
real train images instead of
generated ones. Ceiling: noise. Extractor `{protocol["extractor"]}`, sha256 \
`{protocol["extractor_sha256"]}`;
figures of other extractors do not compare.

## Limits

{_limits(metrics)}

## Use

```
python -m pipeline sample --model models:/dcgan-{name}@champion --seed 7 --count 64 --out grid.png
mlflow models serve --env-manager local --model-uri models:/dcgan-{name}@champion --port 5001
curl --json '{{"inputs": {{"seed": [7], "count": [2]}}}}' http://127.0.0.1:5001/invocations
```

The first needs this project, the others what `requirements.txt` names. The answer has a row an
image: `seed`, `index`, and `png` in base64. One seed, one image: number `index` of a seed is the
same whatever the count.

## Training

Training `{training["fingerprint"]}` on {training["device"]} in {training["precision"]}\
{_beginning(training)}. \
Recipe: {recipe(trained_with)}:

```
{lines}
```
"""


def recipe(settings: Mapping[str, Any]) -> str:
    """The recipe that a training's settings are nearest to, and in what they differ from it.

    The seed is no part of a recipe.
    """
    trained_with = keys.flatten(settings)
    differences = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        # Not laid over params.yaml: a card must not fail because today's settings do not go
        # together with some recipe.
        overlay = reading.read_yaml(path)
        sections = {
            key: value for key, value in overlay.items() if key in settings and key != "seed"
        }
        differences[path.stem] = [
            f"{key} = {trained_with.get(key)}"
            for key, value in keys.flatten(sections).items()
            if trained_with.get(key) != value
        ]
    name = min(differences, key=lambda name: len(differences[name]), default="")
    if not name or len(differences[name]) > FEW:
        return "none of the project's; the settings are"
    return f"`{name}`" + (f", but {', '.join(differences[name])}" if differences[name] else "")


def _beginning(training: Mapping[str, Any]) -> str:
    if "start_from" not in training:
        return ""
    sha256 = training["start_sha256"][:16]
    return f", from the weights of `{training['start_from']}` (generator's sha256 `{sha256}`)"


def _limits(metrics: Mapping[str, Any]) -> str:
    memorisation = metrics["memorisation"]
    ratio = ""
    if "ratio" in memorisation:
        ratio = (
            f"; their median distance to train is {memorisation['ratio']:.3g} of that of"
            " test images"
        )
    lines = [
        "It imitates its data: it draws nothing outside them, no class on request, and it has their"
        " gaps and biases.",
        f"{memorisation['closer_than_test']:.2%} of the generated images are as near to a training"
        f" image as the nearest 1 % of the test images{ratio}. Far more than 1 %, or far below 1,"
        " would be copying.",
        "The same seed gives the same image on one kind of processor; on another the last bits of"
        " a pixel may differ.",
        "A research model: its images are no evidence of anything. The licence of the data decides"
        " what may be done with them.",
    ]
    if metrics["collapsed"]:
        lines.insert(0, "**Collapsed:** its images vary far less than real ones.")
    if metrics.get("dropped_classes"):
        dropped = ", ".join(map(str, metrics["dropped_classes"]))
        lines.insert(0, f"Classes that it hardly ever draws (by number): {dropped}.")
    return "\n".join(f"* {line}" for line in [*lines, *metrics.get("notes", ())])
