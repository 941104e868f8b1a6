"""Prepared folders without the stage that makes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcgan import data


def write_prepared(
    folder: Path, splits: Mapping[str, tuple[np.ndarray, np.ndarray]], **manifest: Any
) -> dict[str, Any]:
    """Write each split whole and in its order; `manifest` is `name`, `classes` and `image_size`."""
    everything = {split: np.arange(len(images)) for split, (images, _) in splits.items()}
    return data.write_prepared(folder, dict(splits), **{"positions": everything, **manifest})
