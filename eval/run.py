"""One model, one task -> results.json and what stands beside it: which function measures which task."""

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path

from phenolip.eval.run_record import Evaluation
from phenolip.eval.tasks.registry import Task, load_task
from phenolip.exceptions import ConfigurationError
from phenolip.inference.encoder import Encoder

logger = logging.getLogger(__name__)

# Evaluator -> module and function of tasks that it has for itself; imported once asked for, since some need packages
# that others do not. All other tasks are those of pairs.
LONE = {
    "zero_shot_classes": ("class_tasks", "evaluate_classes"),
    "linear_probe": ("class_tasks", "evaluate_classes"),
    "segmentation": ("segmentation_task", "evaluate_segmentation"),
    "faces": ("faces_task", "evaluate_faces"),
    "unseen_terms": ("unseen_task", "evaluate_unseen"),
    "finegrained": ("finegrained_task", "evaluate_finegrained"),
    "findings": ("findings_task", "evaluate_findings"),
}
NEED_DATA_ONLY = {"split", "candidates", "extra_k"}  # what a task without data cannot use


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
    max_bad_fraction: float | None = None,
    device: str | None = None,
    report: bool = True,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Evaluates a model on a task and writes the results. A setting that the task cannot use is ignored, and said so.

    Args:
        model: Folder, Hub id, "tfidf" for the baseline that knows no more than the names of the terms, or an encoder
            that is already loaded; for the task `findings` "rules" or a file of findings.
        task: Name of a task, or path of a task YAML.
        data: What the task is measured on, pairs in any form that `load_pairs` takes or the set that the task names;
            None for a task without data.
        output_dir: Receives results.json, per_query.parquet and a report; predictions.jsonl too for pairs.
        split: Split to read where the data has several.
        candidates: File of candidate phenotypes; by default those that occur in the data.
        extra_k: More cutoffs for retrieval; "scaled" means round(10 N / the task's `scaled_k`).
        hpo: hp.obo or hp.json; by default the release that is installed.
        max_bad_fraction: Share of unusable rows that is tolerated, by default 0.01; they are listed in bad_rows.jsonl.
        device: Device of the model; by default a GPU if there is one.
        report: Write the report.
        report_path: Where the report goes instead; it carries its images and needs no other file.

    Raises:
        ConfigurationError: The task, model or a setting cannot be used.
        DataError: The data cannot be read.
    """
    task = load_task(task)
    if task.needs_data and data is None:
        raise ConfigurationError(
            f"`data` must be given for the task '{task.name}': a folder of images with metadata.jsonl, for example."
        )
    given = {
        "split": split,
        "candidates": candidates,
        "extra_k": extra_k or None,
        "hpo": hpo,
        "max_bad_fraction": max_bad_fraction,
        "device": device,
        "report": None if report else False,
        "report_path": report_path,
    }
    function = find_function(task)
    usable = signature(function).parameters.keys() - (set() if task.needs_data else NEED_DATA_ONLY)
    if data is not None and not task.needs_data:
        logger.warning("`data` is ignored: the task '%s' takes none.", task.name)
        data = None
    settings = {name: value for name, value in given.items() if value is not None}
    for name in sorted(settings.keys() - usable):
        logger.warning("`%s` is ignored: the task '%s' has no use for it.", name, task.name)
    return function(task, model, data, output_dir, **{name: settings[name] for name in settings.keys() & usable})


def find_function(task: Task) -> Callable[..., Evaluation]:
    """What measures a task.

    Raises:
        ConfigurationError: The task names another evaluator beside one that must be alone.
    """
    alone = LONE.keys() & task.evaluators.keys()
    if alone and len(task.evaluators) > 1:
        raise ConfigurationError(f"The task '{task.name}' must have one evaluator, got {', '.join(task.evaluators)}.")
    module, name = LONE[alone.pop()] if alone else ("pair_task", "evaluate_pairs")
    return getattr(import_module(f"phenolip.eval.{module}"), name)
