"""What a task on image-caption pairs may ask for beside its metrics: clusters, breakdowns, checks, best hits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from phenolip.eval.breakdowns import breakdowns
from phenolip.eval.checks import run_checks
from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue, SupportsEncoding
from phenolip.eval.evaluators.query_metrics import describe_clusters, pair_clusters, with_clusters
from phenolip.eval.evaluators.zero_shot import DEFAULT_PROMPTS
from phenolip.eval.metadata import metadata_columns
from phenolip.eval.per_query import Queries, write_clusters
from phenolip.eval.retrieval_hits import DirectionHits, best_hits
from phenolip.ontology.graph import PhenotypeOntology

PAIR_FAMILIES = ("i2t", "t2i", "i2p", "zero_shot")  # beginnings of metrics whose queries are pairs


@dataclass(frozen=True, slots=True)
class Beside:
    """What was found beside the metrics.

    Attributes:
        metrics: The metrics, their intervals by cluster where the task says so.
        about: More keys of results.json.
        hits: Best candidates of a few queries, by direction.
    """

    metrics: dict[str, MetricValue]
    about: dict[str, Any] = field(default_factory=dict)
    hits: list[DirectionHits] = field(default_factory=list)


def measure_beside(
    extras: Sequence[str],
    pairs: EvaluationPairs,
    ontology: PhenotypeOntology,
    encoder: SupportsEncoding,
    metrics: Mapping[str, MetricValue],
    queries: Mapping[str, Queries],
    *,
    data: str | Path,
    prompts: Sequence[str] | None,
    training_index: Path | None,
    output_dir: Path,
) -> Beside:
    """Adds what the task asks for; a task that asks for nothing gets its metrics back.

    Args:
        extras: Of "clusters", "breakdowns", "checks" and "hits".
        pairs: The pairs that were scored.
        ontology: The release.
        encoder: The model, which has encoded the pairs before.
        metrics: The metrics of the run.
        queries: Beginning of a metric's name -> its queries.
        data: As given to `load_pairs`; its metadata columns part the results.
        prompts: Templates of zero-shot classification.
        training_index: The model's table of its training rows, if it has one.
        output_dir: Receives clusters.parquet.
    """
    found = Beside(dict(metrics))
    clusters = pair_clusters(pairs)
    if "clusters" in extras:
        by_family = query_clusters(pairs, clusters)
        found = replace(found, metrics=with_clusters(metrics, queries, by_family))
        write_clusters(output_dir, "pair", queries["i2t"].ids, clusters)
        found.about["intervals"] = describe_clusters(pairs, clusters)
    else:
        clusters = np.arange(len(pairs))
    if "breakdowns" in extras:
        pairs = replace(pairs, columns=metadata_columns(data, pairs.row_ids))
        found.about["breakdowns"] = breakdowns(pairs, ontology, found.metrics, clusters, training_index)
    if "checks" in extras:
        prompts = prompts or DEFAULT_PROMPTS
        found.about["checks"] = run_checks(pairs, encoder, found.metrics, queries, prompts)
    return replace(found, hits=best_hits(pairs, encoder)) if "hits" in extras else found


def query_clusters(pairs: EvaluationPairs, clusters: np.ndarray) -> dict[str, np.ndarray]:
    """Beginning of a metric's name -> cluster of each of its queries, for metrics whose queries are pairs."""
    labelled = np.array([len(row) > 0 for row in pairs.labels])
    return {family: clusters if family in ("i2t", "t2i") else clusters[labelled] for family in PAIR_FAMILIES}
