"""Results by organ system, by frequency in training and by any metadata column, each with n and interval."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue
from phenolip.eval.evaluators.query_metrics import mean_metric
from phenolip.ontology.graph import PhenotypeOntology

METRICS = (  # broken down where a run has them
    "i2t_hit_at_10",
    "t2i_hit_at_10",
    "i2t_hit_at_10_masked",
    "i2p_hit_at_10",
    "zero_shot_top1",
    "zero_shot_top5",
    "zero_shot_lin_similarity",
    "zero_shot_hierarchical_f1_macro",
)
BY_PHENOTYPE = ("p2i_hit_at_10", "macro_zero_shot_top1")
HEAD, MIDDLE = 100, 10  # training pairs of a phenotype, from which it is one or the other; ours
FREQUENCIES = {
    "head": f"at least {HEAD} training pairs",
    "middle": f"{MIDDLE} to {HEAD - 1}",
    "tail": f"1 to {MIDDLE - 1}",
    "unseen": "none",
}


@dataclass(frozen=True, slots=True)
class Groups:
    """Named parts of the rows and of the phenotypes; a row or phenotype may be in several.

    Attributes:
        by: What the parts are, such as "organ system".
        names: Key of a part -> its name.
        rows: Key -> (N,) bool over the pairs.
        candidates: Key -> (P,) bool over the candidates; empty where the parts are no parts of phenotypes.
    """

    by: str
    names: dict[str, str]
    rows: dict[str, NDArray]
    candidates: dict[str, NDArray]


def breakdowns(
    pairs: EvaluationPairs,
    ontology: PhenotypeOntology,
    metrics: Mapping[str, MetricValue],
    clusters: NDArray,
    training_index: Path | None,
) -> list[dict[str, Any]]:
    """One entry a way to part the queries, or the reason why it is left out.

    Args:
        pairs: The pairs that were scored.
        ontology: Systems of the phenotypes.
        metrics: The metrics of the run, with values per query.
        clusters: (N,) what the intervals draw.
        training_index: The model's table of its training rows, if it has one.
    """
    entries = []
    if any(len(row) for row in pairs.labels):
        entries.append(_entry(by_system(pairs, ontology), pairs, metrics, clusters))
        counts = training_counts(training_index, ontology)
        if isinstance(counts, str):
            entries.append({"by": "training frequency", "omitted": counts})
        else:
            entries.append(_entry(by_frequency(pairs, counts), pairs, metrics, clusters))
    else:
        reason = "No row shows a candidate phenotype."
        entries += [{"by": by, "omitted": reason} for by in ("organ system", "training frequency")]
    entries += [_entry(by_column(name, values), pairs, metrics, clusters) for name, values in pairs.columns.items()]
    return entries


def by_system(pairs: EvaluationPairs, ontology: PhenotypeOntology) -> Groups:
    """Parts by child of HP:0000118; a phenotype is in each of its systems, an image in those of its labels."""
    systems = [ontology.systems(hpo_id) if hpo_id in ontology else () for hpo_id in pairs.candidate_ids]
    keys = sorted(set().union(*systems))
    candidates = {key: np.array([key in own for own in systems]) for key in keys}
    names = {key: ontology[key].name for key in keys}
    return Groups("organ system", names, _rows_of(pairs, candidates), candidates)


def by_frequency(pairs: EvaluationPairs, counts: Mapping[str, int]) -> Groups:
    """Parts by how many training pairs show a phenotype; an image is in those of its labels."""
    numbers = np.array([counts.get(hpo_id, 0) for hpo_id in pairs.candidate_ids])
    candidates = {
        "head": numbers >= HEAD,
        "middle": (numbers >= MIDDLE) & (numbers < HEAD),
        "tail": (numbers >= 1) & (numbers < MIDDLE),
        "unseen": numbers == 0,
    }
    names = {key: f"{key} ({text})" for key, text in FREQUENCIES.items()}
    return Groups("training frequency", names, _rows_of(pairs, candidates), candidates)


def by_column(name: str, values: Sequence[str]) -> Groups:
    """Parts by the value of a metadata column."""
    array = np.array(values, dtype=object)
    keys = sorted(set(values))
    return Groups(name, {key: key or "(none)" for key in keys}, {key: array == key for key in keys}, {})


def training_counts(path: Path | None, ontology: PhenotypeOntology) -> dict[str, int] | str:
    """Training pairs that show each phenotype, or why that is not known."""
    if path is None:
        return "The model carries no training_index.parquet."
    try:
        if "hpo_ids" not in pq.read_schema(path).names:
            return "The model's training_index.parquet holds no labels (column hpo_ids)."
        rows = pq.read_table(path, columns=["hpo_ids"])["hpo_ids"].to_pylist()
    except (OSError, pa.ArrowException):
        return "The model's training_index.parquet cannot be read."
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update({ontology.resolve(hpo_id) for hpo_id in row or () if hpo_id in ontology})
    return dict(counts)


def _rows_of(pairs: EvaluationPairs, candidates: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {key: np.array([bool(inside[row].any()) for row in pairs.labels]) for key, inside in candidates.items()}


def _entry(
    groups: Groups, pairs: EvaluationPairs, metrics: Mapping[str, MetricValue], clusters: NDArray
) -> dict[str, Any]:
    labelled = np.array([len(row) > 0 for row in pairs.labels])
    shown = np.zeros(len(pairs.candidate_ids), bool)
    shown[np.concatenate(pairs.labels).astype(int)] = True
    rows = []
    for key, name in groups.names.items():
        found = {}
        for metric in (*METRICS, *BY_PHENOTYPE):
            if metric not in metrics or (metric in BY_PHENOTYPE and key not in groups.candidates):
                continue
            if metric in BY_PHENOTYPE:
                part, units = groups.candidates[key][shown], np.arange(int(shown.sum()))
            elif metric.startswith(("i2p", "zero_shot")):
                part, units = groups.rows[key][labelled], clusters[labelled]
            else:
                part, units = groups.rows[key], clusters
            if part.any():
                found[metric] = _value(mean_metric(metrics[metric].per_query[part], units[part]))
        if found:
            rows.append({"key": key, "name": name, "n": int(groups.rows[key].sum()), "metrics": found})
    return {"by": groups.by, "rows": rows}


def _value(metric: MetricValue) -> dict[str, Any]:
    return {"value": metric.value, "ci95": list(metric.ci95), "n": metric.n}
