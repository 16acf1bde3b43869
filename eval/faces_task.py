"""Phenotypes of faces: per-image hits and sample-averaged precision, recall and F1 over one list of candidates."""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.datasets_scripts.face_set import GROUP_COLUMNS, IMAGE_COLUMNS, FaceSet, face_table, load_faces
from phenolip.datasets_scripts.image_tables import read_rows
from phenolip.eval.class_report import breakdown_tables, clean_tables, markdown_table, metric_table
from phenolip.eval.contamination import TaskRows, audit_items, training_index
from phenolip.eval.evaluators.base import MetricValue, finite
from phenolip.eval.evaluators.query_metrics import mean_metric
from phenolip.eval.evaluators.zero_shot import check_prompts, embed_with_prompts
from phenolip.eval.item_breakdowns import item_breakdowns
from phenolip.eval.item_scores import ItemScores, write_item_scores
from phenolip.eval.load_encoder import load_image_encoder
from phenolip.eval.metadata import item_columns
from phenolip.eval.metrics.clustered import joined_clusters, ratio_intervals
from phenolip.eval.metrics.ranking import expected_hit_and_recall, miss_probability
from phenolip.eval.metrics.sample_f1 import best_sample_threshold, sample_scores_at_k, sample_scores_at_threshold
from phenolip.eval.per_query import Queries, unique_ids, write_clusters
from phenolip.eval.run_record import Evaluation, describe_run, describe_task, write_run
from phenolip.eval.tasks.registry import Task
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.adapters.registry import describe_model
from phenolip.inference.candidates import read_candidates
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import content_hash
from phenolip.whole_files import whole_file

PREFIX = "faces"
_KINDS = ("precision", "recall", "f1")


def evaluate_faces(
    task: Task,
    model: Any,
    data: str | Path,
    output_dir: str | Path,
    *,
    split: str | None = None,
    candidates: str | Path | None = None,
    hpo: str | Path | None = None,
    device: str | None = None,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Evaluates a model on a set of faces.

    Where the table has a column `split` with rows of "val", the threshold is fitted on them and `split` (by default
    "test") is reported on; without, only the oracle's threshold is there, under its name.

    Args:
        task: A task with the one evaluator ``faces``.
        model: As `load_encoder` takes it.
        data: As `load_faces` reads it.
        output_dir: Receives results.json, per_query.parquet, predictions.parquet and report.md.
        split: Rows to report on.
        candidates: File of candidate phenotypes; by default those that occur in the data.
        hpo: An ontology file; by default the release that is installed.
        device: Device of the model.
        report_path: Where the report goes instead.

    Raises:
        ConfigurationError: The task or the model cannot be used.
        DataError: The data cannot be read, or no image shows a candidate.
    """
    started = time.perf_counter()
    settings = task.evaluators["faces"]
    ks, decision_k = settings.get("ks", [5, 10, 50]), settings.get("decision_k", 10)
    if not all(isinstance(k, int) and k >= 1 for k in [*ks, decision_k]):
        raise ConfigurationError(f"`ks` and `decision_k` must be whole numbers of at least 1, got {ks}, {decision_k}.")
    prompts = check_prompts(settings.get("prompts", ["{}"]))
    ontology = load_ontology(hpo)
    validation, test = _load(data, ontology, split)
    names = read_candidates(candidates, ontology) if candidates is not None else _occurring(test, ontology)
    encoder = load_image_encoder(model, device)
    texts = embed_with_prompts(encoder, list(names.values()), prompts)
    faces = _Scored(encoder, test, texts, list(names))
    fitting = _Scored(encoder, validation, texts, list(names)) if validation is not None else None
    metrics, thresholds = measure_faces(faces, fitting, ks, decision_k)
    output_dir = Path(output_dir)
    clusters = joined_clusters(faces.groups)

    def measure_rows(rows: NDArray) -> dict[str, MetricValue]:
        return {name: mean_metric(metric.per_query[rows], clusters[rows]) for name, metric in metrics.items()}

    columns = item_columns(read_rows(face_table(Path(data))), faces.ids, IMAGE_COLUMNS, GROUP_COLUMNS)
    audit = audit_items(
        training_index(model, encoder),
        TaskRows(faces.file_hashes(), faces.images, row_ids=faces.ids, group_ids=faces.groups),
        encoder.name,
        metrics,
        measure_rows,
    )
    results = {
        **describe_task(task, encoder.name, describe_model(encoder), len(faces.rows), metrics),
        "thresholds": thresholds,
        "contamination": audit,
        "breakdowns": item_breakdowns(columns, measure_rows),
        "dropped": {**test.dropped, "no label among the candidates": len(test) - len(faces.rows)},
        "prompts": list(prompts),
        "num_candidates": len(names),
        "candidates_hash": content_hash(sorted(names)),
        "data": str(data),
        "split": split,
        "data_revision": test.revision(),
        "num_groups": len(set(faces.groups)),
        **describe_run(ontology, started),
    }
    ids = unique_ids(faces.ids)
    items = [one.items(part) for part, one in (("test", faces), ("validation", fitting)) if one is not None]
    write_item_scores(output_dir, items, list(names))
    write_clusters(output_dir, "image", ids, clusters)
    write_run(output_dir, results, metrics, {PREFIX: Queries("image", ids)})
    with whole_file(report_path or output_dir / "report.md", "w") as file:
        file.write(_report(results))
    return Evaluation(results)


class _Scored:
    """Cosines of the images that show a candidate: rows of the set, (Q, M) scores and (Q, M) right answers."""

    def __init__(self, encoder: Any, faces: FaceSet, texts: NDArray, candidate_ids: list[str]) -> None:
        columns = {hpo_id: column for column, hpo_id in enumerate(candidate_ids)}
        shown = [[columns[hpo_id] for hpo_id in labels if hpo_id in columns] for labels in faces.labels]
        self.rows = [row for row, found in enumerate(shown) if found]
        if not self.rows:
            raise DataError("No image shows one of the candidates: check `--candidates` and the ids of the data.")
        self.relevant = np.zeros((len(self.rows), len(columns)), bool)
        for place, row in enumerate(self.rows):
            self.relevant[place, shown[row]] = True
        embeds = encoder.encode_images([faces.images[row] for row in self.rows])
        self.scores = finite(np.asarray(embeds), encoder) @ texts.T
        self.images = [faces.images[row] for row in self.rows]
        self.ids = [faces.ids[row] for row in self.rows]
        self.groups = [faces.groups[row] for row in self.rows]

    def file_hashes(self) -> list[str]:
        """SHA-256 of each image file."""
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.images]

    def items(self, part: str) -> ItemScores:
        """Truth and scores of each image, for the table of predictions."""
        return ItemScores(part, self.ids, self.groups, self.relevant, self.scores)


def measure_faces(
    test: _Scored, validation: _Scored | None, ks: list[int], decision_k: int
) -> tuple[dict[str, MetricValue], dict[str, float]]:
    """Every metric with intervals over patients, and the thresholds."""
    num_candidates, num_relevant = test.scores.shape[1], test.relevant.sum(axis=1)
    every_k = [*ks, decision_k]
    hits, recalls = expected_hit_and_recall(test.scores, test.relevant, every_k)
    drawn = np.minimum(every_k, num_candidates)
    columns = {f"{PREFIX}_hit_at_{k}": hits[:, at] for at, k in enumerate(ks)}
    chances = {
        f"{PREFIX}_hit_at_{k}": float((1 - miss_probability(num_candidates, num_relevant, drawn[at])).mean())
        for at, k in enumerate(ks)
    }
    answers = {f"at_{decision_k}": sample_scores_at_k(recalls[:, -1], num_relevant, decision_k, num_candidates)}
    by_chance = sample_scores_at_k(
        np.full(len(hits), drawn[-1] / num_candidates), num_relevant, decision_k, num_candidates
    )
    chances |= {
        f"{PREFIX}_sample_{kind}_at_{decision_k}": float(value)
        for kind, value in zip(_KINDS, by_chance.mean(axis=0), strict=True)
    }
    thresholds = {"oracle": best_sample_threshold(test.scores, test.relevant)}
    if validation is not None:
        thresholds["val_fitted"] = best_sample_threshold(validation.scores, validation.relevant)
    for name, threshold in thresholds.items():
        answers[name] = sample_scores_at_threshold(test.scores, test.relevant, threshold)
    for name, values in answers.items():
        columns |= {f"{PREFIX}_sample_{kind}_{name}": values[:, at] for at, kind in enumerate(_KINDS)}
    table = np.stack(list(columns.values()), axis=1)
    intervals = ratio_intervals(table, np.ones_like(table), joined_clusters(test.groups))
    return {
        name: MetricValue(float(values.mean()), (float(low), float(high)), len(values), chances.get(name), values)
        for (name, values), (low, high) in zip(columns.items(), intervals, strict=True)
    }, thresholds


def _load(data: str | Path, ontology: PhenotypeOntology, split: str | None) -> tuple[FaceSet | None, FaceSet]:
    """Rows that thresholds are fitted on, where there are such, and rows to report on: of other patients."""
    validation = None
    if split != "val":  # nothing is fitted on what it is reported on
        try:
            validation = load_faces(data, ontology, split="val")
        except DataError:
            pass  # no rows of that split; what else is wrong shows with the rows that are reported on
    test = load_faces(data, ontology, split=split or ("test" if validation is not None else None))
    both = sorted(set(validation.groups) & set(test.groups)) if validation is not None else ()
    if both:
        raise DataError(
            f"{data}: {both[0]} has images in the val and in the reported split: no patient may be in both."
        )
    return validation, test


def _occurring(faces: FaceSet, ontology: Any) -> dict[str, str]:
    return {hpo_id: ontology[hpo_id].name for hpo_id in sorted(set().union(*faces.labels))}


def _report(results: dict[str, Any]) -> str:
    dropped = [[reason, count] for reason, count in results["dropped"].items() if count]
    parts = [
        f"# {results['task']} (version {results['task_version']})",
        f"Model `{results['model']}`; {results['n']:,} images of {results['num_groups']:,} patients, "
        f"{results['num_candidates']:,} candidates. Precision, recall and F1 are those of each image, averaged over "
        "images. For research, not for diagnosis; a face names a person: keep the data where it is allowed to be.",
        metric_table(results),
        *breakdown_tables(results["breakdowns"]),
        *clean_tables(results["contamination"]),
        *(["## Left out", markdown_table(("reason", "n"), dropped)] if dropped else []),
    ]
    return "\n\n".join(parts) + "\n"
