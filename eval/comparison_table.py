"""Several runs in one table: values with intervals, and differences to the first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from textwrap import wrap
from typing import Any

import numpy as np

from phenolip.eval.compare import (
    Run,
    by_unit,
    check_comparable,
    clusters_by_unit,
    common_queries,
    compare_runs,
    seed_mean,
)
from phenolip.eval.metrics.multiplicity import holm
from phenolip.eval.metrics.paired import bootstrap_grand_mean
from phenolip.exceptions import ConfigurationError, near_matches

USUAL_METRICS = (  # shown unless others are asked for
    "i2t_hit_at_10",
    "t2i_hit_at_10",
    "i2p_hit_at_10",
    "p2i_hit_at_10",
    "zero_shot_top1",
    "synonym_to_name_hit_at_1",
    "synonym_to_name_hit_at_10",
    "layperson_to_name_hit_at_10",
    "definition_to_name_hit_at_1",
    "definition_to_name_hit_at_10",
    "spearman_lin",
    "spearman_lin_uniform",
    "parent_child_auc",
    "zero_shot_classes_top1",
    "zero_shot_classes_macro_recall",
    "zero_shot_classes_macro_auroc",
    "zero_shot_classes_macro_f1_val_fitted",
    *(f"probe_accuracy_at_{share}_percent" for share in (1, 10, 100)),
    "probe_macro_auroc_at_100_percent",
    *(
        f"segmentation_{mode}_dice_all_at_{share}_percent"
        for mode in ("frozen", "finetuned")
        for share in (1, 10, 100)
    ),
    "faces_hit_at_5",
    "faces_hit_at_10",
    "faces_sample_f1_at_10",
    "findings_category_f1",
    "findings_laterality_accuracy",
    "findings_severity_accuracy",
    "finegrained_macro_auroc",
    "finegrained_severity_accuracy_given_category",
    "finegrained_location_accuracy_given_category",
)
MEAN = "mean"
UNITS = ("spearman", "_rank", "_depth")  # correlations, ranks and edges; all other metrics are shares, in percent
LEGEND = (
    "Rates in percent, correlations from -1 to 1, ranks (where less is better) as they are. "
    "In brackets 95 % bootstrap intervals over queries; with a sign, the "
    "difference to the first row, its interval paired by query. p: two-sided sign-flip test of that difference, "
    "adjusted for all differences of the table (Holm)."
)
NO_MEAN = "{} {} no value per query: no mean over queries, so that the difference has neither interval nor test."


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one row.

    Attributes:
        value: The metric, averaged over the row's runs; None where it is not defined.
        ci95: Its bootstrap interval; None for the average of several runs of what is no mean over queries.
        n: Queries behind it.
        difference: Value minus that of the first row; None in the first row.
        difference_ci95: Paired bootstrap interval of the difference; None for what is no mean over queries.
        p_value: Of a two-sided sign-flip test of the difference; None where the interval is None.
        p_holm: The same, adjusted for all differences of the table (Holm).
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int | None
    difference: float | None = None
    difference_ci95: tuple[float, float] | None = None
    p_value: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the table.

    Attributes:
        name: What the user called it: its folders.
        models: Model of each run, as results.json states it.
        cells: Name of a metric -> its cell.
    """

    name: str
    models: tuple[str, ...]
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table.

    Attributes:
        task: Name and version of the task, as in "knowledge 2".
        metrics: The columns.
        rows: The models; the first is the reference.
    """

    task: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def compare_rows(
    rows: dict[str, Sequence[Run]], metrics: Sequence[str] | None = None, *, with_mean: bool = False
) -> Comparison:
    """Puts runs side by side; a row of several runs (seeds of one model) shows their average.

    Args:
        rows: Name of a row -> its runs; the first row is what the others are compared with.
        metrics: Columns; by default the usual ones that every run has.
        with_mean: Add the mean of the columns, whose interval draws the queries of all of them together.

    Raises:
        ConfigurationError: The runs cannot be compared, or lack a metric.
        DataError: The runs were asked different queries.
    """
    runs = [run for members in rows.values() for run in members]
    check_comparable(runs)
    metrics = choose_metrics(runs, metrics, rates_only=with_mean)
    if with_mean and (without := [name for name in metrics if name not in runs[0].values]):
        raise ConfigurationError(f"`mean` takes rates alone, which '{without[0]}' is not: name others in `metrics`.")
    first = next(iter(rows.values()))
    columns = {name: [name] for name in metrics} | ({MEAN: metrics} if with_mean else {})
    found = []
    for number, (name, members) in enumerate(rows.items()):
        reference = first if number else None
        cells = {column: make_cell(members, reference, parts) for column, parts in columns.items()}
        found.append(Row(name, tuple(str(run.results.get("model", "")) for run in members), cells))
    found = adjust_rows(found)
    results = runs[0].results
    return Comparison(f"{results['task']} {results.get('task_version', '')}".strip(), tuple(columns), tuple(found))


def adjust_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows, p-values of all their differences adjusted together: the whole table is one family of tests."""
    places = [
        (row, name) for row, one in enumerate(rows) for name, cell in one.cells.items() if cell.p_value is not None
    ]
    adjusted = dict(zip(places, holm([rows[row].cells[name].p_value for row, name in places]), strict=True))
    return [
        replace(one, cells={name: replace(cell, p_holm=adjusted.get((row, name))) for name, cell in one.cells.items()})
        for row, one in enumerate(rows)
    ]


def choose_metrics(runs: Sequence[Run], metrics: Sequence[str] | None, *, rates_only: bool = False) -> list[str]:
    """The metrics asked for, or else the usual ones (or the rates among them), each known to be in every run.

    Raises:
        ConfigurationError: A run lacks a metric.
    """
    common = [name for name in runs[0].results["metrics"] if all(name in run.results["metrics"] for run in runs)]
    if metrics is None:
        if rates_only:
            common = [name for name in common if name in runs[0].values]
        usual = [name for name in USUAL_METRICS if name in common]
        return usual or common
    for name in metrics:
        if name not in common:
            raise ConfigurationError(f"`metrics` must be in every run, '{name}' is not.{near_matches(name, common)}")
    return list(dict.fromkeys(metrics))


def make_cell(runs: Sequence[Run], reference: Sequence[Run] | None, metrics: Sequence[str]) -> Cell:
    """The mean of some metrics (mostly one) for one row, and its difference to the reference."""
    value, before = _mean(runs, metrics), _mean(reference, metrics) if reference else None
    entry = runs[0].results["metrics"][metrics[0]]
    by_query = all(name in run.values for run in (*runs, *(reference or ())) for name in metrics)
    if len(runs) == len(metrics) == 1:
        ci95 = None if None in entry["ci95"] else tuple(entry["ci95"])
    else:
        ci95 = _interval(runs, metrics) if by_query else None
    compared = compare_runs(reference, runs, metrics) if reference and by_query else None
    return Cell(
        value,
        ci95,
        sum(runs[0].results["metrics"][name]["n"] for name in metrics),
        None if None in (value, before) else value - before,
        compared.ci95 if compared else None,
        compared.p_value if compared else None,
    )


def to_text(comparison: Comparison) -> str:
    """The table for a terminal: five lines a row, which are value, interval, difference, its interval, adjusted p."""
    headers = [[*_wrapped(name), f"n = {_count(comparison, name)}"] for name in comparison.metrics]
    height = max(map(len, headers))
    # a column is a list of lines: its header, bottom aligned, then those of every row
    columns = [[""] * height + [line for row in comparison.rows for line in (row.name, "", "", "", "")]]
    for name, header in zip(comparison.metrics, headers, strict=True):
        cells = [line for row in comparison.rows for line in _texts(name, row.cells[name])]
        columns.append([""] * (height - len(header)) + header + cells)
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for first, *rest in zip(*columns, strict=True):
        entries = [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))]
        lines.append("  ".join(entries).rstrip())
    return "\n".join([f"Task: {comparison.task}", *filter(None, lines), "", *wrap(legend(comparison), 100)]) + "\n"


def to_markdown(comparison: Comparison) -> str:
    """The table as GitHub Markdown; a difference whose interval leaves out zero is bold."""
    lines = [
        "| run | " + " | ".join(f"`{name}`<br>n = {_count(comparison, name)}" for name in comparison.metrics) + " |",
        "|---" * (1 + len(comparison.metrics)) + "|",
    ]
    for row in comparison.rows:
        cells = []
        for name in comparison.metrics:
            value, interval, *parts, p_value = _texts(name, row.cells[name])
            difference, ci95 = " ".join(filter(None, parts)), row.cells[name].difference_ci95
            if ci95 and (ci95[0] > 0 or ci95[1] < 0):
                difference = f"**{difference}**"
            cells.append("<br>".join(filter(None, (value, interval, difference, p_value))))
        lines.append(f"| {row.name.replace('|', chr(92) + '|')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Task: {comparison.task}. {legend(comparison)}"]) + "\n"


def legend(comparison: Comparison) -> str:
    """How the table is read, and which of its differences have no test."""
    untested = [
        name
        for name in comparison.metrics
        if any(row.cells[name].difference is not None and row.cells[name].p_value is None for row in comparison.rows)
    ]
    return (
        f"{LEGEND} {NO_MEAN.format(', '.join(untested), 'has' if len(untested) == 1 else 'have')}"
        if untested
        else LEGEND
    )


def _texts(metric: str, cell: Cell) -> tuple[str, str, str, str, str]:
    """Value, interval, difference, its interval and adjusted p-value, empty where there is none; rates in percent."""
    factor, digits = (1, 3) if any(part in metric for part in UNITS) else (100, 1)

    def number(value: float, sign: str = "") -> str:
        return f"{factor * value:{sign}.{digits}f}"

    def interval(ci95: tuple[float, float], sign: str = "") -> str:
        return f"[{number(ci95[0], sign)}, {number(ci95[1], sign)}]"

    return (
        "-" if cell.value is None else number(cell.value),
        interval(cell.ci95) if cell.ci95 else "",
        "" if cell.difference is None else number(cell.difference, "+"),
        interval(cell.difference_ci95, "+") if cell.difference_ci95 else "",
        "" if cell.p_holm is None else f"p {cell.p_holm:.4f}" if cell.p_holm < 0.1 else f"p {cell.p_holm:.2f}",
    )


def _count(comparison: Comparison, metric: str) -> str:
    return f"{comparison.rows[0].cells[metric].n:,}"


def _wrapped(name: str) -> list[str]:
    """A metric's name in lines of about fourteen characters, broken after underscores."""
    lines = [""]
    for part in name.replace("_", "_ ").split():
        if lines[-1] and len(lines[-1] + part) > 14:
            lines.append("")
        lines[-1] += part
    return lines


def _mean(runs: Sequence[Run], metrics: Sequence[str]) -> float | None:
    values = [run.results["metrics"][name]["value"] for run in runs for name in metrics]
    return None if None in values else float(np.mean(values))


def _interval(runs: Sequence[Run], metrics: Sequence[str]) -> tuple[float, float]:
    queries = {name: common_queries(runs, name) for name in metrics}
    values = {name: replace(queries[name], values=seed_mean(runs, name)) for name in metrics}
    clusters = clusters_by_unit(values, runs[0].clusters)
    return bootstrap_grand_mean(by_unit(values), clusters=clusters)[1]
