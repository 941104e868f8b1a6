"""The model card: what the model was made of, how good it is and by which protocol, what it must not be used for, how to use it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcgan.config import keys, reading

# The sections of params.yaml that a card shows: what the networks are and how they were trained.
SETTINGS = ("seed", "lr", "beta1", "batch_size", "epochs", "generator", "discriminator", "training")
RECIPES = Path("recipes")
FEW = 8  # settings in which a training may differ from a recipe that its card still names

MEANING = {
    "fid": "Fréchet distance; lower is better",
    "kid": "kernel distance; lower is better",
    "precision": "share of generated images among real ones",
    "recall": "share of real images among generated ones",
    "density": "real neighbourhoods around a generated image",
    "coverage": "share of real images with a generated neighbour",
    "vendi": "effective number of different images",
    "js_divergence": "between class shares; lower is better",
    "smallest_class_share": "of the rarest class",
}


def write(
    about: Mapping[str, Any],
    settings: Mapping[str, Any],
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> str:
    """The card as Markdown.

    Args:
        about: results/train/run.json.
        settings: the sections SETTINGS of params.yaml.
        manifest: of the prepared images.
        metrics: results/evaluate/metrics.json.
    """
    name, protocol, size = about["dataset"], metrics["protocol"], manifest["image_size"]
    colour = "grey" if manifest["channels"] == 1 else "RGB"
    counts = ", ".join(f"{part['count']} {split}" for split, part in manifest["splits"].items())
    classes = ", ".join(manifest["classes"]) or "none"
    table = "\n".join(f"| {' | '.join(row)} |" for row in figures(metrics))
    return f"""# dcgan-{name}

A DCGAN that turns {settings["generator"]["z_dim"]} random numbers into one {size} x {size} {colour} image like those of **{name}**.
Epoch {metrics["epoch"]} of {about["epochs"]}, {metrics["weights"]} weights, chosen by the lowest FID on validation images.

## Data

| | |
|---|---|
| data set | {name} |
| images | {counts}; {size} x {size}, {colour} |
| sha256 of the prepared images | `{about["data_sha256"]}` |
| classes | {classes} |
| licence | {manifest.get("licence", "unknown")} |

## Figures

| | model | floor | ceiling | |
|---|---|---|---|---|
{table}

Measured once on the {protocol["reported_on"]} split: {protocol["generated_images"]} generated against {protocol["real_images"]}
real images, mean and standard deviation of {protocol["draws"]} draws of latent vectors. Floor: real train images instead of
generated ones. Ceiling: noise. Extractor `{protocol["extractor"]}`, sha256 `{protocol["extractor_sha256"]}`;
figures of other extractors do not compare.

## Limits

{_limits(metrics)}

## Use

```
python -m pipeline sample --model models:/dcgan-{name}@champion --seed 7 --count 64 --out grid.png
mlflow models serve --env-manager local --model-uri models:/dcgan-{name}@champion --port 5001
curl --json '{{"inputs": {{"seed": [7], "count": [2]}}}}' http://127.0.0.1:5001/invocations
```

The first needs this project, the others what `requirements.txt` names. The answer has a row an image: `seed`, `index`, and `png`
in base64. One seed, one image: number `index` of a seed is the same whatever the count.

## Training

Training `{about["fingerprint"]}` on {about["device"]} in {about["precision"]}. Recipe: {recipe(settings)}:

```
{_settings(settings)}
```
"""


def recipe(settings: Mapping[str, Any]) -> str:
    """The recipe that the sections SETTINGS are nearest to, and in what they differ from it; the seed is no part of a recipe."""
    found = keys.flatten(settings)
    differences = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        # Not laid over params.yaml: a card must not fail because somebody's own settings do not go
        # together with some recipe.
        overlay = reading.read_yaml(path)
        known = keys.flatten(
            {
                section: overlay[section]
                for section in SETTINGS
                if section in overlay and section != "seed"
            }
        )
        differences[path.stem] = [
            f"{key} = {found.get(key)}" for key, value in known.items() if found.get(key) != value
        ]
    name = min(differences, key=lambda name: len(differences[name]), default="")
    if not name or len(differences[name]) > FEW:
        return "none of the project's; the settings are"
    return f"`{name}`" + (f", but {', '.join(differences[name])}" if differences[name] else "")


def figures(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Of each figure with noise in results/evaluate/metrics.json: name, value with noise, floor, ceiling, what it means."""
    found = {}
    for key, deviation in metrics["noise"].items():
        # The names of FID and KID end in the number of images.
        plain = key.rpartition("_")[0] if key.startswith(("fid", "kid")) else key
        floor, ceiling = (_figure(metrics[part].get(plain)) for part in ("floor", "ceiling"))
        found[plain] = (key, f"{metrics[key]:.4g} ± {deviation:.2g}", floor, ceiling)
    return [(*found[plain], meaning) for plain, meaning in MEANING.items() if plain in found]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _limits(metrics: Mapping[str, Any]) -> str:
    memorisation = metrics["memorisation"]
    ratio = (
        f"; their median distance to train is {memorisation['ratio']:.3g} of that of test images"
        if "ratio" in memorisation
        else ""
    )
    lines = [
        "It draws from what it saw: nothing outside the data, no class on request, and the data's gaps and biases with it.",
        f"{memorisation['closer_than_test']:.2%} of the generated images are as near to a training image as the nearest 1 % of the"
        f" test images{ratio}. Far more than 1 %, or far below 1, would be copying.",
        "The same seed gives the same image on one kind of processor; on another the last bits of a pixel may differ.",
        "A research model: its images are no evidence of anything, and what may be done with them the licence of the data decides.",
    ]
    if metrics["collapsed"]:
        lines.insert(0, "**Collapsed:** its images vary far less than real ones.")
    if metrics.get("dropped_classes"):
        lines.insert(
            0,
            f"Classes that it hardly ever draws (by number): {', '.join(map(str, metrics['dropped_classes']))}.",
        )
    return "\n".join(f"* {line}" for line in [*lines, *metrics.get("notes", ())])


def _settings(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in keys.flatten(settings).items())
