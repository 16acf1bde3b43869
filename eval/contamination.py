"""What a task shares with the training rows of the model that is measured, and its scores without these rows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phenolip.datasets_scripts.telling_ids import article_of, telling_id
from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue
from phenolip.eval.evaluators.query_metrics import mean_metric, pair_clusters
from phenolip.eval.run_record import describe_metrics
from phenolip.exceptions import DataError
from phenolip.inference.candidates import model_file
from phenolip.near_copies import caption_hash, near_hashes, perceptual_hash

logger = logging.getLogger(__name__)

TRAINING_INDEX = "training_index.parquet"  # written by training beside the model
MAX_BITS = 4  # perceptual hashes of near images differ in at most this many of 64, as in `phenolip audit`
CRITERIA = {
    "same_image": "the same image file",
    "near_image": "nearly the same image",
    "same_caption": "the same caption",
    "same_row_id": "the same id",
    "same_article": "the same article, patient or case",
}


@dataclass(frozen=True, slots=True)
class TaskRows:
    """What is compared of the N rows of a task; None where the task has no such thing.

    Attributes:
        sha256: Hashes of the image files.
        images: The distinct images, for their perceptual hashes.
        image_codes: (N,) which of them each row shows; None where row and image are one.
        captions: As they are.
        row_ids: Names of the rows.
        group_ids: Article, patient or case, empty where there is none.
    """

    sha256: Sequence[str] | None = None
    images: Sequence[Any] | None = None
    image_codes: NDArray | None = None
    captions: Sequence[str] | None = None
    row_ids: Sequence[str] | None = None
    group_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class TaskAudit:
    """Rows of the task that the model was trained on.

    Attributes:
        touched: Criterion -> (N,) bool; only criteria that both sides allow.
        num_rows: N.
    """

    touched: dict[str, NDArray]
    num_rows: int

    @property
    def rows(self) -> NDArray:
        """(N,) whether any criterion holds of the row."""
        return np.logical_or.reduce([np.zeros(self.num_rows, bool), *self.touched.values()])

    def summary(self) -> dict[str, Any]:
        """Counts for results.json."""
        same = int(self.touched["same_image"].sum()) if "same_image" in self.touched else 0
        return {
            "num_rows_in_training": same,
            "fraction": same / self.num_rows,
            "num_rows_touched": int(self.rows.sum()),
            "num_rows": self.num_rows,
            "criteria": {name: int(rows.sum()) for name, rows in self.touched.items()},
            "not_compared": [name for name in CRITERIA if name not in self.touched],
        }


def training_index(model: Any, encoder: Any) -> Path | None:
    """The table of the training rows of a model that was named by a folder or Hub id; None where there is none.

    An encoder that came as an object is asked for the place its weights were read from; its mere name is no place, and
    nothing is looked up under it.
    """
    source = encoder.name if isinstance(model, (str, Path)) else getattr(encoder, "source", None)
    if source is None and Path(getattr(encoder, "name", "") or "?").is_dir():
        source = encoder.name
    return None if source is None else model_file(source, TRAINING_INDEX)


def find_contamination(model: str, sha256: Sequence[str]) -> dict[str, Any] | None:
    """`audit_task` of image files alone, of a model by its folder or Hub id; a bare word is looked up nowhere."""
    is_place = Path(model or "?").is_dir() or "/" in model
    audit = audit_task(model_file(model, TRAINING_INDEX) if is_place else None, TaskRows(sha256), model)
    return None if audit is None else audit.summary()


def audit_task(index: Path | None, rows: TaskRows, model: str) -> TaskAudit | None:
    """Compares a task with a model's training rows; None if the model carries no index.

    Args:
        index: The model's training_index.parquet.
        rows: The task.
        model: Name of the model, for the warning.

    Raises:
        DataError: The index cannot be read.
    """
    if index is None:
        return None
    try:
        table = pq.read_table(index)
        trained = {name: table[name].to_pylist() for name in table.column_names if name != "hpo_ids"}
        touched = _touched(trained, rows)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(f"{index} must be a Parquet file with a column sha256; copy it again or delete it.") from error
    num_rows = len(next(values for values in (rows.sha256, rows.row_ids, rows.images) if values is not None))
    audit = TaskAudit(touched, num_rows)
    if audit.rows.any():
        kinds = ", ".join(f"{CRITERIA[name]} {int(found.sum())}" for name, found in touched.items() if found.any())
        logger.warning(
            "%d of %d evaluated rows are in the training data of %s (%s): the numbers flatter the model.",
            int(audit.rows.sum()),
            num_rows,
            model,
            kinds,
        )
    return audit


def _touched(trained: Mapping[str, Sequence[Any]], rows: TaskRows) -> dict[str, NDArray]:
    touched: dict[str, NDArray] = {}
    hashes = trained["sha256"]
    if rows.sha256 is not None:
        touched["same_image"] = _among(rows.sha256, hashes)
    if "phash" in trained and rows.images is not None:
        near = _near(rows.images, np.array(trained["phash"], np.uint64))
        touched["near_image"] = near if rows.image_codes is None else near[rows.image_codes]
    if "caption_sha256" in trained and rows.captions is not None:
        touched["same_caption"] = _among(map(caption_hash, rows.captions), trained["caption_sha256"])
    if "row_id" in trained and rows.row_ids is not None:
        groups = trained.get("group_id") or [""] * len(hashes)
        own = [group or "" for group in rows.group_ids or [""] * len(rows.row_ids)]
        theirs = list(zip(trained["row_id"], groups, strict=True))
        ours = list(zip(rows.row_ids, own, strict=True))
        for name, key in (("same_row_id", telling_id), ("same_article", article_of)):
            touched[name] = _among((key(*row) for row in ours), {key(row, group or "") for row, group in theirs})
    return touched


def _among(values: Any, others: Any) -> NDArray:
    known = set(others)
    return np.array([value is not None and value in known for value in values], bool)


def _near(images: Sequence[Any], trained: NDArray) -> NDArray:
    own = np.array([perceptual_hash(images[row]) for row in range(len(images))], np.uint64)
    left, _, _ = near_hashes(own, np.unique(trained), max_distance=MAX_BITS)
    near = np.zeros(len(own), bool)
    near[left] = True
    return near


def rows_of_pairs(pairs: EvaluationPairs) -> TaskRows:
    """What an audit compares of image-caption pairs."""
    return TaskRows(
        pairs.sha256, pairs.images, pairs.image_codes, pairs.captions, pairs.row_ids, pairs.group_ids or None
    )


def audit_pairs(
    index: Path | None,
    pairs: EvaluationPairs,
    model: str,
    metrics: Mapping[str, MetricValue],
    rows_of: Mapping[str, NDArray],
) -> dict[str, Any] | None:
    """`audit_task` of pairs for results.json, with `clean_part` where rows are touched; None without an index."""
    audit = audit_task(index, rows_of_pairs(pairs), model)
    if audit is None:
        return None
    summary = audit.summary()
    if audit.rows.any():
        summary["clean"] = clean_part(metrics, rows_of, audit.rows, pair_clusters(pairs))
    return summary


def audit_items(
    index: Path | None,
    rows: TaskRows,
    model: str,
    metrics: Mapping[str, MetricValue],
    measure: Callable[[NDArray], Mapping[str, MetricValue]],
) -> dict[str, Any] | None:
    """`audit_task` for results.json and, where rows are touched, every metric over the others; None without an index.

    Args:
        index: The model's training_index.parquet.
        rows: The N items of the task.
        model: Name of the model, for the warning.
        metrics: The metrics over all items.
        measure: The same over some of them, by their row numbers.
    """
    audit = audit_task(index, rows, model)
    if audit is None:
        return None
    summary = audit.summary()
    if audit.rows.any():
        clean = np.flatnonzero(~audit.rows)
        parts = describe_metrics(measure(clean))["metrics"] if len(clean) else {}
        summary["clean"] = {
            name: part | {"value_of_all": describe_metrics({name: metrics[name]})["metrics"][name]["value"]}
            for name, part in parts.items()
        }
    return summary


def clean_part(
    metrics: Mapping[str, MetricValue], rows_of: Mapping[str, NDArray], touched: NDArray, clusters: NDArray
) -> dict[str, Any]:
    """Scores of the queries that are no training rows, beside those of all; candidates stay the same.

    Args:
        metrics: The metrics of the run.
        rows_of: Beginning of a metric's name -> the row of each of its queries.
        touched: (N,) whether a row is one of training.
        clusters: (N,) what the intervals draw.

    Returns:
        Metric -> value, interval and n of the clean queries, and the value of all. Metrics of which no query is clean,
        or whose queries are no rows, are left out.
    """
    found = {}
    for name, metric in metrics.items():
        family = next((family for family in rows_of if name.startswith(f"{family}_")), None)
        if family is None or metric.per_query is None or len(metric.per_query) != len(rows_of[family]):
            continue
        clean = ~touched[rows_of[family]]
        if clean.any():
            part = mean_metric(metric.per_query[clean], clusters[rows_of[family]][clean])
            found[name] = {"value": part.value, "ci95": list(part.ci95), "n": part.n, "value_of_all": metric.value}
    return found
