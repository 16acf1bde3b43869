"""What every run writes, whatever its task: results.json begins and ends alike, per_query.parquet lies beside it."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue
from phenolip.eval.evaluators.zero_shot import Prediction
from phenolip.eval.per_query import PER_QUERY, Queries, write_per_query
from phenolip.eval.retrieval_hits import DirectionHits
from phenolip.eval.tasks.registry import Task
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.provenance import git_commit, hardware, package_versions, write_json


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one run found.

    Attributes:
        results: The content of results.json.
        pairs: The pairs that were scored; None for a task on other data, or without any.
        predictions: Best five phenotypes of each pair's image; empty for a task without pairs.
        hits: Best candidates of a few queries, by direction; empty where the task does not ask for them.
    """

    results: dict[str, Any]
    pairs: EvaluationPairs | None = None
    predictions: list[Prediction] = field(default_factory=list)
    hits: list[DirectionHits] = field(default_factory=list)


def describe_task(
    task: Task, model: str, encoder: dict[str, Any], n: int, metrics: Mapping[str, MetricValue]
) -> dict[str, Any]:
    """How results.json begins: task, model by name and by `describe_model`, how many were scored, the scores."""
    return {
        "task": task.name,
        "task_version": task.version,
        "primary_metric": task.primary_metric,
        "model": model,
        "encoder": encoder,
        "n": n,
        **describe_metrics(metrics),
        "prompts": task.prompts,
        "settings": task.evaluators,
    }


def describe_metrics(metrics: Mapping[str, MetricValue]) -> dict[str, Any]:
    """The metrics as JSON values, and beside them the chance level of those that have one."""
    return {
        "metrics": {
            name: {"value": _number(metric.value), "ci95": [_number(bound) for bound in metric.ci95], "n": metric.n}
            for name, metric in metrics.items()
        },
        "chance": {name: metric.chance for name, metric in metrics.items() if metric.chance is not None},
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON knows no NaN, as of a correlation with a constant


def describe_run(ontology: PhenotypeOntology | None, started: float) -> dict[str, Any]:
    """How results.json ends: release, code, machine and the seconds since `started` of `time.perf_counter`."""
    return {
        "hpo_release": ontology.release if ontology else None,
        "hpo_sha256": ontology.sha256 if ontology else None,
        "git_commit": git_commit(),
        "package_versions": package_versions(),
        "hardware": hardware(),
        "seconds": round(time.perf_counter() - started, 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_run(
    output_dir: Path,
    results: dict[str, Any],
    metrics: Mapping[str, MetricValue],
    queries: Mapping[str, Queries],
) -> None:
    """Writes per_query.parquet and, last of all, results.json: where it is, the run is whole."""
    output_dir.mkdir(parents=True, exist_ok=True)
    write_per_query(output_dir / PER_QUERY, metrics, queries)
    write_json(output_dir / "results.json", results)
