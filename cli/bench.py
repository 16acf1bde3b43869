"""`phenolip bench`: draw a benchmark, have it reviewed by people, merge what they say, freeze a version."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from phenolip.datasets_scripts.bench_build import draw_bench
from phenolip.datasets_scripts.bench_draw import DrawConfig
from phenolip.datasets_scripts.bench_folder import AGREEMENT, REVIEWS, SHEET, BenchFolder, read_facts
from phenolip.datasets_scripts.bench_freeze import freeze_bench
from phenolip.datasets_scripts.bench_merge import merge_reviews
from phenolip.datasets_scripts.bench_review import SheetConfig
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.reader import load_ontology

_BUILD = """Draws if nothing is drawn, merges when two reviewers' files lie in DIR/reviews, freezes when --version is
given, and says what to do next. The same command again goes on where it was.

examples:
  phenolip bench build runs/phenokg --output runs/bench --exclude my_training_pairs
  phenolip bench build --output runs/bench
  phenolip bench build --output runs/bench --version 1.0.0"""
_DRAW_HELP = {
    "per_phenotype": "most rows of one phenotype",
    "number": "most rows (all that the other settings allow)",
    "split": "of PAIRS; of a build, the other splits count as trained on",
    "seed": "which of the possible draws",
    "max_phash_distance": "near images differ in at most this many of 64 bits; -1 compares files only",
    "min_jaccard": "least resemblance of near captions",
}
_SHEET_HELP = {
    "rows_per_page": "images on one page of the sheet",
    "images": "inline: every page is one file; beside: pages need the folder images/",
    "max_side": "images on the sheet are scaled down to this many pixels; the benchmark's are as they came",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands `build`, `draw`, `merge` and `freeze`."""
    commands = parser.add_subparsers(dest="bench_command", required=True, metavar="COMMAND")
    form = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    build = commands.add_parser("build", help="the next step, whichever it is", description=_BUILD, **form)
    build.add_argument("pairs", metavar="PAIRS", nargs="?", help="what to draw from; needed until it is drawn")
    draw = commands.add_parser("draw", help="draw rows and write the review sheet", allow_abbrev=False)
    draw.add_argument("pairs", metavar="PAIRS", help="output of `phenolip kg build`, or pairs as --data takes them")
    for command in (build, draw):
        _add_draw(command)
    merge = commands.add_parser("merge", help="compare reviews and keep what all agree on", allow_abbrev=False)
    merge.add_argument("folder", metavar="DIR", help="working folder of the benchmark")
    merge.add_argument("reviews", metavar="REVIEW", nargs="+", help="files of at least two reviewers, .jsonl or .csv")
    for command in (build, merge):
        command.add_argument(
            "--keep_open", action="store_true", help="keep rows with phenotypes not agreed on, without those"
        )
        command.add_argument("--allow_missing", action="store_true", help="take reviews that lack answers")
    freeze = commands.add_parser("freeze", help="write the agreed rows as a version", allow_abbrev=False)
    freeze.add_argument("folder", metavar="DIR", help="working folder of the benchmark")
    freeze.add_argument("--version", metavar="X.Y.Z", required=True, help="such as 1.0.0")
    freeze.add_argument("--output", metavar="BENCH", required=True, help="new folder of the benchmark")
    build.add_argument("--version", metavar="X.Y.Z", help="freeze what is merged as this version")
    build.add_argument("--bench", metavar="BENCH", help="folder of the frozen benchmark (DIR/bench-X.Y.Z)")
    for command in (build, draw, merge):
        command.add_argument("--hpo", metavar="PATH", help="hp.obo or hp.json (the installed release)")


def _add_draw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="DIR", required=True, help="working folder of the benchmark")
    parser.add_argument(
        "--exclude",
        metavar="TRAIN",
        nargs="+",
        default=[],
        help="what was trained on, as PAIRS: nothing shared is drawn",
    )
    parser.add_argument("--exclude_split", metavar="NAME", help="split of TRAIN, where it has several")
    parser.add_argument("--media", metavar="DIR", help="folder of the articles, if moved since the build of PAIRS")
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of rows that may be bad (0.01)"
    )
    for config, texts in ((DrawConfig, _DRAW_HELP), (SheetConfig, _SHEET_HELP)):
        for field in dataclasses.fields(config):
            kind = int if field.name == "number" else type(field.default)
            shown = "" if field.default is None else f" ({field.default})"
            parser.add_argument(f"--{field.name}", type=kind, metavar="VALUE", help=texts[field.name] + shown)


def run(args: argparse.Namespace) -> int:
    """Does what was asked for."""
    try:
        return {"build": _build, "draw": _draw, "merge": _merge, "freeze": _freeze}[args.bench_command](args)
    except OSError as error:  # a full disk, a folder that may not be written
        raise DataError(f"A file of the benchmark cannot be read or written: {error}.") from error


def _draw(args: argparse.Namespace) -> int:
    facts = draw_bench(
        args.pairs,
        args.output,
        config=DrawConfig(**_given(args, DrawConfig)),
        sheet=SheetConfig(**_given(args, SheetConfig)),
        exclude=args.exclude,
        exclude_split=args.exclude_split,
        ontology=load_ontology(args.hpo),
        max_bad_fraction=args.max_bad_fraction,
        media=args.media,
    )
    sys.stdout.write(
        f"Drawn: {facts['num_rows']:,} of {facts['num_candidates']:,} rows, {facts['num_phenotypes']:,} of "
        f"{facts['num_available_phenotypes']:,} phenotypes, {facts['num_questions']:,} questions"
        f"{_reasons(facts['num_rows_left_out'])}.\n"
    )
    if not facts["num_excluded_rows"]:
        sys.stderr.write(
            "WARNING: Nothing was kept apart from training data: name what you trained on as --exclude.\n"
        )
    sys.stdout.write(_ask_for_reviews(args.output, facts))
    return 0


def _merge(args: argparse.Namespace) -> int:
    facts = merge_reviews(
        args.folder,
        args.reviews,
        keep_open=args.keep_open,
        allow_missing=args.allow_missing,
        ontology=load_ontology(args.hpo),
    )
    sys.stdout.write(_agreement_text(facts))
    if getattr(args, "version", None) is not None:  # frozen next
        return 0
    sys.stdout.write(
        f"Next: look at {Path(args.folder, 'verdicts.csv')}, then freeze a version: phenolip bench freeze "
        f"{args.folder} --version 1.0.0 --output BENCH\n"
    )
    return 0


def _freeze(args: argparse.Namespace) -> int:
    facts = freeze_bench(args.folder, args.version, args.output)
    sys.stdout.write(
        f"Frozen: version {facts['version']}, {facts['num_rows']:,} rows, {facts['num_phenotypes']:,} phenotypes, "
        f"SHA-256 {facts['data_revision'][:16]}. Next: phenolip eval --model MODEL --task phenobench --data "
        f"{args.output} --output OUTPUT\n"
    )
    return 0


def _build(args: argparse.Namespace) -> int:
    bench = BenchFolder(Path(args.output))
    facts = bench.draw_facts()
    if facts is None:
        if args.pairs is None:
            raise ConfigurationError(f"`pairs` must be given, since nothing is drawn in {args.output} yet.")
        return _draw(args)
    _check_same(args, facts)
    args.folder, args.reviews = args.output, bench.review_files()
    if args.reviews:
        if len(args.reviews) < 2:
            sys.stdout.write(f"One review is there: {args.reviews[0].name}. ")
            sys.stdout.write(_ask_for_reviews(args.output, facts))
            return 0
        _merge(args)
    elif read_facts(bench.path / AGREEMENT) is None:
        sys.stdout.write(_ask_for_reviews(args.output, facts))
        return 0
    if args.version is not None:
        args.output = args.bench or str(Path(args.folder, f"bench-{args.version}"))
        return _freeze(args)
    return 0


def _check_same(args: argparse.Namespace, facts: dict[str, Any]) -> None:
    """A draw stays as it is: what is asked for anew must be what was drawn."""
    given = {
        "pairs": (_place(args.pairs), _place(facts["source"])),
        "exclude": ([_place(table) for table in args.exclude] or None, [_place(table) for table in facts["exclude"]]),
    }
    for config, part in ((DrawConfig, "draw"), (SheetConfig, "shown")):
        given |= {name: (value, facts[part].get(name)) for name, value in _given(args, config).items()}
    for name, (asked, held) in given.items():
        if asked is not None and asked != held:
            raise ConfigurationError(
                f"`{name}` must be {held!r}, as {args.output} was drawn, or the folder a new one; got {asked!r}."
            )


def _place(data: str | None) -> str | None:
    """Where data lie, however the path is written; a name on the Hub stays one."""
    return os.path.realpath(data) if data is not None and os.path.exists(data) else data


def _given(args: argparse.Namespace, config: type) -> dict[str, Any]:
    """The fields of a config that the command line sets."""
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(config)}
    return {name: value for name, value in values.items() if value is not None}


def _ask_for_reviews(output: str, facts: dict[str, Any]) -> str:
    sheet = Path(output, SHEET)
    page = sheet / facts["pages"][0] if len(facts["pages"]) == 1 else f"{sheet} ({len(facts['pages'])} pages)"
    return (
        f"Next: have two or more people answer {page} each on their own (or {sheet / 'review.csv'}, saved as "
        f"review-NAME.csv), put their files into {Path(output, REVIEWS)}, and run: phenolip bench build --output "
        f"{output}\n"
    )


def _agreement_text(facts: dict[str, Any]) -> str:
    lines = [f"{facts['num_reviewers']} reviewers, {facts['agreement']['num_questions']:,} questions answered by all."]
    for title, name in (("right / wrong / unsure", "agreement"), ("right or not", "agreement_right_or_not")):
        lines.append(f"  {facts['method']}, {title:<24}{_kappa(facts[name])}")
    for pair in facts["confusion"]:
        one, other = pair["reviewers"]
        lines.append(f"  reviewer {one} (rows) and {other}" + "".join(f"{name:>9}" for name in facts["verdicts"]))
        for name, counts in zip(facts["verdicts"], pair["counts"], strict=True):
            lines.append(f"  {name:<25}" + "".join(f"{number:>9,}" for number in counts))
    lines += [
        f"  {name:<52}{found['num_questions']:>6,}  {_kappa(found)}" for name, found in facts["by_system"].items()
    ]
    kept = f"Kept: {facts['num_rows_kept']:,} of {facts['num_rows']:,} rows{_reasons(facts['num_rows_left_out'])}."
    return "\n".join([*lines, kept]) + "\n"


def _kappa(found: dict[str, Any]) -> str:
    if found["kappa"] is None:
        return "not defined"
    interval = f"  [{found['ci95'][0]:.2f}, {found['ci95'][1]:.2f}]" if found["ci95"] else ""
    return f"{found['kappa']:.3f}{interval}  agreeing {found['observed']:.3f}"


def _reasons(counts: dict[str, int]) -> str:
    return "".join(f", {number:,} {reason}" for reason, number in counts.items())
