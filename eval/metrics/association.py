"""Rank association: Spearman's correlation and the area under the ROC curve, each with optional item counts.

Counts make a bootstrap resample cheap: the values are sorted once and each resample costs one pass.
"""

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.bootstrap import statistic_interval


def mid_ranks(codes: NDArray, counts: NDArray) -> NDArray:
    """Average 1-based ranks of items given by order codes, item i standing ``counts[i]`` times.

    Args:
        codes: Dense order codes: 0 for the smallest value, equal values share one.
        counts: Copies of each item, 0 or more.

    Shapes: both (N,); returns (N,), float64; the rank of an item that stands 0 times means nothing.

    Example:
        >>> mid_ranks(np.array([0, 1, 1]), np.array([1, 1, 1])).tolist()
        [1.0, 2.5, 2.5]
    """
    group_sizes = np.bincount(codes, weights=counts)
    return (np.cumsum(group_sizes) - (group_sizes - 1) / 2)[codes]


def spearman(x: NDArray, y: NDArray) -> tuple[float, tuple[float, float]]:
    """Spearman's rank correlation with average ranks for ties, and its 95 % bootstrap interval over the pairs.

    Ranks are taken anew in every resample. NaN when one side is constant.

    Shapes: x, y (N,).

    Example:
        >>> spearman(np.arange(4), np.array([10, 20, 30, 40]))[0]
        1.0
    """
    x_codes, y_codes = _order_codes(x), _order_codes(y)

    def statistic(counts: NDArray) -> float:
        return _correlation(mid_ranks(x_codes, counts), mid_ranks(y_codes, counts), counts)

    value = statistic(np.ones(len(x_codes)))
    return value, statistic_interval(statistic, len(x_codes))


def auroc(positives: NDArray, negatives: NDArray) -> tuple[float, tuple[float, float]]:
    """Probability that a positive scores above a negative, a tie counting one half, and its 95 % bootstrap interval.

    This is the Mann-Whitney statistic over the product of both sizes. Positives and negatives are resampled together;
    a resample that happens to hold only one kind gives NaN, which needs far fewer than 20 items to be likely.

    Shapes: positives (P,), negatives (N,).

    Example:
        >>> auroc(np.array([2.0, 1.0]), np.array([1.0, 0.0]))[0]
        0.875
    """
    codes = _order_codes(np.concatenate([positives, negatives]))
    is_positive = np.arange(len(codes)) < len(positives)

    def statistic(counts: NDArray) -> float:
        num_positives, num_negatives = counts[is_positive].sum(), counts[~is_positive].sum()
        if not num_positives or not num_negatives:
            return float("nan")
        rank_sum = (mid_ranks(codes, counts) * counts)[is_positive].sum()
        return float((rank_sum - num_positives * (num_positives + 1) / 2) / (num_positives * num_negatives))

    return statistic(np.ones(len(codes))), statistic_interval(statistic, len(codes))


def _order_codes(values: NDArray) -> NDArray:
    return np.unique(np.asarray(values), return_inverse=True)[1].ravel()


def _correlation(x: NDArray, y: NDArray, counts: NDArray) -> float:
    total = counts.sum()
    x, y = x - (counts @ x) / total, y - (counts @ y) / total
    scale = np.sqrt((counts @ x**2) * (counts @ y**2))
    return float((counts @ (x * y)) / scale) if scale > 0 else float("nan")
