"""`phenolip quickstart`: the whole chain, ontology -> Stage 1 -> Stage 2 -> evaluation -> report, one command."""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

from phenolip.cli.chain import CONFIGS, ROOT, Step, metric_line, run_steps
from phenolip.exceptions import PhenoLIPError

BASELINE = ROOT / "benchmarks" / "thumbnail_baseline.py"
SHOWN_METRICS = ("i2t_hit_at_10", "t2i_hit_at_10", "i2p_hit_at_10", "p2i_hit_at_10", "zero_shot_top1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the data and the output folder."""
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="image-caption pairs (see docs/data.md); without it, phantoms are drawn: synthetic images, no patients",
    )
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of rows that may be bad (0.01)"
    )
    parser.add_argument("--output", default="runs/quickstart", metavar="DIR", help="default: runs/quickstart")
    parser.add_argument("--fresh", action="store_true", help="repeat steps that are already done")


def run(args: argparse.Namespace) -> int:
    """Runs each step that is not done yet, then says what there is."""
    output = Path(args.output)
    steps = plan_steps(output, args.data, args.max_bad_fraction)
    started = time.monotonic()
    run_steps(steps, output / "steps.json", fresh=args.fresh)
    sys.stdout.write(summary(output, args.data, time.monotonic() - started))
    return 0


def plan_steps(output: Path, data: str | None, max_bad_fraction: float = 0.01) -> list[Step]:
    """The chain's commands, each of which can be run by hand."""
    phenolip = [sys.executable, "-m", "phenolip.cli"]
    validation = str(output / "data" / "validation")
    stage1, stage2 = str(output / "stage1"), str(output / "stage2")
    if data is None:
        prepare = [*phenolip, "prepare", "phantoms", "--output", str(output / "data")]
        stage2_config = CONFIGS / "quickstart_stage2.yaml"
        data_title = "Draw phantoms: images in which phenotypes are really visible, and no patient is"
    else:
        prepare = [*phenolip, "prepare", "split", "--source", data, "--output", str(output / "data")]
        prepare += ["--max_bad_fraction", str(max_bad_fraction)]
        stage2_config = CONFIGS / "quickstart_pairs_stage2.yaml"
        data_title = "Split the pairs: 15 % for validation, no caption, article, patient, case or image on both sides"
    train1 = [sys.executable, str(ROOT / "train" / "stage1.py"), "--config", str(CONFIGS / "quickstart_stage1.yaml")]
    train2 = [sys.executable, str(ROOT / "train" / "stage2.py"), "--config", str(stage2_config)]
    train2 += ["--data", str(output / "data" / "train"), "--knowledge_encoder", stage1]
    evaluate = [*phenolip, "eval", "--model", stage2, "--task", "phenobench", "--data", validation]
    evaluate += ["--output", str(output / "eval"), "--extra_k", "scaled", "--report", str(output / "report.html")]
    ontology = [*phenolip, "ontology", "show", "HP:0001166"]
    title1, title2 = (
        "Stage 1: teach a text encoder the ontology",
        "Stage 2: teach images and captions, Stage 1 as teacher",
    )
    steps = [
        Step("ontology", "Read the Human Phenotype Ontology", ontology, ROOT),
        Step("stage1", title1, [*train1, "--output_dir", stage1], Path(stage1) / "model.safetensors", resumable=True),
        Step("data", data_title, prepare, output / "data" / "manifest.json"),
        Step("stage2", title2, [*train2, "--output_dir", stage2], Path(stage2) / "model.safetensors", resumable=True),
        Step("eval", "Measure on the validation pairs and write the report", evaluate, output / "report.html"),
    ]
    if data is None and BASELINE.exists():  # a clone has it, an installed package does not
        result = output / "eval" / "thumbnail_baseline.json"
        baseline = [sys.executable, str(BASELINE), "--train", str(output / "data" / "train"), "--test", validation]
        title = "What colours and places alone give away: a thumbnail baseline"
        steps.append(Step("baseline", title, [*baseline, "--output", str(result)], result))
    return steps


def summary(output: Path, data: str | None, seconds: float) -> str:
    """Plain words at the end: one prediction, the figures, where things are and what to do next."""
    results = json.loads((output / "eval" / "results.json").read_text(encoding="utf-8"))
    image = _first_image(output / "data" / "validation", output / "example.png")
    predict = ["predict", str(image), "--model", str(output / "stage2"), "--top", "5"]
    example = subprocess.run([sys.executable, "-m", "phenolip.cli", *predict], capture_output=True, text=True)
    if example.returncode:
        raise PhenoLIPError(f"`phenolip {shlex.join(predict)}` failed: {example.stderr.strip()}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest step; kB, on macOS bytes
    peak_gb = peak / (1e9 if sys.platform == "darwin" else 1e6)
    source = (
        "drawn phantoms (synthetic images, other seed and other phrasings than training)" if data is None else data
    )
    lines = ["", "=" * 100, f"Finished in {seconds / 60:.1f} minutes; peak memory {peak_gb:.1f} GB.", ""]
    lines += [f"Validation: {results['n']} pairs from {source}, {results['num_candidates']} candidate phenotypes."]
    lines += [metric_line(name, results["metrics"][name]) for name in SHOWN_METRICS if name in results["metrics"]]
    lines += [
        metric_line(name, metric)
        for name, metric in results["metrics"].items()
        if "_hit_at_" in name and int(name.rsplit("_", 1)[1]) not in (1, 5, 10, 50)
    ]
    baseline = output / "eval" / "thumbnail_baseline.json"
    if data is None and baseline.exists():
        top1 = json.loads(baseline.read_text(encoding="utf-8"))["top1_in_label_set"]
        lines.append(
            f"    {'16 x 16 thumbnails, linear':34s} {100 * top1:5.1f} %   (top-1: what colour and place give away)"
        )
    installed = Path(sys.executable).parent / "phenolip"
    program = os.path.relpath(installed) if installed.exists() else "phenolip"
    lines += ["", f"One image, {image}:", "", example.stdout.rstrip(), ""]
    lines += [
        f"Model      {output / 'stage2'}    (AutoModel.from_pretrained(..., trust_remote_code=True))",
        f"Teacher    {output / 'stage1'}",
        f"Report     {output / 'report.html'}    (open it in a browser)",
        "",
        "Next:",
        f"    {program} predict YOUR_IMAGE.jpg --model {output / 'stage2'}",
        "    make quickstart DATA=FOLDER_OF_PAIRS        the same chain on your own images and captions",
        f"    {program} --help                            every command",
        "For research, not for diagnosis.",
        "=" * 100,
        "",
    ]
    return "\n".join(lines)


def _first_image(data: Path, path: Path) -> Path:
    """Writes the first validation image beside the report, as a file that `phenolip predict` can be tried on."""
    from phenolip.datasets_scripts.load import load_pairs
    from phenolip.images import decode_image

    decode_image(load_pairs(str(data))[0]["image"]).save(path)
    return path
