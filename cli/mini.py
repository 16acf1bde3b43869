"""`phenolip mini`: the strongest model that two CPU cores train in an hour, from raw images."""

import argparse
import json
import sys
import time
from pathlib import Path

from phenolip.cli.chain import CONFIGS, ROOT, Step, metric_line, run_steps
from phenolip.exceptions import ConfigurationError

MEMBERS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the data, how much of it is held out, and the output folder."""
    parser.add_argument("--data", required=True, metavar="DIR", help="image-caption pairs (see docs/data.md)")
    parser.add_argument(
        "--extra",
        nargs="+",
        default=[],
        metavar="DIR|FILE",
        help="more pairs to train on; none of them is evaluated, and those linked to a held-out pair are left out; "
        "rows without phenotypes get those that their captions name",
    )
    parser.add_argument(
        "--validation_fraction",
        type=float,
        default=0.05,
        metavar="F",
        help="share of the data that is held out to measure the model on (0.05); more gives narrower intervals and "
        "a weaker model",
    )
    parser.add_argument(
        "--knowledge_encoder", metavar="DIR", help="a Stage 1 folder to use; by default one is trained first"
    )
    parser.add_argument(
        "--members",
        type=int,
        default=MEMBERS,
        metavar="N",
        help=f"models trained from as many seeds and joined to one ({MEMBERS}); more are better, and take longer",
    )
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of rows that may be bad (0.01)"
    )
    parser.add_argument("--output", default="runs/mini", metavar="DIR", help="default: runs/mini")
    parser.add_argument("--fresh", action="store_true", help="repeat steps that are already done")


def run(args: argparse.Namespace) -> int:
    """Runs each step that is not done yet, then says what there is."""
    if args.members < 1:
        raise ConfigurationError(f"`--members` must be at least 1, got {args.members}.")
    output = Path(args.output)
    started = time.monotonic()
    steps = plan_steps(
        output,
        args.data,
        extra=args.extra,
        validation_fraction=args.validation_fraction,
        knowledge_encoder=args.knowledge_encoder,
        members=args.members,
        max_bad_fraction=args.max_bad_fraction,
    )
    run_steps(steps, output / "steps.json", fresh=args.fresh)
    sys.stdout.write(summary(output, time.monotonic() - started))
    return 0


def plan_steps(
    output: Path,
    data: str,
    *,
    extra: list[str],
    validation_fraction: float,
    knowledge_encoder: str | None,
    members: int,
    max_bad_fraction: float,
) -> list[Step]:
    """The chain's commands, each of which can be run by hand."""
    phenolip = [sys.executable, "-m", "phenolip.cli"]
    stage1, stage2 = knowledge_encoder or str(output / "stage1"), str(output / "stage2")
    bad = ["--max_bad_fraction", str(max_bad_fraction)]
    prepare = [*phenolip, "prepare", "split", "--source", data, "--output", str(output / "data"), *bad]
    prepare += [
        "--validation_fraction",
        str(validation_fraction),
        *(["--label", "also", "--also", *extra] if extra else []),
    ]
    held_out = (
        f"Hold {100 * validation_fraction:g} % of the pairs out; no caption, patient, case or image on both sides"
    )
    train1 = [sys.executable, str(ROOT / "train" / "stage1.py"), "--config", str(CONFIGS / "mini_stage1.yaml")]
    train2 = [sys.executable, str(ROOT / "train" / "stage2.py"), "--config", str(CONFIGS / "mini_stage2.yaml")]
    train2 += ["--data", str(output / "data" / "train"), "--knowledge_encoder", stage1, *bad]
    train2 += ["--feature_cache", str(output / "features")]
    evaluate = [*phenolip, "eval", "--model", stage2, "--task", "phenobench_ontology", "--extra_k", "scaled"]
    evaluate += ["--data", str(output / "data" / "validation"), "--output", str(output / "eval")]
    steps = [
        Step(
            "stage1",
            "Stage 1: teach a text encoder the ontology",
            [*train1, "--output_dir", stage1],
            Path(stage1) / "model.safetensors",
            resumable=True,
        ),
        Step(
            "data",
            held_out + (", nor of the extra pairs" if extra else ""),
            prepare,
            output / "data" / "manifest.json",
        ),
        *_stage2(train2, Path(stage2), output / "members", members),
        Step("eval", "Measure on the pairs held out", evaluate, output / "eval" / "results.json"),
    ]
    return steps[1:] if knowledge_encoder else steps


def _stage2(train: list[str], output: Path, folder: Path, members: int) -> list[Step]:
    """One run, or one of each seed and what joins them."""
    title = "Stage 2: teach images, captions and phenotypes, Stage 1 as teacher"
    if members == 1:
        weights = output / "model.safetensors"
        return [Step("stage2", title, [*train, "--output_dir", str(output)], weights, resumable=True)]
    runs = [
        Step(
            f"stage2_{seed}",
            f"{title} (seed {seed})",
            [*train, "--seed", str(seed), "--output_dir", str(folder / str(seed))],
            folder / str(seed) / "model.safetensors",
            resumable=True,
        )
        for seed in range(members)
    ]
    join = [sys.executable, "-m", "phenolip.cli", "join", *(str(run.output.parent) for run in runs)]
    join += ["--output", str(output), "--overwrite"]
    return [*runs, Step("stage2", f"Join the {members} to one model", join, output / "model.safetensors")]


def summary(output: Path, seconds: float) -> str:
    """Plain words at the end: the figures and where things are."""
    from phenolip.eval.evaluators.retrieval import scaled_cutoff  # here: plans and --help need no arrays
    from phenolip.eval.tasks.registry import load_task

    results = json.loads((output / "eval" / "results.json").read_text(encoding="utf-8"))
    cutoff = scaled_cutoff(results["n"], load_task(results["task"]).scaled_k)
    shown = [f"{direction}_hit_at_{cutoff}" for direction in ("i2t", "t2i", "i2p", "p2i")] + ["zero_shot_top1"]
    lines = ["", "=" * 100, f"Finished in {seconds / 60:.1f} minutes.", ""]
    lines += [
        *_data_lines(output),
        f"{results['n']} pairs held out, {results['num_candidates']} candidate phenotypes.",
    ]
    if trained := (results.get("contamination") or {}).get("num_rows_in_training"):
        lines += [f"{trained} of them show image files that the model was trained on: the figures flatter it."]
    lines += [metric_line(name, results["metrics"][name]) for name in shown if name in results["metrics"]]
    lines += [
        "",
        f"Model      {output / 'stage2'}    (AutoModel.from_pretrained(..., trust_remote_code=True))",
        f"Report     {output / 'eval' / 'report.html'}",
        "For research, not for diagnosis.",
        "=" * 100,
        "",
    ]
    return "\n".join(lines)


def _data_lines(output: Path) -> list[str]:
    manifest = json.loads((output / "data" / "manifest.json").read_text(encoding="utf-8"))
    extra = [
        f"    {other['num_rows_added']} of them from {other['source']}; {other['num_rows_linked_to_validation']} more "
        "are left out, being linked to a held-out pair (data/manifest.json names them)."
        for other in manifest["also"]
    ]
    return [f"{manifest['num_rows']['train']} pairs trained on.", *extra]
