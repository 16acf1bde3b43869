"""The task on reports: findings of the rules, or of a file, against the reports' indexing."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.class_report import markdown_table, metric_table
from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.evaluators.query_metrics import mean_metric
from phenolip.eval.metrics.finding_agreement import KINDS, Agreement, Heading, finding_agreement
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals
from phenolip.eval.per_query import Queries, write_clusters
from phenolip.eval.run_record import Evaluation, describe_run, describe_task, write_run
from phenolip.eval.tasks.registry import Task
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import content_hash
from phenolip.whole_files import whole_file

RULES = "rules"  # the model's name on the command line; a file of that name is ./rules


def evaluate_findings(
    task: Task,
    model: str | Path,
    data: str | Path,
    output_dir: str | Path,
    *,
    hpo: str | Path | None = None,
    max_bad_fraction: float = 0.01,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Scores findings of reports.

    Args:
        task: A task with the evaluator ``findings``.
        model: "rules", or a file of `phenolip extract`.
        data: JSON lines with ``uid`` (or ``doc_id``), ``text`` and ``mesh``, the headings with their qualifiers.
        output_dir: Receives results.json, per_query.parquet and report.md.
        hpo: hp.obo or hp.json, for the rules.
        max_bad_fraction: Share of reports that the file may lack; they count as without findings.
        report_path: Where the report goes instead.

    Raises:
        ConfigurationError: A heading of the task is of another form.
        DataError: A line cannot be read, or the file lacks more reports than allowed.
    """
    started = time.perf_counter()
    headings = _headings(task)
    reports = _read(Path(data), ("text", "mesh"))
    texts = {uid: str(row["text"]) for uid, row in reports.items()}
    ontology = load_ontology(hpo)
    extractor, found = _rules(texts, hpo) if str(model) == RULES else (Path(model).name, _stored(Path(model)))
    missing = [uid for uid in reports if uid not in found]
    if len(missing) > max_bad_fraction * len(reports):
        raise DataError(f"{model} has no findings of {len(missing)} of {len(reports)} reports, such as {missing[0]}.")
    agreement = finding_agreement(
        [row["mesh"] for row in reports.values()], [found.get(uid, ()) for uid in reports], headings
    )
    metrics, queries, report_of = _metrics(agreement, tuple(reports), headings)
    results = {
        **describe_task(task, str(model), {"extractor": extractor}, len(reports), metrics),
        "classes": _by_heading(agreement, headings, tuple(reports)),
        "num_reports_without_entry": len(missing),
        "data": str(data),
        "data_revision": content_hash([json.dumps(row, sort_keys=True) for row in reports.values()]),
        **describe_run(ontology, started),
    }
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_clusters(output_dir, "finding", list(report_of), np.array(list(report_of.values())))
    write_run(output_dir, results, metrics, queries)
    with whole_file(report_path or output_dir / "report.md", "w") as file:
        file.write(_report(results))
    return Evaluation(results)


def _rules(texts: Mapping[str, str], hpo: str | Path | None) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    from phenolip.phenokg.extract_findings import ExtractConfig, FindingExtractor  # needs the extra "phenokg"
    from phenolip.phenokg.findings.finding_records import Document

    extractor = FindingExtractor(ExtractConfig(hpo=str(hpo) if hpo is not None else None))
    results = extractor.extract([Document(text, uid=uid) for uid, text in texts.items()])
    fields = ("category", "severity", "location", "assertion")
    found = {one.doc_id: [{name: getattr(f, name) for name in fields} for f in one.findings] for one in results}
    return extractor.name, found


def _stored(path: Path) -> dict[str, list[dict[str, Any]]]:
    return {uid: row["findings"] for uid, row in _read(path, ("findings",)).items()}


def _read(path: Path, fields: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The rows of a file by their id; of two with one id the last counts."""
    rows: dict[str, dict[str, Any]] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = _row(line, f"{path.name} line {number}", fields)
                    rows[str(row.get("uid", row.get("doc_id")))] = row
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {str(error).rstrip('.')}.") from error
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows


def _row(line: str, place: str, fields: tuple[str, ...]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON.") from error
    if not isinstance(row, dict) or ("uid" not in row and "doc_id" not in row):
        raise DataError(f"{place} must be an object with `uid` or `doc_id`.")
    for name in fields:
        if not isinstance(row.get(name), str if name == "text" else list):
            raise DataError(f"{place}: `{name}` must be {'text' if name == 'text' else 'a list'}.")
    if "mesh" in fields and not all(isinstance(entry, str) for entry in row["mesh"]):
        raise DataError(f"{place}: `mesh` must hold texts.")
    for finding in row["findings"] if "findings" in fields else ():
        if not isinstance(finding, dict) or not isinstance(finding.get("category"), str):
            raise DataError(f"{place}: each of `findings` must be an object with a `category`.")
    return row


def _headings(task: Task) -> list[Heading]:
    given = task.evaluators["findings"].get("headings")
    try:
        headings = [Heading(tuple(entry["words"]), tuple(entry["mesh"])) for entry in given]
        named = [word for heading in headings for word in (*heading.words, *heading.mesh)]
        if not headings or not all(isinstance(word, str) and word for word in named):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"`headings` of the task '{task.name}' must be a list of {{words, mesh}}, each a list of texts."
        ) from error
    return headings


def _metrics(
    agreement: Agreement, uids: tuple[str, ...], headings: list[Heading]
) -> tuple[dict[str, MetricValue], dict[str, Queries], dict[str, int]]:
    """Scores with intervals over reports; queries of each kind; the report of each query."""
    names = ("findings_category_precision", "findings_category_recall", "findings_category_f1")
    intervals = grouped_intervals(lambda rows, _: np.array(agreement.category_scores(rows)), uids)
    metrics = {
        name: MetricValue(value, (float(low), float(high)), len(uids))
        for name, value, (low, high) in zip(names, agreement.category_scores(), intervals, strict=True)
    }
    queries: dict[str, Queries] = {}
    report_of: dict[str, int] = {}
    for kind in KINDS:
        places = np.argwhere(~np.isnan(agreement.right[kind]))
        if len(places):
            values = agreement.right[kind][places[:, 0], places[:, 1]]
            metrics[f"findings_{kind}_accuracy"] = mean_metric(values, places[:, 0])
            ids = tuple(f"{uids[row]}, {headings[column].mesh[0]}" for row, column in places)
            queries[f"findings_{kind}"] = Queries("finding", ids)
            report_of |= dict(zip(ids, places[:, 0].tolist(), strict=True))
    return metrics, queries, report_of


def _by_heading(agreement: Agreement, headings: list[Heading], uids: tuple[str, ...]) -> list[dict[str, Any]]:
    """Counts of each heading, and precision, recall and F1 with intervals over reports."""

    def scores(rows: NDArray) -> NDArray:
        """(3, H) precision, recall and F1, NaN where a heading is not found, not indexed, neither."""
        indexed, found = agreement.indexed[rows], agreement.found[rows]
        both, sizes = (indexed & found).sum(axis=0), np.stack([found.sum(axis=0), indexed.sum(axis=0)])
        halves = np.stack([*sizes, sizes.sum(axis=0) / 2])
        return np.divide(both, halves, out=np.full(halves.shape, np.nan), where=halves > 0)

    values = scores(np.arange(len(uids)))
    intervals = grouped_intervals(lambda rows, _: scores(rows).ravel(), uids).reshape(*values.shape, 2)
    entries = []
    for column, heading in enumerate(headings):
        indexed, found = agreement.indexed[:, column], agreement.found[:, column]
        entry = {
            "name": " / ".join(heading.mesh),
            "indexed": int(indexed.sum()),
            "found": int(found.sum()),
            "both": int((indexed & found).sum()),
        }
        for kind, name in enumerate(("precision", "recall", "f1")):
            entry[name] = _number(values[kind, column])
            entry[f"{name}_ci95"] = [_number(bound) for bound in intervals[kind, column]]
        entries.append(entry)
    return entries


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _cell(entry: Mapping[str, Any], name: str) -> Any:
    if entry[name] is None or name not in ("precision", "recall", "f1"):
        return "—" if entry[name] is None else entry[name]
    low, high = (100 * bound for bound in entry[f"{name}_ci95"])
    return f"{100 * entry[name]:.1f} ({low:.1f}–{high:.1f})"


def _report(results: dict[str, Any]) -> str:
    columns = [name for name in results["classes"][0] if not name.endswith("_ci95")]
    parts = [
        f"# {results['task']} (version {results['task_version']})",
        f"Findings of `{results['model']}` ({results['encoder']['extractor']}) in {results['n']:,} reports.",
        metric_table(results),
        "## Headings",
        "Reports whose indexing has the heading, in which it was found, and both; precision, recall and F1 in percent "
        "with 95 % intervals over reports.",
        markdown_table(columns, [[_cell(entry, name) for name in columns] for entry in results["classes"]]),
    ]
    return "\n\n".join(parts) + "\n"
