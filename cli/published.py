"""`phenolip published`: the papers' tables, whether their numbers can be, and a run's numbers beside them."""

import argparse
import sys
from pathlib import Path

from phenolip.eval.published.beside import read_results, set_beside
from phenolip.eval.published.checks import run_checks
from phenolip.eval.published.printing import (
    as_json,
    as_markdown,
    as_text,
    beside_lines,
    finding_lines,
    table_rows,
)
from phenolip.eval.published.tables import PublishedTable, list_published, load_published
from phenolip.exceptions import ConfigurationError
from phenolip.provenance import write_json
from phenolip.whole_files import whole_file

SUFFIXES = (".md", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tables and the runs."""
    parser.description = (
        "Shows the eleven tables of the PhenoLIP and MedFILIP papers as they are printed, and under each the checks "
        "of its arithmetic: means, claimed differences, k of n, and what one metric says of another. Without a table, "
        "lists them. With --beside, sets the numbers of a run into the columns that it measures and says, of each, "
        "where the protocols differ."
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  phenolip published\n"
        "  phenolip published phenolip_zero_shot\n"
        "  phenolip published phenolip_retrieval --beside runs/full\n"
        "  phenolip published all --output published.md"
    )
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"{', '.join(list_published())}, or 'all' (default: a list of them)"
    )
    parser.add_argument(
        "--beside", nargs="+", default=(), metavar="RUN", help="output folders of `phenolip eval`, all of one model"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it as .md or .json too")


def run(args: argparse.Namespace) -> int:
    """Prints the list, or the tables with their checks."""
    if args.output and args.output.suffix not in SUFFIXES:
        raise ConfigurationError(f"`output` must end in {' or '.join(SUFFIXES)}, got {args.output}.")
    if not args.tables:
        if args.output or args.beside:
            raise ConfigurationError("`output` and `beside` need the name of a TABLE, or 'all'.")
        sys.stdout.write(_list())
        return 0
    names = list_published() if args.tables == ["all"] else args.tables
    tables = [load_published(name) for name in names]
    results = read_results(args.beside)
    model = str(results[0]["model"]) if results else ""
    sys.stdout.write("\n".join(_page(table, model, results, as_text) for table in tables))
    if args.output:
        _write(args.output, tables, model, results)
        sys.stdout.write(f"Written: {args.output}\n")
    return 0


def _list() -> str:
    lines = []
    for name in list_published():
        table = load_published(name)
        findings = run_checks(table)
        num_open = sum(not finding.closes for finding in findings)
        verdict = f"{len(findings)} checks, {num_open} do not close"
        lines.append(f"{name:22s}  {table.title:46s}  {verdict}")
    return "\n".join(lines) + "\n"


def _page(table: PublishedTable, model: str, results: list, form, head: str = "", mark: str = "") -> str:
    cells = set_beside(table, results)
    parts = [f"{head}{table.title}\n", f"{table.source}; percent\n", form(table_rows(table, model, cells))]
    if cells:
        parts.append(beside_lines(cells, mark))
    elif results:
        parts.append("No column of this table is measured by these runs.\n")
    parts.append(finding_lines(run_checks(table), mark))
    return ("\n" if mark else "").join(parts)


def _write(path: Path, tables: list[PublishedTable], model: str, results: list) -> None:
    if path.suffix == ".json":
        write_json(
            path, {t.name: as_json(t, run_checks(t), set_beside(t, results)) for t in tables} | {"model": model}
        )
        return
    with whole_file(path, "w") as file:
        file.write("\n".join(_page(table, model, results, as_markdown, "## ", "- ") for table in tables))
