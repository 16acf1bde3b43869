"""Explanations against names on held-out phenotypes, seeds averaged query by query, paired intervals.

    python benchmarks/unseen_terms.py runs/unseen_s0 runs/unseen_s1 runs/unseen_s2

The folders are those of `phenolip eval --task unseen`, of one model trained with several seeds on one split.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from phenolip.eval.evaluators.unseen_terms import MODES, REFERENCE
from phenolip.eval.metrics.paired import paired_difference
from phenolip.eval.per_query import PER_QUERY, read_per_query

FAMILIES = ("unseen_top1", "unseen_top5", "unseen_auroc")


def main(folders: list[str]) -> None:
    """Prints a Markdown table."""
    runs = [read_per_query(Path(folder) / PER_QUERY) for folder in folders]
    print("| metric | text | mean over seeds, % | of each seed | difference to names | 95 % interval | n |")
    print("|---|---|---:|---|---:|---:|---:|")
    for family in FAMILIES:
        names = np.stack([run[f"{family}_{REFERENCE}"].values for run in runs])
        for mode in MODES:
            if f"{family}_{mode}" not in runs[0]:
                continue
            values = 100 * np.stack([run[f"{family}_{mode}"].values for run in runs])
            found = paired_difference(100 * names, values)
            seeds = ", ".join(f"{value:.1f}" for value in values.mean(axis=1))
            gain = (
                f"{found.difference:+.1f} | {found.ci95[0]:+.1f} to {found.ci95[1]:+.1f}"
                if mode != REFERENCE
                else " | "
            )
            print(f"| {family} | {mode} | {values.mean():.1f} | {seeds} | {gain} | {found.n} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="RUN")
    sys.exit(main(parser.parse_args().folders))
