"""Prepared folders without the stage that makes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcgan import data


def write_prepared(
    folder: Path, splits: Mapping[str, tuple[np.ndarray, np.ndarray]], **manifest: Any
) -> dict[str, Any]:
    """Write each split as one shard, whole and in its order.

    `manifest` is `name`, `classes` and `image_size`.
    """
    shards, held, first = [], {}, 0
    for number, (split, (images, labels)) in enumerate(splits.items()):
        shards.append(data.write_shard(folder / data.shard_name(number), images))
        held[split] = (np.arange(first, first + len(images)), labels)
        first += len(images)
    return data.write_prepared(folder, shards, held, **manifest)
