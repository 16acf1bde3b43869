"""`phenolip audit`: what a benchmark shares with a training table, or what one table holds twice."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.reader import load_ontology

if TYPE_CHECKING:
    from phenolip.datasets_scripts.contamination import AuditedTable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two tables, the thresholds and the output."""
    table = "folder, file, Hub id, or name in the datasets cache"
    parser.add_argument("train", metavar="TRAIN", help=f"pairs to train on: {table}")
    parser.add_argument("bench", metavar="BENCH", nargs="?", help="pairs to measure on (duplicates within TRAIN)")
    parser.add_argument("--train_split", metavar="NAME", help="split of TRAIN, where it has several")
    parser.add_argument("--bench_split", metavar="NAME", help="split of BENCH, where it has several")
    parser.add_argument("--output", metavar="DIR", help="gets audit.html, audit.json and lists of rows and pairs")
    parser.add_argument(
        "--fail_above", type=float, metavar="F", help="exit with 1 if a greater share of BENCH is touched (never)"
    )
    parser.add_argument(
        "--max_phash_distance",
        type=int,
        default=4,
        metavar="BITS",
        help="near images differ in at most this; -1 compares files only (4)",
    )
    parser.add_argument(
        "--min_jaccard", type=float, default=0.8, metavar="J", help="least resemblance of near captions (0.8)"
    )
    parser.add_argument("--hpo", metavar="PATH", help="hp.obo or hp.json (the installed release)")
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of rows that may be bad (0.01)"
    )


def run(args: argparse.Namespace) -> int:
    """Compare, print the counts and write the report; 1 if more is shared than `--fail_above` allows."""
    from phenolip.datasets_scripts.audit_report import summarize, write_audit
    from phenolip.datasets_scripts.contamination import Contamination, check_settings

    check_settings(args.max_phash_distance, args.min_jaccard)
    if args.fail_above is not None and not 0 <= args.fail_above <= 1:
        raise ConfigurationError(f"`fail_above` must be between 0 and 1, got {args.fail_above}.")
    if args.bench is None and args.bench_split is not None:
        raise ConfigurationError("`bench_split` needs BENCH, got only TRAIN.")
    reading = {
        "ontology": load_ontology(args.hpo),
        "max_bad_fraction": args.max_bad_fraction,
        "hash_images": args.max_phash_distance >= 0,
    }
    tables = [_read(args.train, args.train_split, **reading)]
    if args.bench is not None:
        tables.append(_read(args.bench, args.bench_split, **reading))
    found = Contamination(
        *(table for table, _ in tables), max_phash_distance=args.max_phash_distance, min_jaccard=args.min_jaccard
    )
    left_out = {name: bad for name, (_, bad) in zip(("train", "bench"), tables, strict=False)}
    summary = write_audit(found, args.output, num_rows_left_out=left_out) if args.output else summarize(found)
    sys.stdout.write(_text(summary, args.output))
    share = summary["any"]["bench_fraction"]
    if args.fail_above is not None and share > args.fail_above:
        sys.stderr.write(f"audit: {share:.4f} of the rows are touched, more than `fail_above` {args.fail_above:g}.\n")
        return 1
    return 0


def _read(data: str, split: str | None, *, hash_images: bool, **reading: Any) -> tuple["AuditedTable", dict[str, int]]:
    from phenolip.datasets_scripts.contamination import AuditedTable
    from phenolip.datasets_scripts.load import load_pairs_with_report

    pairs, report = load_pairs_with_report(data, split=split, **reading)
    name = report.source if split is None else f"{report.source} ({split})"
    return AuditedTable.read(pairs, name, hash_images=hash_images), report.bad_rows


def _text(summary: dict[str, Any], output: str | None) -> str:
    train, bench = summary["train"], summary["bench"]
    if summary["is_one_table"]:
        lines = [f"Duplicates within {train['name']} ({train['num_rows']:,} rows):"]
    else:
        lines = [f"{bench['name']} ({bench['num_rows']:,} rows) against {train['name']} ({train['num_rows']:,} rows):"]
    lines.append(f"{'':34}{'rows':>8}{'share':>10}{'pairs':>12}")
    for counts in summary["criteria"].values():
        share = f"{counts['bench_fraction']:.2%}"
        lines.append(f"  {counts['title']:32}{counts['num_bench_rows']:>8,}{share:>10}{counts['num_pairs']:>12,}")
    share = f"{summary['any']['bench_fraction']:.2%}"
    lines.append(f"  {'any of these':32}{summary['any']['num_bench_rows']:>8,}{share:>10}")
    if output:
        lines.append(f"Look at {output}/audit.html; lists beside it.")
    return "\n".join(lines) + "\n"
