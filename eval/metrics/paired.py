"""Paired bootstrap: is one model better than another on the same queries?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phenolip.eval.metrics.bootstrap import QUANTILES, resample_counts

NUM_PAIRED_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of b minus mean of a over the same queries.

    Attributes:
        difference: Above 0 where b is better.
        ci95: 95 % percentile interval, lower and upper.
        n: Queries.
    """

    difference: float
    ci95: tuple[float, float]
    n: int


def paired_difference(
    values_a: ArrayLike, values_b: ArrayLike, *, num_resamples: int = NUM_PAIRED_RESAMPLES, seed: int = 0
) -> PairedDifference:
    """Difference of two means, b minus a, with a bootstrap over the queries that both answered.

    Several training seeds of a side are averaged query by query first: the interval then speaks of other queries for
    these trained models, and the spread between seeds is made smaller, not measured (Efron and Tibshirani 1993,
    ch. 13, for the percentile interval; the pairing makes what is hard for both models cancel).

    Args:
        values_a: Value of each query under a.
        values_b: The same queries in the same order under b.
        num_resamples: Resamples to draw.
        seed: Seed of the draws.

    Shapes (Q queries, S seeds of a side, which may differ): (Q,) or (S, Q).

    Raises:
        ValueError: The sides have no or different queries, or a value is not finite.

    Example:
        >>> paired_difference([0, 0, 1, 1], [[1, 0, 1, 1], [1, 1, 1, 1]]).difference
        0.375
    """
    a, b = _seed_mean(values_a, "values_a"), _seed_mean(values_b, "values_b")
    if len(a) != len(b):
        raise ValueError(f"`values_a` and `values_b` must be of the same queries, got {len(a)} and {len(b)} of them.")
    difference, ci95 = bootstrap_grand_mean([(b - a)[:, None]], num_resamples=num_resamples, seed=seed)
    return PairedDifference(difference, ci95, len(a))


def bootstrap_grand_mean(
    groups: Sequence[NDArray],
    *,
    clusters: Sequence[NDArray | None] | None = None,
    num_resamples: int = NUM_PAIRED_RESAMPLES,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """Mean over metrics of their means over queries, and its 95 % percentile interval.

    A group is a set of metrics that share their resampling unit: its rows are drawn together for all its columns, so
    that the metrics of one row move as one; groups are drawn independently of each other. A metric that does not ask
    about every row averages the rows that it has in each resample; a resample without any of them is left out.

    Args:
        groups: One array a group, NaN where a metric (column) has no value for a unit (row).
        clusters: For each group the clusters of its units, which are drawn whole, or None; by default none.
        num_resamples: Resamples to draw.
        seed: Seed of the draws.

    Shapes (U units, M metrics): each (U, M).

    Example:
        >>> bootstrap_grand_mean([np.array([[1.0, 0.0], [1.0, np.nan]]), np.array([[0.5]])])
        (0.5, (0.5, 0.5))
    """
    value = float(np.mean(np.concatenate([np.nanmean(group, axis=0) for group in groups])))
    num_metrics = sum(group.shape[1] for group in groups)
    total = np.zeros(num_resamples)
    for number, group in enumerate(groups):
        drawn = clusters[number] if clusters is not None else None
        total += _resampled_means(group, num_resamples, (seed, number), drawn).sum(axis=1)
    lower, upper = np.nanquantile(total / num_metrics, QUANTILES)
    return value, (float(lower), float(upper))


def grand_mean_shares(groups: Sequence[NDArray], clusters: Sequence[NDArray | None] | None = None) -> NDArray:
    """What each independent unit, or cluster of units, adds to the grand mean; the shares add up to it.

    Example:
        >>> grand_mean_shares([np.array([[1.0], [0.0], [1.0], [0.0]])], [np.array([0, 0, 1, 1])]).tolist()
        [0.25, 0.25]
    """
    num_metrics = sum(group.shape[1] for group in groups)
    shares = []
    for number, group in enumerate(groups):
        numbers = (~np.isnan(group)).sum(axis=0)
        share = np.nansum(group / numbers / num_metrics, axis=1)
        drawn = clusters[number] if clusters is not None else None
        shares.append(share if drawn is None else _cluster_sums(share[:, None], drawn)[:, 0])
    return np.concatenate(shares)


def _resampled_means(values: NDArray, num_resamples: int, seed: Sequence[int], clusters: NDArray | None) -> NDArray:
    """(resamples, M) means of the columns; NaN where a resample holds no value of a column."""
    has_value = ~np.isnan(values)
    filled, weights = np.where(has_value, values, 0.0), has_value.astype(np.float64)
    if clusters is not None:
        filled, weights = _cluster_sums(filled, clusters), _cluster_sums(weights, clusters)
    blocks = []
    for counts in resample_counts(len(filled), num_resamples=num_resamples, seed=seed):
        weight = counts @ weights
        blocks.append(np.divide(counts @ filled, weight, out=np.full(weight.shape, np.nan), where=weight > 0))
    return np.concatenate(blocks)


def _cluster_sums(values: NDArray, clusters: NDArray) -> NDArray:
    """(C, M) sums of the rows of each cluster."""
    names, codes = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes.ravel(), values)
    return sums


def _seed_mean(values: ArrayLike, name: str) -> NDArray:
    values = np.asarray(values, np.float64)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(f"`{name}` must be (queries,) or (seeds, queries) and not empty, got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return values if values.ndim == 1 else values.mean(axis=0)
