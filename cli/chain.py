"""A chain of commands, each of which can be run by hand: what was done before is not done again."""

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from phenolip.exceptions import ConfigurationError, PhenoLIPError
from phenolip.provenance import content_hash, write_json

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "train" / "configs"
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


def metric_line(name: str, metric: dict) -> str:
    """One line of a summary: a metric in percent with its interval."""
    low, high = metric["ci95"]
    if low is None:  # an interval needs two queries
        return f"    {name:34s} {100 * metric['value']:5.1f} %"
    return f"    {name:34s} {100 * metric['value']:5.1f} %   (95 % interval {100 * low:.1f} to {100 * high:.1f})"
