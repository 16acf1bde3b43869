"""Tasks over class-labelled images: one model, one set -> results.json, predictions.parquet, reports."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phenolip.datasets_scripts.image_tables import TableLayout, read_rows
from phenolip.datasets_scripts.labelled_images import ImageClass
from phenolip.datasets_scripts.labelled_splits import LabelledSplits, load_splits
from phenolip.eval.class_checks import arithmetic, random_floor
from phenolip.eval.class_page import write_class_reports
from phenolip.eval.contamination import TaskRows, audit_items, training_index
from phenolip.eval.evaluators.class_results import ClassResults
from phenolip.eval.evaluators.linear_probe import LinearProbeEvaluator
from phenolip.eval.evaluators.zero_shot_classes import ZeroShotClassesEvaluator
from phenolip.eval.invariance import encoding_invariance
from phenolip.eval.item_breakdowns import item_breakdowns
from phenolip.eval.item_scores import write_item_scores
from phenolip.eval.load_encoder import load_image_encoder
from phenolip.eval.metadata import beside_columns, item_columns
from phenolip.eval.per_query import Queries, unique_ids, write_clusters
from phenolip.eval.run_record import Evaluation, describe_run, describe_task, write_run
from phenolip.eval.task_classes import read_classes
from phenolip.eval.tasks.registry import Task
from phenolip.inference.adapters.registry import describe_model
from phenolip.provenance import content_hash

logger = logging.getLogger(__name__)

NO_SETTING = {"layout", "classes", "reading"}  # fields of a task file that are no argument of its evaluator


def evaluate_classes(
    task: Task,
    model: Any,
    data: str | Path,
    output_dir: str | Path,
    *,
    device: str | None = None,
    report: bool = True,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Evaluates a model on a task whose labels are classes.

    Args:
        task: A task with one evaluator, ``zero_shot_classes`` or ``linear_probe``.
        model: As `load_encoder` takes it.
        data: A local copy of the set in its published layout.
        output_dir: Receives results.json, per_query.parquet, predictions.parquet, report.html and report.md.
        device: Device of the model; by default a GPU if there is one.
        report: Write the report.
        report_path: Where it goes instead.

    Raises:
        ConfigurationError: The task or the model cannot be used.
        DataError: The data cannot be read, or lacks a class.
    """
    started = time.perf_counter()
    ((kind, settings),) = task.evaluators.items()
    classes = read_classes(settings.get("classes"))
    splits = load_splits(data, classes, settings.get("layout") or {}, train=kind == "linear_probe")
    encoder = load_image_encoder(model, device)
    options = {name: value for name, value in settings.items() if name not in NO_SETTING}
    if kind == "linear_probe":
        found = LinearProbeEvaluator(splits, **options)(encoder)
    else:
        found = ZeroShotClassesEvaluator(splits, classes, **options)(encoder)
    output_dir = Path(output_dir)
    results = {
        **describe_task(task, encoder.name, describe_model(encoder), len(splits.test), found.metrics),
        "checks": {**found.checks, **_checks(found, encoder, splits, classes, training_index(model, encoder))},
        **found.details,
        "breakdowns": item_breakdowns(
            set_columns(data, splits.test.ids, classes, settings.get("layout") or {}),
            lambda rows: found.measure_rows(rows, True),
        ),
        "prompts": settings.get("prompts"),
        "num_candidates": len(classes),
        "data": str(data),
        "split": splits.about,
        "data_revision": splits.test.revision(),
        "training_revision": content_hash([part.revision() for part in (splits.train, splits.validation) if part]),
        "num_groups": len(set(splits.test.groups)),
        "dropped": dict(splits.test.dropped),
        **describe_run(None, started),
    }
    _write(output_dir, found, results, splits)
    if report:
        write_class_reports(results, Path(report_path or output_dir / "report.html"))
    return Evaluation(results)


def _checks(
    found: ClassResults, encoder: Any, splits: LabelledSplits, classes: Sequence[ImageClass], index: Path | None
) -> dict[str, Any]:
    """Controls that need no evaluator: arithmetic, a random model, batches and precision, training rows."""
    test = splits.test
    texts = [text for image_class in classes for text in image_class.texts]
    checks = {
        "arithmetic": arithmetic(found.metrics, test.labels, found.details.get("classes", ())),
        "random_floor": random_floor(test.labels, exclusive=test.exclusive),
        "invariance": encoding_invariance(encoder, test.images, texts),
    }
    checks["contamination"] = audit_items(
        index,
        TaskRows(test.file_hashes(), test.images, row_ids=test.ids, group_ids=test.groups),
        encoder.name,
        found.metrics,
        lambda rows: found.measure_rows(rows, False),
    )
    return checks


def set_columns(
    data: str | Path, ids: Sequence[str], classes: Sequence[ImageClass], layout: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Columns of the set's own table, or of a metadata file beside folders of classes, but for labels and splits."""
    if layout.get("kind") != "table":
        return beside_columns(data, ids)
    data, table = Path(data), TableLayout(image=layout.get("image", TableLayout.image))
    names = [*(layout.get("files") or {}).values(), *filter(None, [layout.get("file")])]
    files = [data / name for name in names if (data / name).is_file()] if data.is_dir() else [data]
    labels = {layout.get("label"), *(value for entry in classes for value in entry.values)}
    leave_out = {table.image, layout.get("group"), layout.get("split"), *labels} - {None}
    records = [row for file in files for row in read_rows(file)]
    return item_columns(records, ids, names=[table.image], leave_out=leave_out)


def _write(output_dir: Path, found: ClassResults, results: dict[str, Any], splits: LabelledSplits) -> None:
    queries = Queries("image", unique_ids(splits.test.ids))
    write_item_scores(output_dir, found.items, splits.test.class_names)
    write_clusters(output_dir, "image", queries.ids, np.unique(splits.test.groups, return_inverse=True)[1])
    families = {"zero_shot_classes": queries, "probe": queries}
    write_run(output_dir, results, found.metrics, families)
    if splits.test.dropped:
        logger.warning(
            "Test images left out: %s.", ", ".join(f"{n} ({why})" for why, n in splits.test.dropped.items())
        )
