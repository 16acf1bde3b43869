"""`phenolip compare`: runs of one task side by side, with paired intervals of their differences."""

import argparse
import sys
from pathlib import Path

from phenolip.exceptions import ConfigurationError
from phenolip.provenance import write_json

SUFFIXES = (".md", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the runs and the columns."""
    parser.description = (
        "Puts evaluations of one task on the same data into one table: a row a model, a column a metric, and the "
        "difference to the first row with its paired bootstrap interval. Positive means better than the first row."
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  phenolip compare runs/without runs/with --metrics i2t_hit_at_10 t2i_hit_at_10 --mean\n"
        "  phenolip compare runs/without_s0,runs/without_s1 runs/with_s0,runs/with_s1 --output table.md"
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="output folder of `phenolip eval`; several joined by commas are seeds of one model, averaged query by "
        "query; the first RUN is what the others are compared with",
    )
    parser.add_argument(
        "--metrics", nargs="+", metavar="NAME", help="columns, named as in results.json (default: the usual ones)"
    )
    parser.add_argument("--mean", action="store_true", help="add a column with the mean of the metrics")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table as .md or .json too")


def run(args: argparse.Namespace) -> int:
    """Compares, prints and writes."""
    from phenolip.eval.compare import load_run
    from phenolip.eval.comparison_table import compare_rows, to_markdown, to_text

    if args.output and args.output.suffix not in SUFFIXES:
        raise ConfigurationError(f"`output` must end in {' or '.join(SUFFIXES)}, got {args.output}.")
    folders = {name: name.split(",") for name in args.runs}
    known = [Path(folder) for members in folders.values() for folder in members]
    if len(args.runs) > len(folders) or len(set(known)) < len(known):
        raise ConfigurationError(f"`runs` must name each folder once, got {' '.join(args.runs)}.")
    rows = {name: [load_run(folder) for folder in members] for name, members in folders.items()}
    comparison = compare_rows(rows, args.metrics, with_mean=args.mean)
    sys.stdout.write(to_text(comparison))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        if args.output.suffix == ".json":
            write_json(args.output, comparison.to_dict())
        else:
            args.output.write_text(to_markdown(comparison), encoding="utf-8")
        sys.stdout.write(f"Written: {args.output}\n")
    return 0
