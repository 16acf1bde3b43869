"""Published tables, our numbers beside them and the findings of their checks, as text or Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from phenolip.eval.published.beside import BesideCell
from phenolip.eval.published.checks import Finding
from phenolip.eval.published.tables import PublishedTable

GAP = "–"


def table_rows(
    table: PublishedTable, model: str = "", cells: Mapping[str, BesideCell] | None = None
) -> list[list[str]]:
    """Head, rows and, where it has a number, the row of our model; all cells as text."""
    words = [key for key in next(iter(table.words.values())) if key]
    rows = [["model", *words, *table.columns]]
    rows += [
        [name, *(table.words[name][key] for key in words), *map(table.shown, values)]
        for name, values in table.rows.items()
    ]
    if cells:
        ours = [table.shown(cells[name].percent) if name in cells else GAP for name in table.columns]
        rows.append([f"measured here: {model}", *(GAP for _ in words), *ours])
    return rows


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; a table of many columns stands on its side, a row a column."""
    if len(rows[0]) > 9:
        rows = [list(column) for column in zip(*rows, strict=True)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = zip(row, widths, strict=True)
        lines.append("  ".join([f"{first[0]:{first[1]}s}", *(f"{cell:>{width}s}" for cell, width in rest)]).rstrip())
    return "\n".join(lines) + "\n"


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows[1:]]) + "\n"


def finding_lines(findings: Sequence[Finding], mark: str = "") -> str:
    """A line a check, and one below it for each number that does not agree."""
    lines = []
    for finding in findings:
        verdict = "closes" if finding.closes else "DOES NOT CLOSE"
        lines.append(f"{mark}{verdict}: {finding.question}")
        lines += [f"{'  ' if mark else ''}  {mark}{detail}" for detail in finding.details]
    return "\n".join(lines) + "\n"


def beside_lines(cells: Mapping[str, BesideCell], mark: str = "") -> str:
    """A line a number of ours: value, interval, n, and where the protocols differ."""
    lines = []
    for column, cell in cells.items():
        interval = "" if cell.ci95 is None else f" ({cell.ci95[0]:.2f} to {cell.ci95[1]:.2f})"
        lines.append(f"{mark}{column}: {cell.percent:.2f}{interval}, n {cell.n:,}; {'; '.join(cell.differs)}")
    return "\n".join(lines) + "\n"


def as_json(table: PublishedTable, findings: Sequence[Finding], cells: Mapping[str, BesideCell]) -> dict[str, Any]:
    """Everything of one table as JSON values."""
    return {
        "name": table.name,
        "title": table.title,
        "source": table.source,
        "columns": list(table.columns),
        "rows": {name: list(values) for name, values in table.rows.items()},
        "checks": [
            {"check": one.check, "question": one.question, "closes": one.closes, "details": list(one.details)}
            for one in findings
        ],
        "beside": {
            name: {"percent": cell.percent, "ci95": cell.ci95, "n": cell.n, "differs": list(cell.differs)}
            for name, cell in cells.items()
        },
    }
