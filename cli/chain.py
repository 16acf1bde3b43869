"""A chain of commands, each of which can be run by hand: what was done before is not done again."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path

from phenolip.exceptions import ConfigurationError, PhenoLIPError
from phenolip.provenance import content_hash, write_json

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "train" / "configs"
# Threads that wait by spinning make a run ten times slower beside any other busy program; a short spin costs nothing.
ENVIRONMENT = {"GOMP_SPINCOUNT": "30000", "TOKENIZERS_PARALLELISM": "false"}

_MAX_FILES = 200_000  # of one folder, about a second; what changes beyond them goes unnoticed


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
    """Runs steps in order, but not one that ended before with the same command, inputs and earlier steps.

    Inputs are the files and folders that a command's options name outside the folder of ``record_path``: configs by
    their text, everything else by name, size and time of change.

    Raises:
        PhenoLIPError: A step failed.
    """
    record = _read_record(record_path)
    chain = ""
    for number, step in enumerate(steps, 1):
        chain = content_hash([chain, *step.command, *_inputs(step.command, record_path.parent)])
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


def _inputs(command: list[str], output: Path) -> list[str]:
    """What the command's options say beyond their names: see ``_state``."""
    options = dropwhile(lambda part: not part.startswith("--"), command)  # `eval` of `phenolip eval` is no path
    return [_state(os.path.expanduser(part), os.path.realpath(output)) for part in options]


def _state(path: str, output: str) -> str:
    """A config's text, name, size and age of a file or of those in a folder; "" for what this chain itself writes."""
    if not os.path.exists(path) or Path(os.path.realpath(path)).is_relative_to(output):
        return ""
    if os.path.isdir(path):
        return content_hash([_file_state(file, path) for file in islice(_files(path, output), _MAX_FILES)])
    if path.endswith(".yaml"):
        return Path(path).read_text(encoding="utf-8")
    return _file_state(path, os.path.dirname(path))


def _files(folder: str, output: str) -> Iterator[str]:
    """Files below a folder in a fixed order, but for hidden ones and those of the output, should it lie there."""
    for root, folders, names in os.walk(folder, followlinks=True):
        visible = (name for name in sorted(folders) if not name.startswith("."))
        folders[:] = [name for name in visible if os.path.realpath(os.path.join(root, name)) != output]
        files = (os.path.join(root, name) for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if os.path.exists(file))  # a broken link is no file


def _file_state(path: str, folder: str) -> str:
    found = os.stat(path)
    return f"{os.path.relpath(path, folder or '.')} {found.st_size} {found.st_mtime_ns}"


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
