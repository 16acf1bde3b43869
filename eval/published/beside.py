"""A run's numbers in the columns of a published table, with what differs between the two protocols."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenolip.eval.published.tables import PublishedTable
from phenolip.exceptions import ConfigurationError, DataError


@dataclass(frozen=True, slots=True)
class BesideCell:
    """One number of ours where the paper has one.

    Attributes:
        percent: Mean over the tasks of the column.
        ci95: Its 95 % interval in percent; None where it is a mean over several tasks.
        n: Images or queries behind it.
        differs: What the two protocols do not share; never empty, as the papers leave something open everywhere.
    """

    percent: float
    ci95: tuple[float, float] | None
    n: int
    differs: tuple[str, ...]


def read_results(runs: Sequence[str | Path]) -> list[dict[str, Any]]:
    """results.json of each output folder of `phenolip eval`; all of one model.

    Raises:
        ConfigurationError: A folder has no results.json, or the runs are of several models.
        DataError: A file is no result.
    """
    results = []
    for run in runs:
        path = Path(run)
        path = path / "results.json" if path.is_dir() else path
        if not path.is_file():
            raise ConfigurationError(f"`beside` must name output folders of `phenolip eval`, got {run}.")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is not JSON: evaluate the model again.") from error
        if not isinstance(found, dict) or not {"task", "metrics", "model"} <= found.keys():
            raise DataError(f"{path} must hold `task`, `model` and `metrics`: evaluate the model again.")
        results.append(found)
    models = sorted({str(found["model"]) for found in results})
    if len(models) > 1:
        raise ConfigurationError(f"`beside` must name runs of one model, got {', '.join(models)}.")
    return results


def set_beside(table: PublishedTable, results: Sequence[dict[str, Any]]) -> dict[str, BesideCell]:
    """Column -> the number of the runs that measure it; columns that none measures are left out.

    Args:
        table: The published table.
        results: Contents of results.json, all of one model.
    """
    by_task = {found["task"]: found for found in results}
    cells = {}
    for column, rule in table.measured_as.items():
        tasks = rule["tasks"]
        if rule.get("or") and not set(tasks) <= by_task.keys():
            tasks = [rule["or"]]
        found = [by_task[task] for task in tasks if rule["metric"] in by_task.get(task, {}).get("metrics", ())]
        if len(found) < len(tasks) or any(run["metrics"][rule["metric"]]["value"] is None for run in found):
            continue
        metrics = [run["metrics"][rule["metric"]] for run in found]
        n = sum(metric["n"] for metric in metrics)
        cells[column] = BesideCell(
            percent=100 * sum(metric["value"] for metric in metrics) / len(metrics),
            ci95=tuple(100 * bound for bound in metrics[0]["ci95"]) if len(metrics) == 1 else None,
            n=n,
            differs=tuple(_differences(table, column, rule, found, n)),
        )
    return cells


def _differences(
    table: PublishedTable, column: str, rule: dict[str, Any], found: Sequence[dict[str, Any]], n: int
) -> list[str]:
    differs = [rule["differs"]]
    stated = next((number for key, number in table.n.items() if column.startswith(key)), table.n.get("images"))
    if stated is not None and stated != n:
        differs.append(f"other data: n is {n:,}, the paper's {stated:,}")
    for run in found:
        contamination = run.get("contamination") or run.get("checks", {}).get("contamination") or {}
        if share := contamination.get("num_rows_in_training"):
            differs.append(f"{share:,} rows of {run['task']} are in the model's training data")
        if "val" in str(run.get("split", "")) and "test" not in str(run.get("split", "")):
            differs.append(f"{run['task']} was read without its test split")
    return differs
