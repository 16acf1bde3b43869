"""The task on held-out phenotypes: guard first, then one model by four kinds of texts -> results and tables."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import data_revision
from phenolip.eval.class_report import markdown_table, metric_table
from phenolip.eval.contamination import audit_pairs, training_index
from phenolip.eval.evaluators.base import EvaluationPairs
from phenolip.eval.evaluators.query_metrics import describe_clusters, pair_clusters
from phenolip.eval.evaluators.unseen_terms import UnseenTermsEvaluator, held_out_labels
from phenolip.eval.load_encoder import load_image_encoder
from phenolip.eval.run_record import Evaluation, describe_run, describe_task, write_run
from phenolip.eval.tasks.registry import Task
from phenolip.eval.unseen_guard import check_unseen, training_phenotypes
from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.registry import describe_model
from phenolip.inference.candidates import read_candidates
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.held_out_terms import HeldOutTerms
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import content_hash
from phenolip.whole_files import whole_file


def evaluate_unseen(
    task: Task,
    model: Any,
    data: str | Path,
    output_dir: str | Path,
    *,
    candidates: str | Path | None = None,
    split: str | None = None,
    hpo: str | Path | None = None,
    max_bad_fraction: float = 0.01,
    device: str | None = None,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Evaluates a model on phenotypes that it was not trained on.

    Args:
        task: A task with the evaluator ``unseen_terms``.
        model: As `load_encoder` takes it.
        data: Images that show the terms, or terms below them: ``unseen/`` of `phenolip prepare split --hold_out`.
        output_dir: Receives results.json, per_query.parquet and report.md.
        candidates: The held-out terms: ``held_out.json`` beside the data.
        split: Split to read where the data has several.
        hpo: hp.obo or hp.json.
        max_bad_fraction: Share of unusable rows that is tolerated.
        device: Device of the model.
        report_path: Where the report goes instead.

    Raises:
        ConfigurationError: No terms were given, or the model was trained on one of them.
        DataError: The data cannot be read, or shows none of the terms.
    """
    started = time.perf_counter()
    if candidates is None:
        raise ConfigurationError(f"`candidates` must name the held-out terms for the task '{task.name}', got none.")
    ontology = load_ontology(hpo)
    terms = HeldOutTerms(ontology, tuple(read_candidates(candidates, ontology)))
    encoder = load_image_encoder(model, device)
    guard = check_unseen(encoder.name, terms)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    bad_rows_path = output_dir / "bad_rows.jsonl"
    dataset = load_pairs(
        data, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction, bad_rows_path=bad_rows_path
    )
    names = {hpo_id: ontology[hpo_id].name for hpo_id in terms.hpo_ids}
    pairs = EvaluationPairs.from_dataset(dataset, ontology, candidates=names)
    pairs = replace(pairs, labels=held_out_labels(dataset["hpo_ids"][:], terms))
    book = getattr(encoder, "knowledge", None)
    if book is None or not any(entry.explanation for entry in book.entries.values()):  # one of bare names
        book = build_knowledge_book(ontology)
    known = training_phenotypes(encoder.name, terms)
    evaluator = UnseenTermsEvaluator(pairs, terms, book, known, **task.evaluators["unseen_terms"])
    metrics = evaluator(encoder)
    results = {
        **describe_task(task, encoder.name, describe_model(encoder), len(evaluator.shown), metrics),
        "unseen": guard,
        "terms": evaluator.describe(),
        "intervals": describe_clusters(pairs, pair_clusters(pairs)),
        "data": str(data),
        "split": split,
        "data_revision": data_revision(dataset),
        "contamination": audit_pairs(
            training_index(model, encoder), pairs, encoder.name, metrics, {"unseen": np.array(evaluator.shown)}
        ),
        "num_candidates": len(terms.hpo_ids),
        "candidates_hash": content_hash(sorted(terms.hpo_ids)),
        **describe_run(ontology, started),
    }
    write_run(output_dir, results, metrics, evaluator.queries)
    with whole_file(report_path or output_dir / "report.md", "w") as file:
        file.write(unseen_report(results))
    return Evaluation(results, pairs)


def unseen_report(results: dict[str, Any]) -> str:
    """Metrics and texts as Markdown."""
    unknown = " and ".join(results["unseen"]["not_checked"])
    seen = f"Nobody knows what the {unknown} of its training showed." if unknown else "Its training index has none."
    columns = [name for name in results["terms"][0]]
    return (
        "\n\n".join(
            [
                f"# {results['task']} (version {results['task_version']})",
                f"Model `{results['model']}`; {results['n']:,} images of {results['num_candidates']} phenotypes that "
                f"training left out. {seen} `_gain`: difference to names, paired. For research, not for diagnosis.",
                metric_table(results),
                "## Texts",
                markdown_table(columns, [[entry[name] for name in columns] for entry in results["terms"]]),
            ]
        )
        + "\n"
    )
