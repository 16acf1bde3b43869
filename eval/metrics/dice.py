"""Dice of masks at many thresholds at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: 0.05, 0.10, ..., 0.95
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def dice_at_thresholds(
    probabilities: NDArray, mask: NDArray, thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.float64]:
    """Dice 2 |A and B| / (|A| + |B|) of "probability >= t" with a mask; 1 where both are empty.

    Shapes (T thresholds, ascending): probabilities, mask (H, W); returns (T,).

    Example:
        >>> dice_at_thresholds(np.array([[0.9, 0.6, 0.1]]), np.array([[True, False, False]]), [0.5, 0.95]).tolist()
        [0.6666666666666666, 0.0]
    """
    bins = np.searchsorted(np.asarray(thresholds, np.float64), probabilities.ravel().astype(np.float64), side="right")
    inside = mask.ravel().astype(bool)
    size = len(thresholds) + 1
    predicted = np.bincount(bins, minlength=size)[::-1].cumsum()[::-1][1:]  # (T,) pixels at or above each threshold
    shared = np.bincount(bins[inside], minlength=size)[::-1].cumsum()[::-1][1:]
    total = predicted + inside.sum()
    return np.divide(2.0 * shared, total, out=np.ones(len(thresholds)), where=total > 0)
