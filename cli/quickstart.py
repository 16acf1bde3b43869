"""`phenolip quickstart`: the whole chain, ontology -> Stage 1 -> Stage 2 -> evaluation -> report, one command."""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from phenolip.exceptions import ConfigurationError, PhenoLIPError
from phenolip.provenance import content_hash, write_json

HELP = "run the whole chain on drawn phantoms or on your own image-caption pairs"
ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "train" / "configs"
BASELINE = ROOT / "benchmarks" / "thumbnail_baseline.py"
SHOWN_METRICS = ("i2t_hit_at_10", "t2i_hit_at_10", "i2p_hit_at_10", "p2i_hit_at_10", "zero_shot_top1")
# Threads that wait by spinning make a run ten times slower beside any other busy program; a short spin costs nothing.
ENVIRONMENT = {"GOMP_SPINCOUNT": "30000", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Step:
    """One command of the chain.

    Attributes:
        name: Key under which its end is recorded.
        title: What a reader should know it does.
        command: Program and arguments.
        output: File or folder that it leaves.
        resumable: Understands `--resume`.
    """

    name: str
    title: str
    command: list[str]
    output: Path
    resumable: bool = False


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
        stage2_config = CONFIGS / "mini_stage2.yaml"
        data_title = "Split the pairs: 15 % for validation, no caption or image on both sides"
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


def run_steps(steps: list[Step], record_path: Path, *, fresh: bool) -> None:
    """Runs steps in order, but not one that ended before with the same command, config and earlier steps.

    Raises:
        PhenoLIPError: A step failed.
    """
    record = _read_record(record_path)
    chain = ""
    for number, step in enumerate(steps, 1):
        chain = content_hash([chain, *step.command, *map(_state, step.command)])
        if record.get(step.name) == f"done {chain}" and step.output.exists() and not fresh:
            sys.stdout.write(f"\n[{number}/{len(steps)}] {step.title}: done before\n")
            continue
        command = list(step.command)
        if step.resumable:
            goes_on = record.get(step.name) == f"begun {chain}" and not fresh
            command += ["--resume", "true"] if goes_on else ["--overwrite", "true"]
        record[step.name] = f"begun {chain}"
        write_json(record_path, record)
        shown = [str(Path(sys.executable).name) if part == sys.executable else part for part in command]
        sys.stdout.write(f"\n[{number}/{len(steps)}] {step.title}\n    {shlex.join(shown)}\n")
        sys.stdout.flush()
        started = time.monotonic()
        exit_code = subprocess.run(command, env=ENVIRONMENT | os.environ).returncode
        if exit_code:
            raise PhenoLIPError(
                f"Step '{step.name}' ended with exit code {exit_code}; its message is above, and the same command "
                "goes on from here."
            )
        sys.stdout.write(f"    took {time.monotonic() - started:.0f} s\n")
        record[step.name] = f"done {chain}"
        write_json(record_path, record)


def _state(part: str) -> str:
    """What a command's argument says beyond its name: a config's text, the size and age of a data folder's files."""
    path = Path(part)
    if path.suffix == ".yaml" and path.is_file():
        return path.read_text(encoding="utf-8")
    if path.is_dir() and (path / "metadata.jsonl").exists():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return content_hash([f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files])
    return ""


def _read_record(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ConfigurationError(f"{path} is not valid JSON; delete it to begin anew.") from None


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
    lines += [_metric_line(name, results["metrics"][name]) for name in SHOWN_METRICS if name in results["metrics"]]
    lines += [
        _metric_line(name, metric)
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


def _metric_line(name: str, metric: dict) -> str:
    low, high = metric["ci95"]
    if low is None:  # an interval needs two queries
        return f"    {name:34s} {100 * metric['value']:5.1f} %"
    return f"    {name:34s} {100 * metric['value']:5.1f} %   (95 % interval {100 * low:.1f} to {100 * high:.1f})"


def _first_image(data: Path, path: Path) -> Path:
    """Writes the first validation image beside the report, as a file that `phenolip predict` can be tried on."""
    from phenolip.datasets_scripts.images import decode_image
    from phenolip.datasets_scripts.load import load_pairs

    decode_image(load_pairs(str(data))[0]["image"]).save(path)
    return path
