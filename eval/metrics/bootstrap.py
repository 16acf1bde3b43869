"""Percentile bootstrap intervals, vectorised over resamples."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
BLOCK = 2**22  # counts held at a time: 32 MiB as float64
QUANTILES = (0.025, 0.975)


def resample_counts(
    num_items: int, *, num_resamples: int = NUM_RESAMPLES, seed: int | Sequence[int] = 0
) -> Iterator[NDArray]:
    """How often each item occurs in each bootstrap resample, in blocks of rows.

    Drawing n of n items with replacement gives multinomial counts; statistics that are means become one product.

    Yields:
        Counts of shape (resamples in this block, num_items), float64 for fast products; rows sum to ``num_items``.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // num_items)
    for start in range(0, num_resamples, rows):
        size = min(rows, num_resamples - start)
        draws = rng.integers(num_items, size=(size, num_items)) + np.arange(size)[:, None] * num_items
        counts = np.bincount(draws.ravel(), minlength=size * num_items)
        yield counts.reshape(size, num_items).astype(np.float64)


def mean_intervals(values: NDArray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> NDArray:
    """95 % percentile intervals of column means, resampling rows.

    Rows are the queries; the candidates stay as they are, so an interval speaks of other queries against the same
    gallery. All columns share their resamples. Queries count as independent, although images of one caption are not.

    Shapes (Q rows, C columns): values (Q, C); returns (C, 2), lower and upper.

    Example:
        >>> mean_intervals(np.ones((5, 1))).tolist()
        [[1.0, 1.0]]
    """
    values = np.asarray(values, np.float64)
    resamples = resample_counts(len(values), num_resamples=num_resamples, seed=seed)
    means = np.concatenate([counts @ values for counts in resamples]) / len(values)
    return np.quantile(means, QUANTILES, axis=0).T


def statistic_interval(
    statistic: Callable[[NDArray], float], num_items: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic that takes how often each item occurs.

    Args:
        statistic: Called with counts of shape (num_items,), float64.
        num_items: Items to resample.
        num_resamples: Resamples to draw.
        seed: Seed of the draws.
    """
    resamples = resample_counts(num_items, num_resamples=num_resamples, seed=seed)
    values = [statistic(counts) for block in resamples for counts in block]
    lower, upper = np.quantile(values, QUANTILES)
    return float(lower), float(upper)
