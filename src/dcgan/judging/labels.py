"""Whether some of the labels look as if they had been shuffled.

A classifier ranks the classes of an image that it has not learnt from. Where it errs by itself, the
label is still among the first ranks: a shirt is taken for a coat, hardly ever for a boot. A
shuffled label has any rank with the same probability. So the ranks at the end, where there are
hardly any honest mistakes, say how many labels were shuffled.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST_CLASSES = 4
NOTABLE = 0.03  # share of shuffled labels that is worth a warning
FEWEST_SEEN = 10  # images with a label in the last quarter of the ranks
FLAT = 0.6  # shuffled labels fill both quarters of the ranks alike; honest mistakes thin out


def shuffled(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.integer[Any]]
) -> float | None:
    """The share of labels that look shuffled, 0 to 1.

    Args:
        probabilities: N x num_classes, a classifier's, of images that it has not learnt from.
        labels: N, 0 .. num_classes - 1.

    Returns:
        An estimate, 0 where the last ranks are no fuller than honest mistakes make them; None with
        fewer than four classes, of which no two quarters can be compared.
    """
    num_classes = probabilities.shape[1]
    if num_classes < FEWEST_CLASSES:
        return None
    own = np.take_along_axis(probabilities, np.asarray(labels)[:, None], axis=1)
    ranks = (probabilities > own).sum(1)  # 0: the label is the most likely class
    quarter = num_classes // 4
    last = int((ranks >= num_classes - quarter).sum())
    before = int((ranks >= num_classes - 2 * quarter).sum()) - last
    if last < FEWEST_SEEN or last < FLAT * before:
        return 0.0
    return min(1.0, last / len(ranks) * num_classes / quarter)
