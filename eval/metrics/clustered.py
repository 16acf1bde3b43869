"""Bootstrap intervals that draw whole clusters: cases, articles, or rows that share a caption or an image."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.bootstrap import NUM_RESAMPLES, QUANTILES, resample_counts


def joined_clusters(*keys: Sequence[object]) -> NDArray:
    """(N,) cluster of each row: rows that share a value of any key are in one, as are those linked by others.

    An empty text joins nothing.

    Example:
        >>> joined_clusters(["a", "a", "", ""], [1, 2, 2, 3]).tolist()
        [0, 0, 0, 1]
    """
    parents = list(range(len(keys[0])))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for key in keys:
        first: dict[object, int] = {}
        for row, value in enumerate(key):
            if value != "":
                a, b = root(first.setdefault(value, row)), root(row)
                parents[max(a, b)] = min(a, b)
    return np.unique([root(row) for row in range(len(parents))], return_inverse=True)[1]


def ratio_intervals(
    sums: NDArray, weights: NDArray, clusters: NDArray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> NDArray:
    """95 % percentile intervals of sums over sums of weights, clusters resampled.

    The mean over queries is the case of weights of 1. Resamples whose weights add up to 0 are left out.

    Shapes (Q queries, C columns): sums, weights (Q, C); clusters (Q,) codes; returns (C, 2), lower and upper.

    Example:
        >>> ratio_intervals(np.ones((4, 1)), np.ones((4, 1)), np.array([0, 0, 1, 1])).tolist()
        [[1.0, 1.0]]
    """
    codes, num_clusters = _codes(clusters)
    sums, weights = _by_cluster(sums, codes, num_clusters), _by_cluster(weights, codes, num_clusters)
    blocks = []
    for counts in resample_counts(num_clusters, num_resamples=num_resamples, seed=seed):
        weight = counts @ weights
        blocks.append(np.divide(counts @ sums, weight, out=np.full(weight.shape, np.nan), where=weight > 0))
    return np.nanquantile(np.concatenate(blocks), QUANTILES, axis=0).T


def clustered_mean_intervals(values: NDArray, clusters: NDArray, **options: int) -> NDArray:
    """95 % percentile intervals of column means, clusters resampled: (Q, C) values, (C, 2) intervals."""
    values = np.asarray(values, np.float64)
    return ratio_intervals(values, np.ones_like(values), clusters, **options)


def median_interval(values: NDArray, clusters: NDArray, **options: int) -> tuple[float, float]:
    """95 % percentile interval of a median, clusters resampled: (Q,) values, (Q,) clusters."""
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, np.float64)[order]

    def medians(counts: NDArray) -> NDArray:
        ends = counts[:, order].cumsum(axis=1)  # a value drawn n times takes n places
        total = ends[:, -1]
        low = [np.searchsorted(row, (size - 1) // 2, "right") for row, size in zip(ends, total, strict=True)]
        high = [np.searchsorted(row, size // 2, "right") for row, size in zip(ends, total, strict=True)]
        return (ordered[low] + ordered[high]) / 2

    return _interval(medians, clusters, **options)


def macro_interval(hits: NDArray, classes: NDArray, clusters: NDArray, **options: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over classes of the mean of a class, clusters resampled.

    A resample averages the classes that it holds.

    Shapes (A answers): hits (A,) values; classes (A,) codes; clusters (A,) codes.
    """
    names, codes = np.unique(classes, return_inverse=True)

    def means(counts: NDArray) -> NDArray:
        found = []
        for row in counts:
            weight = np.bincount(codes, weights=row, minlength=len(names))
            total = np.bincount(codes, weights=row * hits, minlength=len(names))
            found.append(np.mean(total[weight > 0] / weight[weight > 0]))
        return np.array(found)

    return _interval(means, clusters, **options)


def _interval(
    statistic: Callable[[NDArray], NDArray], clusters: NDArray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    codes, num_clusters = _codes(clusters)
    values = [
        statistic(counts[:, codes]) for counts in _blocks(num_clusters, len(codes), num_resamples, seed)
    ]  # counts of rows: those of their cluster
    low, high = np.quantile(np.concatenate(values), QUANTILES)
    return float(low), float(high)


def _blocks(num_clusters: int, num_rows: int, num_resamples: int, seed: int) -> Iterator[NDArray]:
    size = max(1, 2**22 // max(num_rows, 1))
    for counts in resample_counts(num_clusters, num_resamples=num_resamples, seed=seed):
        yield from (counts[start : start + size] for start in range(0, len(counts), size))


def _codes(clusters: NDArray) -> tuple[NDArray, int]:
    names, codes = np.unique(clusters, return_inverse=True)
    return codes.ravel(), len(names)


def _by_cluster(values: NDArray, codes: NDArray, num_clusters: int) -> NDArray:
    columns = [np.bincount(codes, weights=column, minlength=num_clusters) for column in np.asarray(values).T]
    return np.stack(columns, axis=1)
