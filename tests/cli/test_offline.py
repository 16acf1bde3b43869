"""No command reaches for the network unasked: each attempt is refused and written down, and there must be none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GUARD = Path(__file__).parent / "offline"
COMMANDS = """
import json, sys
from phenolip.cli import main
for arguments in json.loads(sys.argv[1]):
    code = main(arguments)
    assert code == 0, (code, arguments)
"""
# `phenolip quickstart` with fewer steps, images and names; each of its steps is a process of its own.
SHORT_QUICKSTART = """
import dataclasses, sys
from phenolip import cli
from phenolip.cli import quickstart
FEW = ["--max_steps", "2", "--batch_size", "8"]
MORE = {
    "stage1": [*FEW, "--evaluate", "false"],  # which would read all names of the ontology, twice
    "data": ["--num_train", "72", "--num_validation", "72"],
    "stage2": FEW,
}
plan_steps = quickstart.plan_steps
quickstart.plan_steps = lambda *given: [
    dataclasses.replace(step, command=[*step.command, *MORE.get(step.name, [])]) for step in plan_steps(*given)
]
sys.exit(cli.main(["quickstart", "--output", sys.argv[1]]))
"""


@pytest.fixture
def offline(tmp_path):
    """Function that runs Python with the guard, in its children too, and returns what it printed."""
    attempts = tmp_path / "attempts"
    settings = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    settings |= {"PYTHONPATH": str(GUARD), "PHENOLIP_TEST_ATTEMPTS": str(attempts), "HF_HOME": str(tmp_path / "hf")}

    def run(*arguments):
        ended = subprocess.run([sys.executable, *map(str, arguments)], env=settings, capture_output=True, text=True)
        tried = attempts.read_text() if attempts.exists() else ""
        attempts.unlink(missing_ok=True)
        return ended, tried

    return run


@pytest.mark.parametrize(
    ("call", "event"),
    [
        ("socket.socket().connect(('203.0.113.1', 80))", "socket.connect"),
        ("urllib.request.urlopen('https://huggingface.co', timeout=1)", "socket.getaddrinfo"),
        ("subprocess.run([sys.executable, '-c', \"import socket; socket.gethostbyname('a.test')\"])", "gethostbyname"),
    ],
)
def test_an_attempt_is_seen(call, event, offline):
    ended, tried = offline("-c", f"import socket, subprocess, sys, urllib.request; {call}")
    assert event in tried and "no network" in ended.stderr


def test_this_machine_may_be_reached(offline):
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    ended, tried = offline("-c", code)
    assert ended.returncode == 0 and not tried, ended.stderr


def test_commands_on_texts_reach_for_nothing(offline):
    calls = [
        ["ontology", "show", "HP:0001166"],
        ["link", "--text", "Her fingers were long and slender."],
        ["extract", "--text", "Small left pleural effusion, no pneumothorax."],
    ]
    ended, tried = offline("-c", COMMANDS, json.dumps(calls))
    assert ended.returncode == 0 and not tried, tried + ended.stderr
    assert "Arachnodactyly" in ended.stdout


@pytest.mark.slow
def test_commands_on_models_reach_for_nothing(offline, tiny_model_dir, draw_signs, tmp_path):
    pairs = draw_signs(tmp_path / "pairs", 2, 40)
    (tmp_path / "few.txt").write_text("Cataract\nHP:0001166\n")
    model, index = ["--model", str(tiny_model_dir)], str(tmp_path / "index")
    split = ["--output", str(tmp_path / "split"), "--validation_fraction", "0.4"]
    task = ["--task", "phenobench", "--data", str(pairs), "--output", str(tmp_path / "eval")]
    calls = [
        ["prepare", "split", "--source", str(pairs), *split],
        ["predict", str(pairs / "0.png"), *model, "--candidates", str(tmp_path / "few.txt")],
        ["embed", *model, "--data", str(pairs), "--output", index],
        ["search", index, "--text", "long fingers", "--top", "2"],
        ["eval", *model, *task],
        ["card", str(copy_of(tiny_model_dir, tmp_path / "model"))],
        ["env"],
    ]
    ended, tried = offline("-c", COMMANDS, json.dumps(calls))
    assert ended.returncode == 0 and not tried, tried + ended.stderr


def copy_of(folder, path):
    """A folder that may be written into."""
    path.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (path / file.name).write_bytes(file.read_bytes())
    return path


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_quickstart_reaches_for_nothing(offline, tmp_path):
    output = tmp_path / "quickstart"
    ended, tried = offline("-c", SHORT_QUICKSTART, output)
    assert ended.returncode == 0 and not tried, tried + ended.stdout[-2000:] + ended.stderr[-2000:]
    assert (output / "report.html").is_file() and (output / "stage2" / "model.safetensors").is_file()
