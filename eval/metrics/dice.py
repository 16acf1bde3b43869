"""Dice of masks at many thresholds at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: 0.05, 0.10, ..., 0.95
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def pixel_counts(probabilities: NDArray, mask: NDArray, thresholds: Sequence[float] = THRESHOLDS) -> NDArray[np.int64]:
    """Pixels of the mask, pixels of "probability >= t", and pixels of both.

    Shapes (T thresholds, ascending): probabilities, mask (H, W); returns (T, 3).

    Example:
        >>> pixel_counts(np.array([[0.9, 0.6, 0.1]]), np.array([[True, False, False]]), [0.5, 0.95]).tolist()
        [[1, 2, 1], [1, 0, 0]]
    """
    bins = np.searchsorted(np.asarray(thresholds, np.float64), probabilities.ravel().astype(np.float64), side="right")
    inside = mask.ravel().astype(bool)
    size = len(thresholds) + 1
    predicted = np.bincount(bins, minlength=size)[::-1].cumsum()[::-1][1:]  # (T,) pixels at or above each threshold
    shared = np.bincount(bins[inside], minlength=size)[::-1].cumsum()[::-1][1:]
    return np.stack([np.full(len(thresholds), inside.sum()), predicted, shared], axis=1)


def dice_of_counts(counts: NDArray) -> NDArray[np.float64]:
    """Dice 2 |A and B| / (|A| + |B|) of counts as `pixel_counts` gives them, (..., 3); 1 where both are empty."""
    total = counts[..., 0] + counts[..., 1]
    return np.divide(2.0 * counts[..., 2], total, out=np.ones(total.shape), where=total > 0)


def dice_at_thresholds(
    probabilities: NDArray, mask: NDArray, thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.float64]:
    """Dice of "probability >= t" with a mask at each threshold.

    Shapes (T thresholds, ascending): probabilities, mask (H, W); returns (T,).

    Example:
        >>> dice_at_thresholds(np.array([[0.9, 0.6, 0.1]]), np.array([[True, False, False]]), [0.5, 0.95]).tolist()
        [0.6666666666666666, 0.0]
    """
    return dice_of_counts(pixel_counts(probabilities, mask, thresholds))
