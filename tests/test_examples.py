"""The scripts of examples/, each run on a small model and drawn images, as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture
def pairs(draw_signs, tmp_path):
    return draw_signs(tmp_path / "pairs", 3, 40)


@pytest.mark.parametrize(
    ("script", "arguments", "shown"),
    [
        ("classify.py", ["{model}", "{pairs}"], "not for diagnosis"),
        ("embed_and_search.py", ["{model}", "{pairs}", "index", "long fingers"], "Embedded: 9 rows"),
        ("adapt_with_lora.py", ["{model}", "{pairs}", "out", "--max_steps", "2", "--batch_size", "4"], "HP:"),
    ],
)
def test_an_example_runs(script, arguments, shown, tiny_model_dir, pairs, tmp_path):
    if script.startswith("adapt"):
        pytest.importorskip("peft")
    arguments = [argument.format(model=tiny_model_dir, pairs=pairs) for argument in arguments]
    ended = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert shown in ended.stdout
