"""`phenolip prepare`: PhenoBench or PhenoKG into the datasets cache, a split of pairs, reports, phantoms, figures."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from phenolip.cli import prepare_reports
from phenolip.inference.candidates import read_candidates
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands `phenobench`, `phenokg`, `split`, `reports`, `phantoms` and `composites`."""
    targets = parser.add_subparsers(dest="target", required=True, metavar="TARGET")
    phenobench = targets.add_parser(
        "phenobench", help='make load_dataset("phenobench") work from any folder', allow_abbrev=False
    )
    _add_source(phenobench)
    phenobench.add_argument("--output", metavar="DIR", help="Parquet files and card (inside the datasets cache)")
    phenokg = targets.add_parser(
        "phenokg", help='make load_dataset("phenokg", "terms") work from any folder', allow_abbrev=False
    )
    phenokg.add_argument("--source", metavar="DIR", help="output of `phenolip kg build` (terms and relations alone)")
    phenokg.add_argument("--output", metavar="DIR", help="Parquet files and card (inside the datasets cache)")
    phenokg.add_argument("--media", metavar="DIR", help="folder of the articles, if moved since the build")
    phenokg.add_argument("--kgx", action="store_true", help="also write the graph as kgx/nodes.tsv and edges.tsv")
    _add_checks(phenokg)
    split = targets.add_parser(
        "split", help="train and validation without leaks, as Parquet with embedded images", allow_abbrev=False
    )
    _add_source(split)
    split.add_argument("--output", metavar="DIR", required=True, help="gets train/ and validation/")
    split.add_argument(
        "--also",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="more pairs, added to train/ but for rows linked to a validation row: those are left out",
    )
    split.add_argument(
        "--label",
        nargs="?",
        const="all",
        choices=("all", "also"),
        help="give rows without phenotypes those that their captions name: all rows, or with `also` those of --also "
        "alone, so that nothing is measured on labels read off captions",
    )
    split.add_argument(
        "--findings",
        action="store_true",
        help="give rows without findings those that rules find in their captions: what training on findings takes",
    )
    split.add_argument("--validation_fraction", type=float, default=0.15, metavar="F", help="share of rows (0.15)")
    split.add_argument("--seed", type=int, default=0, help="which of the possible splits (0)")
    split.add_argument(
        "--max_phash_distance", type=int, default=4, metavar="BITS", help="near copies differ in at most this (4)"
    )
    split.add_argument(
        "--hold_out",
        metavar="N|FILE",
        help="phenotypes that are not trained on, with their descendants, synonyms and mentions: so many, drawn, or "
        "those of a file (an HPO id, name or exact synonym a line); pairs that show one go to unseen/, their names to "
        "held_out.json, and `phenolip eval --task unseen` measures a model on them (docs/medfilip.md)",
    )
    prepare_reports.add_parser(targets)
    phantoms = targets.add_parser(
        "phantoms", help="images drawn in code, with captions and HPO ids", allow_abbrev=False
    )
    phantoms.add_argument("--output", metavar="DIR", required=True, help="gets train/ and validation/")
    phantoms.add_argument("--num_train", type=int, default=2160, metavar="N", help="images for training (2160)")
    phantoms.add_argument("--num_validation", type=int, default=720, metavar="M", help="images for validation (720)")
    phantoms.add_argument("--seed", type=int, default=0, help="decides every image and caption (0)")
    composites = targets.add_parser(
        "composites", help="compound figures pasted from your images, with ground truth", allow_abbrev=False
    )
    _add_source(composites, has_max_side=False)
    composites.add_argument("--output", metavar="DIR", required=True, help="gets compounds/")
    composites.add_argument("--layouts", metavar="FILE", help="boxes of real figures, .jsonl (drawn rows of images)")
    composites.add_argument("--seed", type=int, default=0, help="decides every figure (0)")
    composites.add_argument(
        "--images_per_figure", type=int, nargs=2, default=(2, 6), metavar=("MIN", "MAX"), help="from 2 to 25 (2 6)"
    )
    composites.add_argument("--long_side", type=_pixels, default=520, metavar="N", help="pixels of a figure (520)")
    composites.add_argument(
        "--crops", action="store_true", help="also crops_ground_truth/ and originals/, row by row the same pairs"
    )


def _add_source(parser: argparse.ArgumentParser, *, has_max_side: bool = True) -> None:
    parser.add_argument(
        "--source",
        required=True,
        metavar="DIR|FILE|HUB_ID",
        help="ImageFolder, .jsonl, .csv, Parquet, WebDataset shards, or a dataset on the Hub",
    )
    parser.add_argument("--split", help="split of the source, where it has several")
    _add_checks(parser, has_max_side=has_max_side)


def _add_checks(parser: argparse.ArgumentParser, *, has_max_side: bool = True) -> None:
    if has_max_side:
        parser.add_argument("--max_side", type=_pixels, metavar="N", help="scale larger images down to N pixels")
    parser.add_argument("--hpo", metavar="PATH", help="hp.obo or hp.json (the installed release)")
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of rows that may be bad (0.01)"
    )
    parser.add_argument("--bad_rows", metavar="FILE", help="list of bad rows (OUTPUT.bad_rows.jsonl)")


def _pixels(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of pixels above 0, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Prepare one target and say where it is."""
    from phenolip.datasets_scripts.caption_reader import CaptionReader
    from phenolip.datasets_scripts.prepare import prepare_phantoms, prepare_split

    if args.target == "phantoms":
        prepare_phantoms(args.output, num_train=args.num_train, num_validation=args.num_validation, seed=args.seed)
        sys.stdout.write(f"Phantoms: {args.num_train} in {args.output}/train, {args.num_validation} beside it.\n")
        return 0
    if args.target == "reports":
        return prepare_reports.run(args)
    reading = {
        "ontology": load_ontology(args.hpo),
        "max_bad_fraction": args.max_bad_fraction,
        "bad_rows_path": args.bad_rows or Path(f"{(args.output or args.target).rstrip('/')}.bad_rows.jsonl"),
    }
    if args.target == "phenokg":
        return _run_phenokg(args, reading)
    reading["split"] = args.split
    if args.target == "composites":
        return _run_composites(args, reading)
    reading["max_side"] = args.max_side
    if args.target == "phenobench":
        from phenolip.datasets_scripts.phenobench import prepare_phenobench

        folder, facts = prepare_phenobench(args.source, output=args.output, **reading)
        sys.stdout.write(
            f'PhenoBench: {facts["num_rows"]} rows from {facts["source"]}. load_dataset("phenobench") gives them from '
            f"any folder; Parquet and card: {folder}\n"
        )
        return 0
    reader = CaptionReader(
        phenotypes=_name_phenotypes(args.hpo) if args.label else None,
        findings=_find_findings(reading["ontology"]) if args.findings else None,
    )
    manifest = prepare_split(
        args.source,
        args.output,
        also=args.also,
        validation_fraction=args.validation_fraction,
        seed=args.seed,
        max_phash_distance=args.max_phash_distance,
        captions=replace(reader, phenotypes=None) if args.label == "also" else reader,
        also_captions=reader,
        **_held_out(args, reading["ontology"]),
        **reading,
    )
    counts = manifest["num_rows"]
    if args.hold_out is not None:
        out = ", ".join(f"{number} ({reason})" for reason, number in manifest["held_out"]["left_out"].items())
        sys.stdout.write(f"Held out: {len(manifest['held_out']['terms'])} terms, {counts['unseen']} rows in unseen; ")
        sys.stdout.write(f"not trained on: {out}.\n")
    sys.stdout.write(f"Split: {counts['train']} rows in {args.output}/train, {counts['validation']} in validation.\n")
    for other in manifest["also"]:
        linked = other["num_rows_linked_to_validation"]
        sys.stdout.write(
            f"From {other['source']}: {other['num_rows_added']} rows in train, {linked} left out, being linked to "
            "validation rows.\n"
        )
    return 0


def _run_phenokg(args: argparse.Namespace, reading: dict[str, Any]) -> int:
    from phenolip.datasets_scripts.phenokg import prepare_phenokg  # needs the extra "phenokg"

    folder, facts = prepare_phenokg(
        args.source, output=args.output, media=args.media, max_side=args.max_side, kgx=args.kgx, **reading
    )
    counts = f"{facts['num_terms']:,} terms, {facts['num_relations']:,} relations"
    names = ["terms", "relations"]
    if "pairs" in facts:
        counts += f", {sum(facts['pairs']['num_rows'].values()):,} pairs"
        names.append("pairs")
    calls = ", ".join(f'load_dataset("phenokg", "{name}")' for name in names)
    sys.stdout.write(
        f"PhenoKG: {counts}, HPO release {facts['hpo']['release']}. {calls} work from any folder; Parquet and card: "
        f"{folder}\n"
    )
    return 0


def _name_phenotypes(hpo: str | None, *, denied: bool = False) -> Callable[[str], list[str]]:
    from phenolip.phenokg.link_phenotypes import LinkConfig, make_linker  # needs the extra "phenokg"

    linker = make_linker(LinkConfig(hpo=hpo))
    return lambda caption: [link.hpo_id for link in linker.link(caption) if denied or link.assertion == "present"]


def _find_findings(ontology: PhenotypeOntology) -> Callable[[str], list[dict[str, str | None]]]:
    from phenolip.datasets_scripts.features import FINDINGS
    from phenolip.phenokg.findings.rule_extractor import RuleExtractor  # needs the extra "phenokg"

    extractor, slots = RuleExtractor(ontology), tuple(FINDINGS.feature)
    return lambda caption: [{slot: getattr(one, slot) for slot in slots} for one in extractor.extract(caption)[0]]


def _held_out(args: argparse.Namespace, ontology: PhenotypeOntology) -> dict[str, Any]:
    """Which terms are held out, and a linker that finds wordings of them beside their names where it is installed."""
    if args.hold_out is None:
        return {}
    has_linker = find_spec("msgspec") is not None  # of the extra "phenokg"
    if not has_linker:
        sys.stderr.write(
            "Mentions are looked for by name and synonym alone: `pip install phenolip[phenokg]` for more.\n"
        )
    terms = int(args.hold_out) if args.hold_out.isdigit() else tuple(read_candidates(args.hold_out, ontology))
    return {"hold_out": terms, "link": _name_phenotypes(args.hpo, denied=True) if has_linker else None}


def _run_composites(args: argparse.Namespace, reading: dict[str, Any]) -> int:
    from phenolip.datasets_scripts.composites import prepare_composites

    manifest = prepare_composites(
        args.source,
        args.output,
        layouts=args.layouts,
        seed=args.seed,
        images_per_figure=tuple(args.images_per_figure),
        long_side_px=args.long_side,
        crops=args.crops,
        **reading,
    )
    counts = f"{manifest['num_images']} images in {manifest['num_figures']} figures"
    sys.stdout.write(f"Composites: {counts} in {args.output}/compounds{', parts beside it' * args.crops}.\n")
    return 0
