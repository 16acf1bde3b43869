"""One model, one task -> results.json, per_query.parquet, predictions.jsonl and report.html in a folder."""

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import data_revision
from phenolip.eval.contamination import (  # noqa: F401 - two of them are for tasks of other modules
    TRAINING_INDEX,
    TaskRows,
    audit_task,
    clean_part,
    find_contamination,
    training_index,
)
from phenolip.eval.evaluators.base import EvaluationPairs, MemoEncoder, MetricValue, SupportsEncoding
from phenolip.eval.evaluators.knowledge import KnowledgeEvaluator
from phenolip.eval.evaluators.query_metrics import pair_clusters
from phenolip.eval.evaluators.ranked_retrieval import RankedRetrievalEvaluator
from phenolip.eval.evaluators.retrieval import RetrievalEvaluator, scaled_cutoff
from phenolip.eval.evaluators.zero_shot import Prediction, ZeroShotEvaluator
from phenolip.eval.evaluators.zero_shot_ontology import ZeroShotOntologyEvaluator
from phenolip.eval.pair_protocol import Beside, measure_beside
from phenolip.eval.per_query import PER_QUERY, Queries, pair_queries, write_per_query
from phenolip.eval.retrieval_hits import DirectionHits
from phenolip.eval.tasks.registry import Task, load_task
from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.registry import describe_model, load_model
from phenolip.inference.candidates import read_candidates
from phenolip.inference.encoder import Encoder
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import content_hash, git_commit, hardware, package_versions, write_json

logger = logging.getLogger(__name__)

REPORT_PACKAGES = ("jinja2", "matplotlib")
SCALED = "scaled"
TFIDF = "tfidf"  # the model's name on the command line; a folder of that name is ./tfidf


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one run found.

    Attributes:
        results: The content of results.json.
        pairs: The pairs that were scored; None for a task without data.
        predictions: Best five phenotypes of each pair's image; empty for a task without data.
        hits: Best candidates of a few queries, by direction; empty where the task does not ask for them.
    """

    results: dict[str, Any]
    pairs: EvaluationPairs | None
    predictions: list[Prediction]
    hits: list[DirectionHits] = field(default_factory=list)


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


def evaluate(
    model: str | Path | Encoder,
    task: str | Path,
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
    """Evaluates a model on a task and writes the results.

    Args:
        model: Folder, Hub id, "tfidf" for the baseline that knows no more than the names of the terms, or an encoder
            that is already loaded.
        task: Name of a task, or path of a task YAML.
        data: Image-caption pairs, in any form that `load_pairs` takes; None for a task without data.
        output_dir: Receives results.json, per_query.parquet, report.html and, for a task with data,
            predictions.jsonl.
        split: Split to read where the data has several.
        candidates: File of candidate phenotypes; by default those that occur in the data.
        extra_k: More cutoffs for retrieval; "scaled" means round(10 N / the task's `scaled_k`).
        hpo: hp.obo or hp.json; by default the release that is installed.
        max_bad_fraction: Share of unusable rows that is tolerated; they are listed in bad_rows.jsonl.
        device: Device of the model; by default a GPU if there is one.
        report: Write report.html.
        report_path: Where the report goes instead; it carries its images and needs no other file.

    Raises:
        ConfigurationError: The task, model or a setting cannot be used.
        DataError: The data cannot be read.
    """
    started = time.perf_counter()
    task = load_task(task)
    check_request(task, data, candidates, extra_k)
    if task.stands_alone:
        from phenolip.eval.lone_tasks import evaluate_alone  # here, since those tasks need this module

        reading = {"split": split, "candidates": candidates, "hpo": hpo, "max_bad_fraction": max_bad_fraction}
        return evaluate_alone(task, model, data, output_dir, device=device, report_path=report_path, **reading)
    if "faces" in task.evaluators:
        from phenolip.eval.faces_task import evaluate_faces

        reading = {"split": split, "candidates": candidates, "hpo": hpo}
        return evaluate_faces(task, model, data, output_dir, device=device, report_path=report_path, **reading)
    if "segmentation" in task.evaluators:
        _warn_of_ignored(task, split=split, candidates=candidates, extra_k=extra_k or None, hpo=hpo)
        from phenolip.eval.segmentation_task import evaluate_segmentation

        return evaluate_segmentation(
            task, model, data, output_dir, device=device, report=report, report_path=report_path
        )
    if task.has_classes:
        _warn_of_ignored(task, split=split, candidates=candidates, extra_k=extra_k or None, hpo=hpo)
        from phenolip.eval.class_tasks import evaluate_classes  # here, since it needs scikit-learn

        return evaluate_classes(task, model, data, output_dir, device=device, report=report, report_path=report_path)
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
    results |= describe_run(ontology, time.perf_counter() - started)
    write_per_query(output_dir / PER_QUERY, beside.metrics, measured.queries)
    write_json(output_dir / "results.json", results)
    evaluation = Evaluation(results, pairs, predictions, beside.hits)
    if pairs is not None:
        write_predictions(output_dir / "predictions.jsonl", pairs, predictions)
    if report:
        write_report_if_possible(evaluation, Path(report_path or output_dir / "report.html"))
    return evaluation


def _warn_of_ignored(task: Task, **settings: Any) -> None:
    for name, value in settings.items():
        if value is not None:
            logger.warning("`%s` is ignored: the task '%s' is on classes, not on phenotypes.", name, task.name)


def _results(
    task: Task, encoder: Any, measured: Measurements, beside: Beside, about_data: dict[str, Any], num_pairs: int | None
) -> dict[str, Any]:
    """The content of results.json but for the circumstances of the run."""
    return {
        "task": task.name,
        "task_version": task.version,
        "primary_metric": task.primary_metric,
        "model": encoder.name,
        "encoder": describe_model(encoder),
        "n": num_pairs if num_pairs is not None else beside.metrics[task.primary_metric].n,
        **describe_metrics(beside.metrics),
        **({"breakdown": measured.breakdown} if measured.breakdown else {}),
        **measured.about,
        **beside.about,
        "prompts": task.prompts,
        "settings": task.evaluators,
        **about_data,
    }


def load_encoder(model: str | Path | SupportsEncoding, ontology: PhenotypeOntology, device: str | None) -> Any:
    """The encoder itself, the baseline that is named, or the encoder of a folder or Hub id.

    Raises:
        ConfigurationError: The model cannot be used, or the baseline lacks a package.
    """
    if not isinstance(model, (str, Path)):
        return model
    if str(model) != TFIDF:
        return load_model(model, device)
    if find_spec("sklearn") is None:
        raise ConfigurationError(f"`model` {TFIDF} needs scikit-learn: `pip install phenolip[eval]`.")
    from phenolip.eval.baselines import TfidfEncoder  # here, since it needs the package above

    return TfidfEncoder([ontology[hpo_id].name for hpo_id in ontology.term_ids()])


def check_request(
    task: Task, data: str | Path | None, candidates: str | Path | None, extra_k: Sequence[int | str]
) -> None:
    """Finds wrong settings before anything slow begins.

    Raises:
        ConfigurationError: The task needs data that did not come, or a cutoff is out of range.
    """
    if task.needs_data and data is None:
        raise ConfigurationError(
            f"`data` must be given for the task '{task.name}': a folder of images with metadata.jsonl, for example."
        )
    if not task.needs_data:
        for name, value in (("data", data), ("candidates", candidates), ("extra_k", extra_k or None)):
            if value is not None:
                logger.warning("`%s` is ignored: the task '%s' takes no data.", name, task.name)
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


def rows_of_pairs(pairs: EvaluationPairs) -> TaskRows:
    """What an audit compares of image-caption pairs."""
    return TaskRows(
        pairs.sha256, pairs.images, pairs.image_codes, pairs.captions, pairs.row_ids, pairs.group_ids or None
    )


def clean_pairs(pairs: EvaluationPairs, metrics: dict[str, MetricValue], touched: NDArray) -> dict[str, Any]:
    """Scores of the pairs that are no training rows, their intervals over clusters."""
    everything = np.arange(len(pairs))
    labelled = everything[[len(row) > 0 for row in pairs.labels]]
    rows_of = {"i2t": everything, "t2i": everything, "i2p": labelled, "zero_shot": labelled}
    return clean_part(metrics, rows_of, touched, pair_clusters(pairs))


def describe_metrics(metrics: dict[str, MetricValue]) -> dict[str, Any]:
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


def describe_run(ontology: PhenotypeOntology, seconds: float) -> dict[str, Any]:
    """Release, code, machine and time of a run."""
    return {
        "hpo_release": ontology.release,
        "hpo_sha256": ontology.sha256,
        "git_commit": git_commit(),
        "package_versions": package_versions(),
        "hardware": hardware(),
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
