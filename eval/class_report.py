"""results.json of a class task -> Markdown tables."""

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
        rows = [[_text(entry.get(name)) for name in columns] for entry in results["classes"]]
        parts += ["## Classes", markdown_table(columns, rows)]
    if results.get("draws"):
        columns = ("training images", "draw", "C", "validation accuracy", "accuracy", "macro AUROC")
        parts += ["## Draws", markdown_table(columns, _draw_rows(results["draws"]))]
    if results.get("calibration"):
        rows = [
            [f"{row['lower']:.2f}–{row['upper']:.2f}", row["n"], _text(row["confidence"]), _text(row["accuracy"])]
            for row in results["calibration"]["reliability"]
        ]
        parts += ["## Reliability", markdown_table(("confidence", "n", "mean confidence", "accuracy"), rows)]
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
                _text(metric["value"]),
                f"{_text(low)}–{_text(high)}",
                _text(results["chance"].get(name)),
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
            *(_text(seed[name]) for name in ("validation_accuracy", "accuracy", "macro_auroc")),
        ]
        for entry in draws.values()
        for seed in entry["seeds"]
    ]


def markdown_table(columns: Any, rows: list[list[Any]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return "—"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _flat(found: Any) -> str:
    if not isinstance(found, dict):
        return _text(found)
    return ", ".join(f"{name} {_text(value)}" for name, value in found.items())
