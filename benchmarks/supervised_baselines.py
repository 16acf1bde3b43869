"""ResNet-50, ConvNeXt-T and EfficientNet-Lite0 from random weights, beside the linear probe of the same task.

python benchmarks/supervised_baselines.py --task pneumoniamnist_probe --data pneumoniamnist.npz --output runs/full

The splits are those of the task; the epoch is the one with the highest validation accuracy. After
every baseline it writes OUTPUT/supervised_baselines.json (dated, with hardware and versions) and predictions.parquet,
and prints a row of a Markdown table.
"""

import argparse
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from phenolip.datasets_scripts.labelled_splits import load_splits
from phenolip.eval.evaluators.linear_probe import FRACTIONS, LinearProbeEvaluator
from phenolip.eval.item_scores import ItemScores, write_item_scores
from phenolip.eval.label_subsets import nested_subsets
from phenolip.eval.logistic_probe import ProbeFit
from phenolip.eval.run_record import describe_metrics
from phenolip.eval.supervised_baselines import BASELINES, SupervisedSettings, build_baseline, fit_baseline
from phenolip.eval.task_classes import read_classes
from phenolip.eval.tasks.registry import load_task
from phenolip.provenance import hardware, package_versions, write_json


def main() -> None:
    """Trains each baseline and writes what it scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="pneumoniamnist_probe", help="a linear-probe task")
    parser.add_argument("--data", required=True, help="the data of the task")
    parser.add_argument("--output", required=True, type=Path, help="folder for the results")
    parser.add_argument("--baselines", nargs="+", choices=tuple(BASELINES), default=list(BASELINES))
    parser.add_argument("--image_size", type=int, default=64, help="side in pixels (default: 64)")
    parser.add_argument("--num_epochs", type=int, default=20, help="at most (default: 20)")
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="share of the training images: the probe's first draw (default: 1)"
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images of a step (default: 64)")
    parser.add_argument("--learning_rate", type=float, default=1e-3, help="peak (default: 0.001)")
    args = parser.parse_args()
    (evaluator,) = load_task(args.task).evaluators.values()
    splits = load_splits(args.data, read_classes(evaluator["classes"]), evaluator["layout"], train=True)
    if args.fraction != 1:
        fractions = sorted({*FRACTIONS, args.fraction})
        drawn = nested_subsets(splits.train.labels, fractions, exclusive=splits.train.exclusive, seed=0)
        splits = replace(splits, train=splits.train.select(drawn[fractions.index(args.fraction)]))
    settings = SupervisedSettings(
        image_size=args.image_size,
        num_epochs=args.num_epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
    )
    results = {
        "task": args.task,
        "split": splits.about,
        "num_train": len(splits.train),
        "settings": vars(args) | {"output": str(args.output)},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware() | {"torch_threads": torch.get_num_threads()},
        "package_versions": package_versions(),
        "baselines": {},
    }
    args.output.mkdir(parents=True, exist_ok=True)
    test, items = splits.test, []
    for name in args.baselines:
        entry, chances = train(name, splits, settings)
        results["baselines"][name] = entry
        items.append(ItemScores("test", test.ids, test.groups, test.labels, chances, name))
        write_item_scores(args.output, items, test.class_names)
        write_json(args.output / "supervised_baselines.json", results)
        accuracy, area = (entry["metrics"][metric] for metric in ("accuracy", "macro_auroc"))
        print(
            f"| {name} | {entry['epoch']} of {args.num_epochs} | {_percent(accuracy)} | {_percent(area)} |", flush=True
        )


def train(name, splits, settings) -> tuple:
    """One baseline: its metrics with intervals, the epoch and the seconds it took; its test probabilities."""
    torch.manual_seed(settings.seed)
    model, started = build_baseline(name, splits.test.labels.shape[1]), time.perf_counter()
    parts = (splits.train, splits.validation, splits.test)
    fit = fit_baseline(model, *parts, settings, lambda epoch, value: print(f"{name} {epoch}: {value:.4f}", flush=True))
    best = max(fit.validation_accuracies)
    metrics = LinearProbeEvaluator(splits).measure([ProbeFit(fit.probabilities, 0.0, best, 0)])
    entry = {
        **describe_metrics(metrics),
        "epoch": fit.epoch,
        "validation_accuracies": fit.validation_accuracies,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return entry, fit.probabilities


def _percent(metric) -> str:
    low, high = (100 * bound for bound in metric["ci95"])
    return f"{100 * metric['value']:.1f} ({low:.1f}–{high:.1f})"


if __name__ == "__main__":
    main()
