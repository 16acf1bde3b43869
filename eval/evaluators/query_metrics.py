"""Values of queries -> metrics whose intervals draw whole clusters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue
from phenolip.eval.metrics.clustered import clustered_mean_intervals, joined_clusters, median_interval, ratio_intervals
from phenolip.eval.per_query import Queries


def pair_clusters(pairs: EvaluationPairs) -> NDArray:
    """(N,) cluster of each pair: pairs of one case or article, of one caption or of one image are one draw."""
    groups = pairs.group_ids or ("",) * len(pairs)
    return joined_clusters(groups, pairs.caption_codes.tolist(), pairs.image_codes.tolist())


def describe_clusters(pairs: EvaluationPairs, clusters: NDArray) -> dict[str, object]:
    """What is drawn by the intervals, for results.json."""
    has_groups = any(pairs.group_ids)
    unit = "case or article (group_id), " if has_groups else ""
    return {
        "unit": f"{unit}identical captions and identical images joined",
        "has_group_ids": has_groups,
        "num_clusters": len(np.unique(clusters)),
        "num_pairs": len(pairs),
    }


def mean_metric(values: NDArray, clusters: NDArray, chance: float | None = None) -> MetricValue:
    """The mean of the queries' values."""
    values = np.asarray(values, np.float64)
    low, high = clustered_mean_intervals(values[:, None], clusters)[0]
    return MetricValue(float(values.mean()), (float(low), float(high)), len(values), chance, values)


def median_metric(values: NDArray, clusters: NDArray, chance: float | None = None) -> MetricValue:
    """The median of the queries' values, which is no mean and so has no value per query."""
    return MetricValue(float(np.median(values)), median_interval(values, clusters), len(values), chance)


def ratio_metric(sums: NDArray, weights: NDArray, clusters: NDArray, chance: float | None = None) -> MetricValue:
    """Sum over sum of weights, as a micro average; it has no value per query."""
    sums, weights = np.asarray(sums, np.float64), np.asarray(weights, np.float64)
    low, high = ratio_intervals(sums[:, None], weights[:, None], clusters)[0]
    return MetricValue(float(sums.sum() / weights.sum()), (float(low), float(high)), len(sums), chance)


def with_clusters(
    metrics: Mapping[str, MetricValue], queries: Mapping[str, Queries], clusters: Mapping[str, Sequence[int] | NDArray]
) -> dict[str, MetricValue]:
    """The metrics, the intervals of means over pairs drawn by cluster; values stay.

    Args:
        metrics: The metrics of a run.
        queries: Beginning of a metric's name -> its queries.
        clusters: Beginning of a metric's name -> cluster of each of its queries; others stay as they are.
    """
    changed = dict(metrics)
    families: dict[str, list[str]] = {}
    for name, metric in metrics.items():
        family = next((family for family in queries if name.startswith(f"{family}_")), None)
        if family in clusters and metric.per_query is not None:
            families.setdefault(family, []).append(name)
    for family, names in families.items():
        columns = np.stack([metrics[name].per_query for name in names], axis=1)
        for name, (low, high) in zip(names, clustered_mean_intervals(columns, clusters[family]), strict=True):
            changed[name] = replace(metrics[name], ci95=(float(low), float(high)))
    return changed
