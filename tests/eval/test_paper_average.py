"""The paper's Average over runs of one model, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from phenolip.eval.compare import Run
from phenolip.eval.paper_average import COLUMNS, paper_average
from phenolip.eval.tasks.registry import list_tasks
from phenolip.exceptions import ConfigurationError


def make_run(task, value, model="m", name="zero_shot_classes_top1"):
    return Run(Path(task), {"task": task, "model": model, "metrics": {name: {"value": value, "n": 10}}}, {})


@pytest.fixture
def runs():
    tasks = [task for column, tasks in COLUMNS.items() if column != "phenobench" for task in tasks]
    return [make_run(task, number / 20) for number, task in enumerate(tasks)] + [
        make_run("phenobench_full", 0.1, name="zero_shot_top1")
    ]


def test_columns_are_means_of_their_sets_and_weigh_the_same(runs):
    found = paper_average(runs)
    assert found.columns["radiology"] == pytest.approx((2 + 3 + 4) / 3 / 20) and found.columns["phenobench"] == 0.1
    assert found.num_images["radiology"] == 30
    assert found.average == pytest.approx(np.mean(list(found.columns.values()))) and len(found.columns) == 7


def test_what_is_no_row_of_one_model_is_refused(runs):
    with pytest.raises(ConfigurationError, match="for dermatology dermamnist is missing"):
        paper_average(runs[1:])
    with pytest.raises(ConfigurationError, match="for phenobench phenobench is missing"):
        paper_average(runs[:-1])
    with pytest.raises(ConfigurationError, match="of one model, got m, other"):
        paper_average([*runs, make_run("knowledge", 0.1, model="other")])
    with pytest.raises(ConfigurationError, match="each task once, got 'pathmnist' twice"):
        paper_average([*runs, make_run("pathmnist", 0.2)])
    with pytest.raises(ConfigurationError, match="no zero-shot accuracy"):
        paper_average([make_run("dermamnist", 0.1, name="other"), *runs[1:]])


def test_the_phenobench_tasks_exist():
    assert set(COLUMNS["phenobench"]) <= set(list_tasks())
