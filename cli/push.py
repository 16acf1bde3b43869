"""`phenolip push`: a model or data set to the Hub."""

import argparse
import sys
from collections import Counter
from pathlib import Path

EXAMPLES = """examples:
  phenolip push runs/mini/stage2 ORG/NAME --dry_run
      what would go up, its size, and what stays here and why; needs no network and no token
  HF_TOKEN=... phenolip push runs/mini/stage2 ORG/NAME --private --tag v1
      weights, code, processor, tokenizer and card in one commit; run it again after a failure, nothing is sent twice
  HF_TOKEN=... phenolip push my_phenokg ORG/phenokg
      a data set that `phenolip prepare phenokg --output my_phenokg` wrote; every row must have a licence to share it
  HF_TOKEN=... phenolip push my_bench ORG/phenobench --license cc-by-4.0
      rows without a licence of their own: you say which one allows to share them

The token is read from HF_TOKEN alone. docs/hub.md says what is never sent. For research, not for diagnosis."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the folder, the repository and how to publish."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("dir", type=Path, metavar="DIR", help="model folder, or data set with a card")
    parser.add_argument("repo_id", metavar="ORG/NAME", help="repository; made where it is not there")
    parser.add_argument("--type", choices=("model", "dataset"), help="default: a model where there is a config.json")
    parser.add_argument("--revision", default="main", metavar="R", help="branch, made where it is new (default: main)")
    parser.add_argument("--tag", metavar="T", help="a new tag for the commit")
    parser.add_argument("--private", action="store_true", help="only for those who may read the organisation's")
    parser.add_argument("--license", metavar="ID", help="licence of a data set whose rows carry none, as cc-by-4.0")
    parser.add_argument(
        "--include_training_index",
        action="store_true",
        help="also the names and hashes of the training rows, by which others can audit a benchmark",
    )
    parser.add_argument(
        "--allow_examples",
        action="store_true",
        help="also HTML pages and pictures that may show images and texts of the data, such as a report's examples",
    )
    parser.add_argument("--dry_run", action="store_true", help="check and show, send nothing")


def run(args: argparse.Namespace) -> int:
    """Checks, shows, sends."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of transformers, for weights that load in a moment
    from phenolip.hub.push import environment_token, plan_push, push

    if not args.dry_run:
        environment_token()  # before anything slow
    plan = plan_push(
        args.dir,
        args.repo_id,
        kind=args.type,
        license=args.license,
        include_training_index=args.include_training_index,
        allow_examples=args.allow_examples,
    )
    sys.stdout.write(_table(plan))
    if args.dry_run:
        sys.stdout.write("Nothing was sent.\n")
        return 0
    commit = push(plan, revision=args.revision, tag=args.tag, private=args.private)
    tagged = f", tag {args.tag}" if args.tag else ""
    sys.stdout.write(f"{commit.repo_url}: commit {commit.oid[:8]} on {args.revision}{tagged}.\n")
    return 0


def _table(plan) -> str:
    selection = plan.selection
    lines = [f"{plan.kind} {plan.repo_id}"]
    lines += [f"  {_size(file.num_bytes):>9}  {file.path}" for file in selection.files]
    total = sum(file.num_bytes for file in selection.files)
    lines.append(f"  {_size(total):>9}  in {len(selection.files)} files")
    if plan.facts:
        lines.append(f"{plan.facts['num_rows']:,} rows")
        lines += [f"  {number:9,}  {name}" for name, number in plan.facts["licenses"].items()]
    if selection.left_out:
        lines.append("not sent:")
        for (folder, reason), number in Counter(map(_group, selection.left_out.items())).items():
            lines.append(f"  {folder}{f' ({number} files)' if number > 1 else ''}: {reason}")
    return "\n".join(lines) + "\n"


def _group(entry: tuple[str, str]) -> tuple[str, str]:
    """Files of a folder that stay for the same reason are one line."""
    path, reason = entry
    return (f"{path.split('/')[0]}/" if "/" in path else path), reason


def _size(num_bytes: int) -> str:
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"
