"""Runs of one task against each other, query by query."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.multiplicity import sign_flip_p_value
from phenolip.eval.metrics.paired import (
    NUM_PAIRED_RESAMPLES,
    bootstrap_grand_mean,
    grand_mean_shares,
    paired_difference,
)
from phenolip.eval.per_query import PER_QUERY, QueryValues, read_clusters, read_per_query
from phenolip.exceptions import ConfigurationError, DataError, near_matches

__all__ = ["Difference", "Run", "check_comparable", "compare_runs", "load_run", "paired_difference"]

SAME = {  # what two runs must share -> how a message calls it
    "task": "task",
    "task_version": "task version",
    "data_revision": "data revision",
    "num_candidates": "number of candidate phenotypes",
    "hpo_release": "HPO release",
}
SAME_WHERE_STATED = {  # the same for what older results.json lack
    "candidates_hash": "candidate phenotypes",
    "prompts": "prompts",
    "settings": "settings of the task",
}
TOLERANCE = 1e-6  # between a mean of per-query values and the value in results.json


@dataclass(frozen=True, slots=True)
class Run:
    """An evaluation's output folder, read.

    Attributes:
        path: The folder.
        results: The content of results.json.
        values: Values of each metric that is a mean over queries.
        clusters: Unit -> query id -> cluster, which intervals draw whole; a unit without clusters has no entry.
    """

    path: Path
    results: dict[str, Any]
    values: dict[str, QueryValues]
    clusters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better b is than a, in the mean of some metrics.

    Attributes:
        difference: ``mean_b`` minus ``mean_a``: above 0 where b is better.
        ci95: Paired bootstrap 95 % percentile interval of the difference, lower and upper.
        n: Queries of each metric.
        mean_a: Mean over the metrics of side a, its seeds averaged.
        mean_b: The same of side b.
        num_runs: Runs (seeds) of side a and of side b.
        p_value: Two-sided, that the difference has no direction: signs of units or clusters flipped at random.
    """

    difference: float
    ci95: tuple[float, float]
    n: dict[str, int]
    mean_a: float
    mean_b: float
    num_runs: tuple[int, int]
    p_value: float = 1.0


def load_run(path: str | Path) -> Run:
    """Reads what `evaluate` wrote into a folder.

    Raises:
        ConfigurationError: The folder is no output of an evaluation.
        DataError: A file of it is damaged, or its files come from different evaluations.
    """
    path = Path(path)
    file = path / "results.json"
    if not file.is_file():
        raise ConfigurationError(
            f"A run must be a folder that `phenolip eval` wrote, got {path}, without results.json."
        )
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON: evaluate the model again.") from error
    if not isinstance(results, dict) or not {"task", "metrics"} <= results.keys():
        raise DataError(f"{file} must hold `task` and `metrics`: evaluate the model again.")
    if not (path / PER_QUERY).is_file():
        raise DataError(f"{path} has no {PER_QUERY}, which comparisons need: evaluate the model again.")
    values = read_per_query(path / PER_QUERY)
    for name, metric in values.items():
        stated = results["metrics"].get(name, {}).get("value")
        if stated is None or abs(stated - metric.values.mean()) > TOLERANCE:
            raise DataError(f"{path}: {PER_QUERY} and results.json disagree on {name}: evaluate the model again.")
    return Run(path, results, values, read_clusters(path))


def check_comparable(runs: Sequence[Run]) -> None:
    """Sees that all runs are of one task with its settings, of one version, data, HPO release and candidates.

    Raises:
        ConfigurationError: Two runs differ in one of them.
    """
    first = runs[0]
    for run in runs[1:]:
        for key, title in SAME.items():
            ours, theirs = first.results.get(key), run.results.get(key)
            if ours != theirs:
                raise ConfigurationError(
                    f"Runs must share their {title} to be compared: {first.path} has {ours!r}, {run.path} {theirs!r}."
                )
    for key, title in SAME_WHERE_STATED.items():
        stated = [run for run in runs if run.results.get(key) is not None]
        for run in stated[1:]:
            if run.results[key] != stated[0].results[key]:
                raise ConfigurationError(
                    f"Runs must share their {title} to be compared: those of {stated[0].path} and {run.path} differ."
                )


def compare_runs(
    runs_a: Sequence[str | Path | Run],
    runs_b: Sequence[str | Path | Run],
    metrics: Sequence[str],
    *,
    num_resamples: int = NUM_PAIRED_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Difference of two models, b minus a, in the mean of some metrics, with a paired bootstrap over queries.

    A side may be several training seeds of one model: their values are averaged query by query. The unit that is
    resampled is the image-caption pair for i2t, t2i, i2p and zero-shot, so that a pair drawn twice counts twice in
    each of them; the phenotype for p2i; the synonym, or the definition, for the knowledge task. Different units are
    drawn independently of each other. Candidates stay as they are. Where the evaluation wrote the clusters of its
    pairs (cases, articles, shared captions), these are drawn whole.

    Args:
        runs_a: Output folders of evaluations, or runs from `load_run`: the reference.
        runs_b: The same of the model that is compared with it.
        metrics: Names of metrics that are means over queries.
        num_resamples: Resamples to draw.
        seed: Seed of the draws.

    Raises:
        ConfigurationError: Nothing to compare, runs of different tasks or data, or an unknown metric.
        DataError: A run cannot be read, or was asked other queries.
    """
    sides = [[run if isinstance(run, Run) else load_run(run) for run in side] for side in (runs_a, runs_b)]
    if not sides[0] or not sides[1] or not metrics:
        raise ConfigurationError(
            f"`runs_a`, `runs_b` and `metrics` must each hold at least one, got {len(sides[0])}, {len(sides[1])} "
            f"and {len(metrics)}."
        )
    metrics = list(dict.fromkeys(metrics))
    check_comparable([*sides[0], *sides[1]])
    queries = {name: common_queries([*sides[0], *sides[1]], name) for name in metrics}
    a, b = ({name: seed_mean(side, name) for name in metrics} for side in sides)
    differences = {name: QueryValues(queries[name].unit, queries[name].ids, b[name] - a[name]) for name in metrics}
    groups, clusters = by_unit(differences), clusters_by_unit(differences, sides[0][0].clusters)
    difference, ci95 = bootstrap_grand_mean(groups, clusters=clusters, num_resamples=num_resamples, seed=seed)
    return Difference(
        difference,
        ci95,
        n={name: len(queries[name].ids) for name in metrics},
        mean_a=float(np.mean([values.mean() for values in a.values()])),
        mean_b=float(np.mean([values.mean() for values in b.values()])),
        num_runs=(len(sides[0]), len(sides[1])),
        p_value=sign_flip_p_value(grand_mean_shares(groups, clusters), seed=seed),
    )


def common_queries(runs: Sequence[Run], metric: str) -> QueryValues:
    """The first run's values of a metric, once all runs are known to have been asked the same queries.

    Raises:
        ConfigurationError: A run lacks the metric, or the metric has no value per query.
        DataError: The queries differ.
    """
    for run in runs:
        if metric not in run.values:
            if metric in run.results["metrics"]:
                raise ConfigurationError(f"Metric '{metric}' has no value per query: only means can be compared so.")
            raise ConfigurationError(f"{run.path} has no metric '{metric}'.{near_matches(metric, run.values)}")
    first = runs[0].values[metric]
    for run in runs[1:]:
        if not np.array_equal(first.ids, run.values[metric].ids):
            raise DataError(f"{runs[0].path} and {run.path} were asked different queries in {metric}.")
    return first


def seed_mean(runs: Sequence[Run], metric: str) -> NDArray:
    """(n,) value of each query, averaged over runs."""
    return np.mean([run.values[metric].values for run in runs], axis=0)


def by_unit(values: dict[str, QueryValues]) -> list[NDArray]:
    """One array a resampling unit, in the order of the units' names: rows are units, columns metrics, NaN unasked."""
    groups = []
    for unit, ids in _ids_by_unit(values).items():
        members = [metric for metric in values.values() if metric.unit == unit]
        rows = {query: row for row, query in enumerate(ids)}
        group = np.full((len(rows), len(members)), np.nan)
        for column, metric in enumerate(members):
            group[[rows[query] for query in metric.ids], column] = metric.values
        groups.append(group)
    return groups


def clusters_by_unit(
    values: dict[str, QueryValues], clusters: Mapping[str, Mapping[str, int]]
) -> list[NDArray | None]:
    """The clusters of the rows of each group of `by_unit`; None for a unit without, or where a query has none."""
    found: list[NDArray | None] = []
    for unit, ids in _ids_by_unit(values).items():
        known = clusters.get(unit, {})
        found.append(np.array([known[query] for query in ids]) if all(query in known for query in ids) else None)
    return found


def _ids_by_unit(values: dict[str, QueryValues]) -> dict[str, list[str]]:
    units = sorted({metric.unit for metric in values.values()})
    return {
        unit: sorted(set().union(*(metric.ids for metric in values.values() if metric.unit == unit))) for unit in units
    }
