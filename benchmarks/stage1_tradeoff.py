"""Retrieval against hierarchy in Stage 1: one short run for each weight of the hierarchy term, a table and a plot.

Each run trains the encoder of --config with another `hierarchy_weight`; all else is equal. Measured are held-out
synonym -> name (hit@1, hit@10) and Spearman's correlation of cosine with Lin similarity, over related and over uniform
pairs of terms. Runs that are finished are not repeated: call again with the same --output to go on, or to add weights.

  quick look, about 10 minutes on two cores:
    python benchmarks/stage1_tradeoff.py --output runs/tradeoff --max_steps 60
  the curve of another config, at its full length, measured among all names:
    python benchmarks/stage1_tradeoff.py --config CONFIG.yaml --max_steps 0 --num_names 0 --output DIR
  any other setting of train/stage1.py goes to every run, after --:
    python benchmarks/stage1_tradeoff.py --output DIR -- --hierarchy correlation --num_threads 1

It writes OUTPUT/tradeoff.json (dated, with hardware and versions), OUTPUT/tradeoff.png, and a model folder per run.
"""

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from phenolip.eval.evaluators.knowledge import KnowledgeEvaluator
from phenolip.inference.encoder import Encoder
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import git_commit, hardware, package_versions, write_json

ROOT = Path(__file__).resolve().parents[1]
RETRIEVAL = ("synonym_to_name_hit_at_1", "synonym_to_name_hit_at_10", "layperson_to_name_hit_at_10")
HIERARCHY = {"spearman_lin": "related pairs", "spearman_lin_uniform": "uniform pairs"}


def parse() -> argparse.Namespace:
    """Arguments; those after -- belong to train/stage1.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "train" / "configs" / "mini_stage1.yaml")
    parser.add_argument("--output", type=Path, required=True, help="Folder of the runs, the table and the plot.")
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 0.1, 0.3, 1, 3], help="Hierarchy weights.")
    parser.add_argument("--max_steps", type=int, default=100, help="Steps of each run; 0 keeps the config's length.")
    parser.add_argument("--num_names", type=int, default=3000, help="Terms of the measurement; 0 takes all.")
    parser.add_argument("--num_definitions", type=int, default=500, help="Definitions asked.")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="Precision of measuring.")
    own, settings = (sys.argv[1:], [])
    if "--" in own:
        place = own.index("--")
        own, settings = own[:place], own[place + 1 :]
    arguments = parser.parse_args(own)
    arguments.settings = settings
    return arguments


def refuse_other_runs(arguments: argparse.Namespace) -> None:
    """Ends with a sentence when the folder holds runs of another kind, which would stand in one table with these."""
    file = arguments.output / "tradeoff.json"
    if not file.exists():
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    for name, now in described(arguments).items():
        if before[name] != now:
            raise SystemExit(
                f"error: {arguments.output} holds runs with {name} {before[name]}, not {now}: name another."
            )


def described(arguments: argparse.Namespace) -> dict[str, Any]:
    """What all runs of one table share."""
    names = ("max_steps", "settings", "num_names", "num_definitions", "dtype")
    config = arguments.config.read_text(encoding="utf-8")
    return {"config": config, **{name: getattr(arguments, name) for name in names}}


def train(arguments: argparse.Namespace, weight: float) -> Path:
    """The model folder of one weight, trained, resumed or found."""
    folder = arguments.output / f"weight_{weight:g}"
    if not (folder / "run.json").exists():
        call = [sys.executable, str(ROOT / "train" / "stage1.py"), "--config", str(arguments.config)]
        call += ["--hierarchy_weight", str(weight), "--output_dir", str(folder), "--evaluate", "false"]
        call += ["--resume", "true", *arguments.settings]
        if arguments.max_steps:
            call += ["--max_steps", str(arguments.max_steps)]
        subprocess.run(call, check=True)
    return folder


def measure(encoder: Encoder, evaluator: KnowledgeEvaluator, file: Path) -> dict[str, Any]:
    """The metrics of one encoder, kept in a file beside it."""
    if not file.exists():
        metrics = {name: (metric.value, metric.ci95, metric.n) for name, metric in evaluator(encoder).items()}
        keys = ("value", "ci95", "n")
        write_json(file, {name: dict(zip(keys, values, strict=True)) for name, values in metrics.items()})
    return json.loads(file.read_text(encoding="utf-8"))


def draw(rows: list[dict[str, Any]], file: Path, budget: str) -> None:
    """Retrieval over agreement with the ontology, one line for each kind of pairs, the weight beside each point."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), sharey=True)
    for axis, (metric, kind) in zip(axes, HIERARCHY.items(), strict=True):
        x, x_errors = _with_errors(rows, metric)
        y, y_errors = _with_errors(rows, RETRIEVAL[0])
        axis.errorbar(x, y, xerr=x_errors, yerr=y_errors, marker="o", color="#1f6f8b", ecolor="#b9d3dc", capsize=2)
        for row, at_x, at_y in zip(rows, x, y, strict=True):
            axis.annotate(f"{row['hierarchy_weight']:g}", (at_x, at_y), (5, 6), textcoords="offset points", fontsize=9)
        axis.set_xlabel(f"Spearman of cosine with Lin, {kind}")
        axis.margins(x=0.15)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out synonym to name, hit@1")
    figure.suptitle(f"Stage 1 by weight of the hierarchy term ({budget}; bars: 95% intervals)", fontsize=11)
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _with_errors(rows: list[dict[str, Any]], metric: str) -> tuple[list[float], list[list[float]]]:
    """Values, and how far their intervals reach below and above."""
    found = [row["metrics"][metric] for row in rows]
    values = [entry["value"] for entry in found]
    below = [entry["value"] - entry["ci95"][0] for entry in found]
    return values, [below, [entry["ci95"][1] - entry["value"] for entry in found]]


def main() -> None:
    """Runs, measures, writes."""
    arguments = parse()
    refuse_other_runs(arguments)
    arguments.output.mkdir(parents=True, exist_ok=True)
    ontology = load_ontology()
    evaluator = KnowledgeEvaluator(
        ontology, num_names=arguments.num_names or None, num_definitions=arguments.num_definitions
    )
    rows = []
    for weight in sorted(set(arguments.weights)):
        folder = train(arguments, weight)
        encoder = Encoder.from_pretrained(folder, dtype=getattr(torch, arguments.dtype))
        file = folder / f"knowledge_{arguments.num_names}_{arguments.dtype}.json"
        metrics = measure(encoder, evaluator, file)
        rows.append({"hierarchy_weight": weight, "metrics": metrics})
        sys.stderr.write(f"weight {weight:<5g} " + _line(metrics) + "\n")
        record = {
            "date": date.today().isoformat(),
            **described(arguments),
            "num_terms": len(evaluator.term_ids),
            "hpo_release": ontology.release,
            "git_commit": git_commit(),
            "packages": package_versions(),
            "hardware": hardware(),
            "rows": rows,
        }
        write_json(arguments.output / "tradeoff.json", record)
        steps = f"{arguments.max_steps} steps" if arguments.max_steps else "whole runs"
        draw(rows, arguments.output / "tradeoff.png", f"{steps}, {len(evaluator.term_ids):,} names")


def _line(metrics: dict[str, Any]) -> str:
    return "  ".join(f"{name} {metrics[name]['value']:.3f}" for name in (*RETRIEVAL, *HIERARCHY) if name in metrics)


if __name__ == "__main__":
    main()
