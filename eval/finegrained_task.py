"""The task on findings with severity and location: a model with stored thresholds -> results and tables."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import data_revision
from phenolip.eval.class_report import cell_text, markdown_table, metric_table
from phenolip.eval.contamination import audit_pairs, training_index
from phenolip.eval.evaluators.base import EvaluationPairs
from phenolip.eval.evaluators.finegrained import PREFIX, FineGrainedEvaluator
from phenolip.eval.evaluators.query_metrics import describe_clusters
from phenolip.eval.finding_labels import finding_labels
from phenolip.eval.load_encoder import load_image_encoder
from phenolip.eval.run_record import Evaluation, describe_run, describe_task, write_run
from phenolip.eval.tasks.registry import Task
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.adapters.registry import describe_model
from phenolip.inference.encoder import Encoder
from phenolip.inference.finding_thresholds import model_thresholds
from phenolip.inference.finegrained import FineGrainedPredictor
from phenolip.ontology.reader import load_ontology
from phenolip.whole_files import whole_file


def evaluate_finegrained(
    task: Task,
    model: Any,
    data: str | Path,
    output_dir: str | Path,
    *,
    split: str | None = None,
    hpo: str | Path | None = None,
    max_bad_fraction: float = 0.01,
    device: str | None = None,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Evaluates a model that has finding_thresholds.json beside it.

    Args:
        task: A task with the evaluator ``finegrained``.
        model: A Stage-2 model of ours.
        data: Pairs with the column `findings`, other ones than the thresholds were fitted on.
        output_dir: Receives results.json, per_query.parquet and report.md.
        split: Split to read where the data has several.
        hpo: hp.obo or hp.json.
        max_bad_fraction: Share of unusable rows that is tolerated.
        device: Device of the model.
        report_path: Where the report goes instead.

    Raises:
        ConfigurationError: The model is none of ours, or has no images.
        DataError: There are no thresholds or findings, or the data is what the thresholds were fitted on.
    """
    started = time.perf_counter()
    encoder = load_image_encoder(model, device)
    if not isinstance(encoder, Encoder):
        raise ConfigurationError(f"`model` {encoder.name} must be a PhenoLIP model for the task '{task.name}'.")
    predictor = FineGrainedPredictor(encoder, model_thresholds(encoder.name))
    ontology = load_ontology(hpo)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    dataset = load_pairs(
        data,
        split=split,
        ontology=ontology,
        max_bad_fraction=max_bad_fraction,
        bad_rows_path=output_dir / "bad_rows.jsonl",
    )
    revision = data_revision(dataset)
    if revision == predictor.thresholds.fitted_on.get("data_revision"):
        raise DataError(f"{data} is what the thresholds were fitted on: give other pairs.")
    findings = dataset["findings"][:]
    if not any(findings):
        raise DataError(f"{data} must have the column `findings`, as `phenolip extract` makes it; it has none.")
    pairs = EvaluationPairs.from_dataset(dataset, ontology, candidates={})
    labels = finding_labels(findings, [(entry.category, entry.hpo_id) for entry in predictor.categories], ontology)
    evaluator = FineGrainedEvaluator(pairs, labels, predictor)
    metrics, about = evaluator()
    results = {
        **describe_task(task, encoder.name, describe_model(encoder), len(pairs), metrics),
        **about,
        "thresholds_fitted_on": predictor.thresholds.fitted_on,
        "intervals": describe_clusters(pairs, evaluator.clusters),
        "data": str(data),
        "split": split,
        "data_revision": revision,
        "contamination": audit_pairs(
            training_index(model, encoder),
            pairs,
            encoder.name,
            metrics,
            {
                f"{PREFIX}_{slot}": np.array([row for row, _, _ in asked], int)
                for slot, asked in evaluator.asked.items()
            },
        ),
        "num_candidates": len(predictor.categories),
        **describe_run(ontology, started),
    }
    write_run(output_dir, results, metrics, evaluator.queries)
    with whole_file(report_path or output_dir / "report.md", "w") as file:
        file.write(_report(results))
    return Evaluation(results, pairs)


def _report(results: dict[str, Any]) -> str:
    columns = [name for name in results["classes"][0] if name != "excluded"]
    classes = [
        [cell_text(value) for value in row]
        for row in ([entry[name] for name in columns] for entry in results["classes"])
    ]
    majority = [
        [slot, cell_text(found["value"]), cell_text(found["ci95"]), cell_text(found["answerable"]), found["n"]]
        for slot, found in results["majority"].items()
    ]
    parts = [
        f"# {results['task']} (version {results['task_version']})",
        f"Model `{results['model']}`; {results['n']:,} images, {results['num_candidates']} categories; thresholds "
        f"fitted on {results['thresholds_fitted_on']['num_rows']:,} other images. For research, not for diagnosis.",
        metric_table(results),
        "## Always the commonest value",
        markdown_table(("slot", "accuracy", "95 % interval", "answerable", "n"), majority),
        "## Categories",
        markdown_table(columns, classes),
    ]
    return "\n\n".join(parts) + "\n"
