"""The style `finegrained` of `phenolip predict`: findings with severity and location."""

import argparse
import sys
from dataclasses import asdict

from phenolip.exceptions import ConfigurationError
from phenolip.inference.encoder import Encoder
from phenolip.inference.finding_thresholds import model_thresholds
from phenolip.inference.finegrained import FineGrainedPredictor, SeenFinding
from phenolip.inference.image_files import image_files
from phenolip.inference.predict import RESEARCH_ONLY
from phenolip.inference.prediction_files import record_writer
from phenolip.inference.term_texts import NAME_ONLY

COLUMNS = ("image", "seen", "category", "severity", "location", "cosine", "threshold")
NUM_BELOW = 3  # findings below their threshold that a table shows


def run_finegrained(args: argparse.Namespace, kind: str) -> int:
    """Prints a table for each image, or writes JSON lines or CSV."""
    if kind == "phenopacket":
        raise ConfigurationError("`--format` must be table, jsonl or csv where `--style` is finegrained.")
    unused = {"candidates": args.candidates, "under": args.under, "hierarchy": args.hierarchy, "hpo": args.hpo}
    unused |= {"min_probability": args.min_probability, "no_subject": args.no_subject}
    unused["texts"] = args.texts != list(NAME_ONLY)
    for name, value in unused.items():
        if value:
            raise ConfigurationError(f"`--{name}` must be left out where `--style` is finegrained.")
    thresholds = model_thresholds(args.model)  # before the weights, since it is what may be missing
    predictor = FineGrainedPredictor(Encoder.from_pretrained(args.model, args.device), thresholds)
    files = image_files(args.images)
    found = zip(files, predictor(files, max_unseen=NUM_BELOW), strict=True)
    if kind == "table":
        for image, findings in found:
            seen, below = _best(findings, args.top)
            sys.stdout.write(_table(image, seen + below, len(thresholds.categories)))
    else:
        with record_writer(args.output, kind, COLUMNS) as write:
            for image, findings in found:
                seen, below = (list(map(asdict, part)) for part in _best(findings, args.top))
                record = {"image": image, "num_candidates": len(thresholds.categories)}
                rows = [(image, *(one[name] for name in COLUMNS[1:])) for one in seen + below]
                write(record | {"findings": seen, "below_threshold": below}, rows)
    # beside the results rather than among them, so that those stay one object or line each
    (sys.stdout if kind == "table" else sys.stderr).write(RESEARCH_ONLY + "\n")
    return 0


def _best(findings: list[SeenFinding], top: int) -> tuple[list[SeenFinding], list[SeenFinding]]:
    """The findings that are seen, at most `top`, and those below their threshold."""
    return [one for one in findings if one.seen][:top], [one for one in findings if not one.seen]


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
