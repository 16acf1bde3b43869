"""The style `finegrained` of `phenolip predict`: findings with severity and location."""

import argparse
import json
import sys
from dataclasses import asdict

from phenolip.exceptions import ConfigurationError
from phenolip.inference.encoder import Encoder
from phenolip.inference.finding_thresholds import model_thresholds
from phenolip.inference.finegrained import FineGrainedPredictor, SeenFinding
from phenolip.inference.predict import RESEARCH_ONLY
from phenolip.inference.term_texts import NAME_ONLY

NUM_BELOW = 3  # findings below their threshold that a table shows


def run_finegrained(args: argparse.Namespace) -> int:
    """Prints a table for each image, or JSON lines."""
    unused = {"candidates": args.candidates, "hierarchy": args.hierarchy, "hpo": args.hpo}
    unused["texts"] = args.texts != list(NAME_ONLY)
    for name, value in unused.items():
        if value:
            raise ConfigurationError(f"`--{name}` must be left out where `--style` is finegrained.")
    thresholds = model_thresholds(args.model)  # before the weights, since it is what may be missing
    predictor = FineGrainedPredictor(Encoder.from_pretrained(args.model, args.device), thresholds)
    found = predictor(args.images, max_unseen=NUM_BELOW)
    for image, findings in zip(args.images, found, strict=True):
        findings = [one for one in findings if one.seen][: args.top] + [one for one in findings if not one.seen]
        if args.json:
            record = {"image": image, "num_candidates": len(thresholds.categories)}
            record["findings"] = [asdict(one) for one in findings if one.seen]
            record["below_threshold"] = [asdict(one) for one in findings if not one.seen]
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            sys.stdout.write(_table(image, findings, len(thresholds.categories)))
    # beside the JSON rather than in it, so that the output stays one object a line
    (sys.stderr if args.json else sys.stdout).write(RESEARCH_ONLY + "\n")
    return 0


def _table(image: str, findings: list[SeenFinding], num_categories: int) -> str:
    rows = [("", "finding", "severity", "location")]
    rows += [("*" if one.seen else "", one.category, one.severity or "-", one.location or "-") for one in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    cosines = [("cosine", "threshold"), *((f"{one.cosine:.3f}", f"{one.threshold:.3f}") for one in findings)]
    lines = [f"{image}  ({num_categories:,} categories; * reaches its threshold, the others come nearest to theirs)"]
    for row, (cosine, threshold) in zip(rows, cosines, strict=True):
        words = "  ".join(f"{word:{width}s}" for word, width in zip(row, widths, strict=True))
        lines.append(f"  {words}  {cosine:>6s}  {threshold:>9s}")
    return "\n".join(lines) + "\n\n"
