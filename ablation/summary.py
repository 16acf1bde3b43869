"""Finished runs -> the numbers of the table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from phenolip.ablation.rows import AblationRow
from phenolip.ablation.runs import ONTOLOGY_FOLDER, RunSpec, is_done, read_state
from phenolip.eval.compare import Difference, Run, compare_runs, load_run
from phenolip.eval.evaluators.retrieval import scaled_cutoff
from phenolip.eval.evaluators.zero_shot_variants import DEPTH
from phenolip.eval.tasks.registry import load_task

DIRECTIONS = ("i2t", "t2i", "i2p", "p2i")
TOP1 = "zero_shot_top1"


@dataclass(frozen=True, slots=True)
class Spread:
    """One number over the seeds.

    Attributes:
        mean: Over the seeds.
        std: Sample standard deviation; None of a single seed.
        seeds: The value of each seed.
    """

    mean: float
    std: float | None
    seeds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RowSummary:
    """One line of the table.

    Attributes:
        row: What was run.
        seeds: Seeds that are done.
        metrics: Name of a metric -> its values.
        mean: Mean of the metrics in `mean_of`, over the seeds.
        mean_of: Metrics that the mean and the difference are taken over.
        difference: Of the mean to that of the reference row, over the seeds that both have done; None without any. A
            seed fixes initialisation and order of both, so that only equal seeds are compared.
        difference_by_seed: The same difference seed by seed.
        seconds: Of one run, training and evaluation, averaged; None where the row trains nothing.
    """

    row: AblationRow
    seeds: tuple[int, ...]
    metrics: dict[str, Spread]
    mean: Spread
    mean_of: tuple[str, ...]
    difference: Difference | None
    difference_by_seed: Spread | None
    seconds: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the difference leaves out zero and every seed has the sign of the difference."""
        if self.difference is None:
            return False
        low, high = self.difference.ci95
        seeds = self.difference_by_seed.seeds
        return (low > 0 and min(seeds) > 0) or (high < 0 and max(seeds) < 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = asdict(self)
        row = values.pop("row")
        return {"id": row["id"], "title": row["title"], "group": row["group"], "reference": row["reference"], **values}


def summarise(rows: Mapping[str, AblationRow], specs: Sequence[RunSpec]) -> list[RowSummary]:
    """The rows that have finished runs, in the order of the table.

    Args:
        rows: Every row of the table.
        specs: Every run that could be there; those that are not done are left out.
    """
    done: dict[str, list[RunSpec]] = {}
    for spec in sorted(specs, key=lambda spec: spec.seed):
        if is_done(spec):
            done.setdefault(spec.row_id, []).append(spec)
    runs = {row.id: _runs(row, done[row.trained_row]) for row in rows.values() if row.trained_row in done}
    return [_summarise(rows[row_id], runs, done[rows[row_id].trained_row]) for row_id in runs]


def origins(results: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Distinct commits and machines of evaluations, in the order of their first appearance.

    Args:
        results: The content of each results.json.
    """
    distinct: dict[str, list[Any]] = {"git_commits": [], "hardware": []}
    for result in results:
        for values, name in zip(distinct.values(), ("git_commit", "hardware"), strict=True):
            if result.get(name) not in values:
                values.append(result.get(name))
    return distinct


def _runs(row: AblationRow, specs: Sequence[RunSpec]) -> dict[int, Run]:
    """Seed -> the evaluation that the row shows."""
    if row.variant is None:
        return {spec.seed: load_run(spec.folder) for spec in specs}
    return {spec.seed: variant_run(load_run(spec.folder / ONTOLOGY_FOLDER), row.variant) for spec in specs}


def variant_run(run: Run, variant: str) -> Run:
    """A run of phenobench_ontology as one variant saw it: its metrics under the plain names, and no others.

    The plain protocol of retrieval asks for bare names and has other metrics of the same name: those are left out.
    """
    suffix = f"_{variant}"
    names = {name: name.removesuffix(suffix) for name in run.values if name.endswith(suffix)}
    metrics = {plain: run.results["metrics"][name] for name, plain in names.items()}
    values = {plain: run.values[name] for name, plain in names.items()}
    return replace(run, results={**run.results, "metrics": metrics}, values=values)


def averaged_metrics(row: AblationRow, run: Run) -> tuple[str, ...]:
    """The metrics whose mean a row is judged by.

    Trained rows: hits of the four directions at the scaled cutoff. Variants of scoring change what concerns
    phenotypes alone: hits of both phenotype directions at 10, and zero-shot top 1.
    """
    if row.variant is not None:
        return (f"i2p_hit_at_{DEPTH}", f"p2i_hit_at_{DEPTH}", TOP1)
    cutoff = scaled_cutoff(run.results["n"], load_task(run.results["task"]).scaled_k)
    named = tuple(f"{direction}_hit_at_{cutoff}" for direction in DIRECTIONS)
    return tuple(name for name in named if name in run.values)  # without a label there are no phenotype directions


def _summarise(row: AblationRow, runs: Mapping[str, dict[int, Run]], specs: Sequence[RunSpec]) -> RowSummary:
    ours = list(runs[row.id].values())
    mean_of = averaged_metrics(row, ours[0])
    shown = tuple(dict.fromkeys([*mean_of, *([TOP1] if TOP1 in ours[0].values else [])]))
    values = np.array([[run.results["metrics"][name]["value"] for name in shown] for run in ours])  # (seeds, metrics)
    difference, by_seed = _compare(runs.get(row.reference, {}), runs[row.id], mean_of)
    seconds = [sum(read_state(spec.folder)["seconds"].values()) for spec in specs] if row.model is None else []
    return RowSummary(
        row=row,
        seeds=tuple(spec.seed for spec in specs),
        metrics={name: spread(values[:, column]) for column, name in enumerate(shown)},
        mean=spread(values[:, [shown.index(name) for name in mean_of]].mean(axis=1)),
        mean_of=mean_of,
        difference=difference,
        difference_by_seed=by_seed,
        seconds=float(np.mean(seconds)) if seconds else None,
    )


def _compare(
    reference: Mapping[int, Run], ours: Mapping[int, Run], metrics: Sequence[str]
) -> tuple[Difference | None, Spread | None]:
    """Difference over the common seeds, and its value for each of them."""
    seeds = [seed for seed in ours if seed in reference]
    if not seeds:
        return None, None
    difference = compare_runs([reference[seed] for seed in seeds], [ours[seed] for seed in seeds], metrics)

    def mean(run: Run) -> float:
        return float(np.mean([run.results["metrics"][name]["value"] for name in metrics]))

    return difference, spread([mean(ours[seed]) - mean(reference[seed]) for seed in seeds])


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of a value over seeds.

    Example:
        >>> spread([0.25, 0.75])
        Spread(mean=0.5, std=0.3535533905932738, seeds=(0.25, 0.75))
    """
    values = np.asarray(values, dtype=float)
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return Spread(float(values.mean()), std, tuple(values.tolist()))
