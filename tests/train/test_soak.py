"""A slice of `make soak`: a few kills of training and construction, and the same bytes at the end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def soak(tmp_path, seconds, *names):
    command = [sys.executable, SOAK, "--seconds", str(seconds), "--output", tmp_path / "soak.json", "--only", *names]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads((tmp_path / "soak.json").read_text())


@pytest.mark.slow  # `make soak` is the longer one
def test_a_few_kills_lose_nothing(tmp_path):
    report = soak(tmp_path, 2, "build", "stage1")
    assert sum(case["runs"] for case in report.values()) and not any(case["lost"] for case in report.values())
    assert any(case["kills"] for case in report.values())


@pytest.mark.slow
def test_two_processes_and_workers_lose_nothing(tmp_path):
    report = soak(tmp_path, 120, "stage1-2-processes", "stage2-workers", "stage2-2-processes", "stage2-gradient-cache")
    assert all(case["kills"] and not case["lost"] for case in report.values())
