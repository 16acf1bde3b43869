"""`phenolip card`: the card of a model folder."""

import argparse
import sys
from pathlib import Path

EXAMPLES = """examples:
  phenolip card runs/mini/stage2 --results runs/mini/eval/results.json runs/knowledge/results.json
      results with intervals and plots, by organ system and frequency, contamination, training run, data, licence and a
      carbon estimate; the same metrics stand in the front matter, where the Hub reads them
  phenolip card runs/mini/stage2 --license cc-by-nc-4.0 --watts 65 --grams_per_kwh 56

Stage 2 writes a card without results; run this again after an evaluation. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the folder, its results and the factors of the carbon estimate."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("dir", type=Path, metavar="DIR", help="model folder; its README.md is replaced")
    parser.add_argument("--results", nargs="*", default=[], type=Path, metavar="FILE", help="results.json, any number")
    parser.add_argument("--measured_as", metavar="NAME", help="name of the model in --results, if it had another then")
    parser.add_argument("--license", metavar="ID", help="licence of the weights, as apache-2.0 (default: not stated)")
    parser.add_argument("--title", metavar="TEXT", help="heading of the card (default: name of the folder)")
    parser.add_argument(
        "--watts", type=float, metavar="W", help="power of the machine that trained (default: factors)"
    )
    parser.add_argument(
        "--grams_per_kwh", type=float, default=475.0, metavar="G", help="CO2 of its grid (default: 475, world average)"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the card and says where."""
    from phenolip.hub.card import write_card

    path = write_card(
        args.dir,
        args.results,
        measured_as=args.measured_as,
        license=args.license,
        title=args.title,
        watts=args.watts,
        grams_per_kwh=args.grams_per_kwh,
    )
    sys.stdout.write(f"{path}: card with {len(args.results)} files of results.\n")
    return 0
