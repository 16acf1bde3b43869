"""Percentile bootstrap intervals of any statistic, resampling whole groups such as patients or cases."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.bootstrap import NUM_RESAMPLES, QUANTILES
from phenolip.exceptions import DataError

_MIN_RESAMPLES, _MAX_RESAMPLES = 200, NUM_RESAMPLES
_WORK = 10_000_000  # images times classes times resamples that are affordable: about 20 seconds of one core


def num_resamples_for(num_items: int, num_columns: int) -> int:
    """1,000 resamples, fewer for large tables, where an interval is narrow, down to 200."""
    return int(np.clip(_WORK // max(1, num_items * num_columns), _MIN_RESAMPLES, _MAX_RESAMPLES))


def grouped_intervals(
    statistic: Callable[[NDArray, np.random.Generator], NDArray],
    groups: Sequence[str],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    lifted: NDArray | None = None,
) -> NDArray:
    """95 % percentile intervals of M statistics.

    Each resample draws as many groups as there are, with replacement, and takes all rows of each.

    Args:
        statistic: Takes row numbers, repeats among them, and a generator for draws of its own (as of seeds); returns
            (M,) values. NaN, as of a class that a resample lacks, is left out of the quantiles.
        groups: (N,) group of each row.
        num_resamples: Resamples to draw.
        seed: Seed of the draws.
        lifted: (M,) the values over all rows of those statistics that resamples lift, NaN for the others. Such is a
            calibration error: repeated rows make its bins noisier, and noise adds to a mean of absolute gaps, so that
            percentiles may lie above the value. Their intervals are moved down by the mean lift, to 0 at the lowest.

    Returns:
        (M, 2) lower and upper; NaN where no resample had a value.

    Raises:
        DataError: There is no row.
    """
    if not len(groups):
        raise DataError("A bootstrap needs at least one row, got none.")
    _, codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(num_resamples):
        drawn = rng.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[group] for group in drawn]), rng))
    values = np.asarray(values, np.float64)
    intervals = np.full((values.shape[1], 2), np.nan)
    for column in range(values.shape[1]):
        known = values[np.isfinite(values[:, column]), column]
        if len(known):
            intervals[column] = np.quantile(known, QUANTILES)
            if lifted is not None and np.isfinite(lifted[column]):
                intervals[column] = np.maximum(intervals[column] - (known.mean() - lifted[column]), 0.0)
    return intervals
