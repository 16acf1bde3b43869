"""The tasks on image-caption pairs, or on the ontology alone: results, predictions and pages in a folder."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import data_revision
from phenolip.eval.contamination import audit_task, clean_part, rows_of_pairs, training_index
from phenolip.eval.evaluators.base import EvaluationPairs, MemoEncoder, MetricValue, SupportsEncoding
from phenolip.eval.evaluators.knowledge import KnowledgeEvaluator
from phenolip.eval.evaluators.query_metrics import pair_clusters
from phenolip.eval.evaluators.ranked_retrieval import RankedRetrievalEvaluator
from phenolip.eval.evaluators.retrieval import RetrievalEvaluator, scaled_cutoff
from phenolip.eval.evaluators.zero_shot import Prediction, ZeroShotEvaluator
from phenolip.eval.evaluators.zero_shot_ontology import ZeroShotOntologyEvaluator
from phenolip.eval.load_encoder import load_encoder
from phenolip.eval.pair_protocol import Beside, measure_beside
from phenolip.eval.per_query import Queries, pair_queries
from phenolip.eval.run_record import Evaluation, describe_run, describe_task, write_run
from phenolip.eval.tasks.registry import SCALED, Task
from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.inference.adapters.registry import describe_model
from phenolip.inference.candidates import read_candidates
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import content_hash

logger = logging.getLogger(__name__)

REPORT_PACKAGES = ("jinja2", "matplotlib")


@dataclass(frozen=True, slots=True)
class Measurements:
    """What the evaluators of a task found.

    Attributes:
        metrics: Name of a metric -> its value.
        queries: Beginning of a metric's name -> the queries behind it.
        predictions: Best five phenotypes of each pair's image; empty for a task without data.
        breakdown: Hit rates of parts of the queries; empty for a task with data.
        about: What evaluators say of the data beside their metrics, for results.json.
    """

    metrics: dict[str, MetricValue]
    queries: dict[str, Queries]
    predictions: list[Prediction]
    breakdown: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)


def evaluate_pairs(
    task: Task,
    model: str | Path | SupportsEncoding,
    data: str | Path | None,
    output_dir: str | Path,
    *,
    split: str | None = None,
    candidates: str | Path | None = None,
    extra_k: Sequence[int | str] = (),
    hpo: str | Path | None = None,
    max_bad_fraction: float = 0.01,
    device: str | None = None,
    report: bool = True,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Evaluates a model on image-caption pairs, or on the ontology alone.

    Arguments are those of `phenolip.eval.run.evaluate`.

    Raises:
        ConfigurationError: The task, model or a setting cannot be used.
        DataError: The data cannot be read.
    """
    started = time.perf_counter()
    check_cutoffs(task, extra_k)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    ontology = load_ontology(hpo)
    pairs, about_data = None, {}
    if task.needs_data:
        chosen = read_candidates(candidates, ontology) if candidates is not None else None
        bad_rows_path = output_dir / "bad_rows.jsonl"
        dataset = load_pairs(
            data, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction, bad_rows_path=bad_rows_path
        )
        pairs = EvaluationPairs.from_dataset(dataset, ontology, candidates=chosen)
        about_data = {"data": str(data), "split": split, "data_revision": data_revision(dataset)}
    encoder = load_encoder(model, ontology, device)
    if task.needs_data:
        if not encoder.has_images:
            raise ConfigurationError(f"`model` {encoder.name} encodes text only; the task '{task.name}' needs images.")
        index = training_index(model, encoder)
        audit = audit_task(index, rows_of_pairs(pairs), encoder.name)
        about_data["contamination"] = None if audit is None else audit.summary()
        about_data["num_candidates"] = len(pairs.candidate_ids)
        about_data["candidates_hash"] = content_hash(sorted(pairs.candidate_ids))  # their order decides nothing
        about_data["ks"] = retrieval_cutoffs(task, len(pairs), extra_k)
    # Only evaluators of images share texts; the embeddings of a baseline may be sparse, which the memo cannot hold.
    asked = MemoEncoder(encoder) if pairs is not None else encoder
    measured = run_evaluators(asked, task, ontology, pairs, about_data.get("ks"))
    predictions, beside = measured.predictions, Beside(measured.metrics)
    if pairs is not None and task.extras:
        beside = measure_beside(
            task.extras,
            pairs,
            ontology,
            asked,
            measured.metrics,
            measured.queries,
            data=data,
            prompts=task.prompts,
            training_index=index,
            output_dir=output_dir,
        )
    if pairs is not None and audit is not None and audit.rows.any():
        about_data["contamination"]["clean"] = clean_pairs(pairs, beside.metrics, audit.rows)
    results = _results(task, encoder, measured, beside, about_data, len(pairs) if pairs is not None else None)
    results |= describe_run(ontology, started)
    evaluation = Evaluation(results, pairs, predictions, beside.hits)
    if pairs is not None:
        write_predictions(output_dir / "predictions.jsonl", pairs, predictions)
    write_run(output_dir, results, beside.metrics, measured.queries)
    if report:
        write_report_if_possible(evaluation, Path(report_path or output_dir / "report.html"))
    return evaluation


def _results(
    task: Task, encoder: Any, measured: Measurements, beside: Beside, about_data: dict[str, Any], num_pairs: int | None
) -> dict[str, Any]:
    """The content of results.json but for the circumstances of the run."""
    if num_pairs is None and task.primary_metric not in beside.metrics:
        near = near_matches(task.primary_metric, beside.metrics)
        raise ConfigurationError(
            f"The task '{task.name}' measures no '{task.primary_metric}', its primary metric.{near}"
        )
    return {
        **describe_task(
            task,
            encoder.name,
            describe_model(encoder),
            num_pairs if num_pairs is not None else beside.metrics[task.primary_metric].n,
            beside.metrics,
        ),
        **({"breakdown": measured.breakdown} if measured.breakdown else {}),
        **measured.about,
        **beside.about,
        **about_data,
    }


def check_cutoffs(task: Task, extra_k: Sequence[int | str]) -> None:
    """Finds wrong cutoffs before anything slow begins.

    Raises:
        ConfigurationError: A cutoff is out of range, or the task knows no scaled one.
    """
    for k in extra_k:
        if k == SCALED and task.scaled_k is None:
            raise ConfigurationError(f"`extra_k` 'scaled' needs a task with `scaled_k`, which '{task.name}' lacks.")
        if k != SCALED and (not isinstance(k, int) or k < 1):
            raise ConfigurationError(f"`extra_k` must hold whole numbers of at least 1 or 'scaled', got {k!r}.")


def retrieval_cutoffs(task: Task, num_pairs: int, extra_k: Sequence[int | str]) -> list[int]:
    """The task's cutoffs and the extra ones, ascending."""
    extra = [scaled_cutoff(num_pairs, task.scaled_k) if k == SCALED else k for k in extra_k]
    return sorted({*task.evaluators.get("retrieval", {}).get("ks", ()), *extra})


def run_evaluators(
    encoder: SupportsEncoding,
    task: Task,
    ontology: PhenotypeOntology,
    pairs: EvaluationPairs | None,
    ks: Sequence[int] | None,
) -> Measurements:
    """Asks the task's evaluators, in the order of the task."""
    metrics: dict[str, MetricValue] = {}
    queries = pair_queries(pairs) if pairs is not None else {}
    predictions: list[Prediction] = []
    breakdown: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for name, settings in task.evaluators.items():
        if name == "knowledge":
            evaluator = KnowledgeEvaluator(ontology, **settings)
            metrics |= evaluator(encoder)
            queries |= evaluator.queries
            breakdown = evaluator.breakdown(metrics)
        elif name == "retrieval":
            metrics |= RetrievalEvaluator(pairs, ks=ks)(encoder)
        elif name == "ranked_retrieval":
            evaluator = RankedRetrievalEvaluator(pairs, ontology, ks=ks, **settings)
            metrics |= evaluator(encoder)
            about |= evaluator.about
        elif name == "zero_shot_ontology":
            evaluator = ZeroShotOntologyEvaluator(pairs, ontology, **settings)
            metrics |= evaluator(encoder)
            queries |= evaluator.queries
        else:
            evaluator = ZeroShotEvaluator(pairs, ontology=ontology, **settings)
            metrics |= evaluator(encoder)
            predictions = evaluator.predict(encoder)
    if pairs is not None and not any(len(row) for row in pairs.labels):
        logger.warning("No row shows a candidate phenotype: only image-caption retrieval was scored.")
    return Measurements(metrics, queries, predictions, breakdown, about)


def clean_pairs(pairs: EvaluationPairs, metrics: dict[str, MetricValue], touched: NDArray) -> dict[str, Any]:
    """Scores of the pairs that are no training rows, their intervals over clusters."""
    everything = np.arange(len(pairs))
    labelled = everything[[len(row) > 0 for row in pairs.labels]]
    rows_of = {"i2t": everything, "t2i": everything, "i2p": labelled, "zero_shot": labelled}
    return clean_part(metrics, rows_of, touched, pair_clusters(pairs))


def write_predictions(path: Path, pairs: EvaluationPairs, predictions: Sequence[Prediction]) -> None:
    """One JSON line a row: its phenotypes and the best candidates with their cosine."""
    with path.open("w", encoding="utf-8") as file:
        for prediction in predictions:
            best = zip(prediction.candidates, prediction.cosines, strict=True)
            row = {
                "row_id": pairs.row_ids[prediction.row],
                "hpo_ids": [pairs.candidate_ids[label] for label in pairs.labels[prediction.row]],
                "predictions": [
                    {"hpo_id": pairs.candidate_ids[c], "name": pairs.candidate_names[c], "cosine": round(cosine, 6)}
                    for c, cosine in best
                ],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_report_if_possible(evaluation: Evaluation, path: Path) -> None:
    """Writes the report, or says once what it needs: results.json does not depend on it."""
    missing = [name for name in REPORT_PACKAGES if find_spec(name) is None]
    if missing:
        logger.warning("%s is not written: install %s (`pip install phenolip[eval]`).", path, " and ".join(missing))
        return
    # Imported here, since they need the packages above.
    if evaluation.pairs is None:
        from phenolip.eval.knowledge_report import write_knowledge_report

        write_knowledge_report(evaluation.results, path)
    else:
        from phenolip.eval.report import write_report

        write_report(evaluation.results, evaluation.pairs, evaluation.predictions, path)
        if evaluation.hits:
            from phenolip.eval.retrieval_pages import PAGES, write_retrieval_pages

            write_retrieval_pages(evaluation.results, evaluation.pairs, evaluation.hits, path.with_name(PAGES))
