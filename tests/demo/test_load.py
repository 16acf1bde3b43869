"""What the load benchmark counts: times in closed form, and a page that is not there as failures."""

import importlib.util
import time
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "demo_load.py"


@pytest.fixture(scope="module")
def demo_load():
    spec = importlib.util.spec_from_file_location("demo_load", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_times_in_closed_form(demo_load):
    found = demo_load.describe([1.0, 1.0, 3.0, 1.0])
    assert found.pop("p95_s") == pytest.approx(2.7)  # between the third and the fourth of the sorted times
    assert found == {"num_answers": 4, "median_s": 1.0, "max_s": 3.0, "under_2_s": 0.75}
    assert demo_load.describe([]) == {"num_answers": 0}


def test_a_page_that_is_not_there_is_a_failure(demo_load):
    times, failures = {"rank": [], "map": []}, []
    demo_load.use("http://127.0.0.1:9", ["a.png"], 0, time.monotonic() + 0.2, times, failures)
    assert failures and times == {"rank": [], "map": []}
