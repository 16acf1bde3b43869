"""The paper's Average from evaluations of one model: six domains and PhenoBench, unweighted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phenolip.eval.compare import Run, load_run
from phenolip.eval.metrics.average import phenobench_average
from phenolip.exceptions import ConfigurationError

COLUMNS = {  # column -> tasks whose accuracies it averages; the sets are our reading, the paper names none
    "dermatology": ("dermamnist",),
    "pathology": ("pathmnist",),
    "radiology": ("organamnist", "organcmnist", "organsmnist"),
    "hematology": ("bloodmnist",),
    "histology": ("tissuemnist",),
    "ophthalmology": ("octmnist", "retinamnist"),
    "phenobench": ("phenobench", "phenobench_full"),  # one of them
}
ACCURACIES = ("zero_shot_classes_top1", "zero_shot_top1")  # whichever a run has


@dataclass(frozen=True, slots=True)
class PaperAverage:
    """The row of one model.

    Attributes:
        columns: Column -> accuracy, in the order of the paper.
        num_images: Column -> images behind it.
        average: Unweighted mean of the seven columns.
    """

    columns: dict[str, float]
    num_images: dict[str, int]
    average: float


def paper_average(runs: Sequence[str | Path | Run]) -> PaperAverage:
    """The seven columns and ``phenobench_average`` of one model.

    Args:
        runs: Output folders of `phenolip eval`, one for each task of `COLUMNS`.

    Raises:
        ConfigurationError: A column lacks a task, a task occurs twice, or the runs are of different models.
    """
    read = [run if isinstance(run, Run) else load_run(run) for run in runs]
    models = {str(run.results.get("model")) for run in read}
    if len(models) > 1:
        raise ConfigurationError(f"`runs` must be of one model, got {', '.join(sorted(models))}.")
    by_task: dict[str, Run] = {}
    for run in read:
        if by_task.setdefault(run.results["task"], run) is not run:
            raise ConfigurationError(f"`runs` must hold each task once, got '{run.results['task']}' twice.")
    columns, num_images = {}, {}
    for column, tasks in COLUMNS.items():
        tasks = tasks if column != "phenobench" else tuple(task for task in tasks if task in by_task)[:1] or tasks[:1]
        if missing := [task for task in tasks if task not in by_task]:
            raise ConfigurationError(
                f"`runs` must hold all seven columns; for {column} {', '.join(missing)} is missing."
            )
        entries = [_accuracy(by_task[task]) for task in tasks]
        columns[column] = float(np.mean([entry["value"] for entry in entries]))
        num_images[column] = sum(entry["n"] for entry in entries)
    return PaperAverage(columns, num_images, phenobench_average(columns))


def _accuracy(run: Run) -> dict[str, float]:
    name = next((name for name in ACCURACIES if name in run.results["metrics"]), None)
    if name is None:
        raise ConfigurationError(f"{run.path} has no zero-shot accuracy ({' or '.join(ACCURACIES)}).")
    return run.results["metrics"][name]
