"""`phenolip env`: what a bug report should say of this machine, and nothing that says whose it is."""

import argparse
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from phenolip.exceptions import OntologyError
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import git_commit, hardware, package_versions

_PACKAGES = ("safetensors", "tokenizers", "pyarrow", "lxml", "filelock", "onnxruntime", "faiss-cpu", "ray")
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments of its own."""


def run(args: argparse.Namespace) -> int:
    """Prints JSON."""
    try:
        release = load_ontology().release
    except OntologyError as error:
        release = _without_home(f"none: {error}")
    record = {
        "git_commit": git_commit(),
        "hpo_release": release,
        "system": {"name": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "packages": package_versions(*_PACKAGES),
        "hardware": hardware() | {"memory_gb": _memory_gb(), "free_disk_gb": _free_disk_gb()},
        "computing": _computing(),
    }
    sys.stdout.write(json.dumps(record, indent=2) + "\n")
    return 0


def _computing() -> dict[str, Any]:
    """What decides how fast, and in which order of sums, numbers are multiplied."""
    import torch

    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    names = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
    return {
        "threads": torch.get_num_threads(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "thread_settings": {name: os.environ[name] for name in _THREAD_SETTINGS if name in os.environ},
        "blas": "mkl" if torch.backends.mkl.is_available() else "other",
        "onednn": torch.backends.mkldnn.is_available(),
        "instructions": [name for name in names if capabilities.get(name)],
        "cuda": torch.version.cuda,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _free_disk_gb() -> dict[str, float]:
    """Of where one is, and of where caches go."""
    places = {"here": Path.cwd(), "home": Path.home()}
    return {name: round(shutil.disk_usage(path).free / 1e9, 1) for name, path in places.items() if path.exists()}


def _without_home(text: str) -> str:
    return text.replace(str(Path.home()), "~")
