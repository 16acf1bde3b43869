"""results.json of a class task -> Markdown tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phenolip.whole_files import whole_file


def write_class_report(results: dict[str, Any], path: str | Path) -> None:
    """Writes the tables of `class_report` into a file."""
    with whole_file(path, "w") as file:
        file.write(class_report(results))


def class_report(results: dict[str, Any]) -> str:
    """Every metric with its interval, number of images and chance; the classes, the draws and the controls."""
    parts = [
        f"# {results['task']} (version {results['task_version']})",
        f"Model `{results['model']}`; {results['n']:,} images in {results['num_groups']:,} groups; "
        + "; ".join(f"{name}: {text}" for name, text in results["split"].items())
        + ". Intervals are 95 % bootstrap intervals over groups.",
        metric_table(results),
    ]
    if results.get("classes"):
        columns = [name for name in results["classes"][0] if name != "excluded"]
        rows = [[cell_text(entry.get(name)) for name in columns] for entry in results["classes"]]
        parts += ["## Classes", markdown_table(columns, rows)]
    if results.get("draws"):
        columns = ("training images", "draw", "C", "validation accuracy", "accuracy", "macro AUROC")
        parts += ["## Draws", markdown_table(columns, _draw_rows(results["draws"]))]
    if results.get("calibration"):
        rows = [
            [
                f"{row['lower']:.2f}–{row['upper']:.2f}",
                row["n"],
                cell_text(row["confidence"]),
                cell_text(row["accuracy"]),
            ]
            for row in results["calibration"]["reliability"]
        ]
        parts += ["## Reliability", markdown_table(("confidence", "n", "mean confidence", "accuracy"), rows)]
    parts += breakdown_tables(results.get("breakdowns") or ())
    checks = [[name, _flat(found)] for name, found in results["checks"].items()]
    parts += ["## Controls", markdown_table(("control", "found"), checks)]
    return "\n\n".join(parts) + "\n"


def metric_table(results: dict[str, Any]) -> str:
    """Every metric with its interval, chance and number of queries."""
    return markdown_table(("metric", "value", "95 % interval", "chance", "n"), _metric_rows(results))


def _metric_rows(results: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, metric in results["metrics"].items():
        low, high = metric["ci95"]
        rows.append(
            [
                name,
                cell_text(metric["value"]),
                f"{cell_text(low)}–{cell_text(high)}",
                cell_text(results["chance"].get(name)),
                f"{metric['n']:,}",
            ]
        )
    return rows


def _draw_rows(draws: dict[str, Any]) -> list[list[Any]]:
    return [
        [
            entry["num_train"],
            seed["seed"],
            f"{seed['strength']:g}",
            *(cell_text(seed[name]) for name in ("validation_accuracy", "accuracy", "macro_auroc")),
        ]
        for entry in draws.values()
        for seed in entry["seeds"]
    ]


def breakdown_tables(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A heading and a table a column of the metadata; values in percent with interval and n."""
    parts = []
    for entry in entries:
        names, rows = breakdown_cells(entry)
        parts += [f"## By {entry['by']}, %", markdown_table((entry["by"], "images", *names), rows)]
    return parts


def clean_tables(contamination: Mapping[str, Any] | None) -> list[str]:
    """What the items share with the model's training rows, and the scores of those that share nothing."""
    if not contamination or not contamination["num_rows_touched"]:
        return []
    found = ", ".join(
        f"{name.replace('_', ' ')} {count:,}" for name, count in contamination["criteria"].items() if count
    )
    parts = [
        "## Training rows in the task",
        f"{contamination['num_rows_touched']:,} of {contamination['num_rows']:,} images share something with the "
        f"training rows of the model ({found}): the numbers flatter it.",
    ]
    rows = [
        [name, _in_percent(metric), "—" if metric["value_of_all"] is None else f"{100 * metric['value_of_all']:.1f}"]
        for name, metric in contamination.get("clean", {}).items()
    ]
    return [*parts, markdown_table(("metric, %", "images that share nothing", "all"), rows)] if rows else parts


def breakdown_cells(entry: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Metrics, and for each value of a column its name, number of images and cells."""
    names = list(dict.fromkeys(name for row in entry["rows"] for name in row["metrics"]))
    return names, [
        [row["name"], row["n"], *(_in_percent(row["metrics"].get(name)) for name in names)] for row in entry["rows"]
    ]


def _in_percent(metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "—"
    low, high = ("—" if bound is None else f"{100 * bound:.1f}" for bound in metric["ci95"])
    return f"{100 * metric['value']:.1f} ({low}–{high}), n {metric['n']:,}"


def markdown_table(columns: Any, rows: list[list[Any]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def cell_text(value: Any) -> str:
    """A number, an interval or a word as a cell; a dash where there is none."""
    if value is None:
        return "—"
    if isinstance(value, list):
        return "–".join(map(cell_text, value))  # an interval
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _flat(found: Any) -> str:
    if not isinstance(found, dict):
        return cell_text(found)
    return ", ".join(f"{name} {cell_text(value)}" for name, value in found.items())
