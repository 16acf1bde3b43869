"""The HTML report of class tasks, and the arithmetic of its numbers."""

import re

import numpy as np
import pytest

from phenolip.eval.class_checks import arithmetic, random_floor
from phenolip.eval.class_page import class_page, invariance_rows, write_class_reports
from phenolip.eval.evaluators.base import MetricValue


def metric(value, low=0.2, high=0.8):
    return {"value": value, "ci95": [low, high], "n": 40}


@pytest.fixture
def results():
    names = ("top1", "macro_auroc", "macro_f1_oracle", "ece_equal_width", "none_of_these_false_positive_rate")
    return {
        "task": "two_classes", "task_version": 1, "model": "<b>m</b>", "n": 40, "num_groups": 20, "num_candidates": 2,
        "split": {"test": "as it is"}, "settings": {"zero_shot_classes": {"reading": "a reading"}}, "prompts": ["{}"],
        "metrics": {f"zero_shot_classes_{name}": metric(0.5) for name in names},
        "chance": {"zero_shot_classes_top1": 0.5},
        "classes": [
            {"name": name, "num_positive": 20, "num_negative": 20, "auroc": 0.6, "auprc": None}
            for name in ("one", "other")
        ],
        "calibration": {
            "logit_scale": 14.0, "temperature": 2.5,
            "reliability": [
                {"lower": 0.5, "upper": 0.6, "n": 30, "confidence": 0.55, "accuracy": 0.5, "ci95": (0.3, 0.7)},
                {"lower": 0.9, "upper": 1.0, "n": 10, "confidence": 0.95, "accuracy": 1.0, "ci95": (0.7, 1.0)},
            ],
        },
        "none_of_these": {"threshold": 0.31, "max_false_positive_rate_on_validation": 0.05},
        "checks": {
            "majority_class": {"class": "one", "k": 20, "n": 40, "value": 0.5, "ci95": [0.35, 0.65]},
            "arithmetic": {"num_metrics": 5, "num_whole_k_of_n": 1, "problems": ["top1 is wrong."], "passes": False},
            "contamination": {
                "num_rows_touched": 3, "num_rows": 40, "criteria": {"same_image": 3, "near_image": 0},
                "not_compared": ["same_caption"], "num_rows_in_training": 3, "fraction": 3 / 40,
                "clean": {"zero_shot_classes_top1": metric(0.4) | {"value_of_all": 0.5, "n": 37}},
            },
        },
        "date": "2000-01-01", "seconds": 1.0, "git_commit": None, "data_revision": "0" * 64, "dropped": {},
    }  # fmt: skip


def test_the_page_carries_everything(results, tmp_path):
    write_class_reports(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert (tmp_path / "report.md").read_text().startswith("# two_classes")
    assert page.count("<script>") == 1 and "&lt;b&gt;m&lt;/b&gt;" in page and "<b>m</b>" not in page
    assert page.count("<svg") == 3 and page.count('class="sortable"') == 5
    for text in (
        "Reliability",
        "temperature 2.5",
        "not for diagnosis",
        "flatter the model",
        "top1 is wrong.",
        "0.3100",
    ):
        assert text in page
    assert "same image 3" in page and "Not compared: same caption" in page and ">40.0<" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page.replace('xlink:href="#', 'href="#'))


def test_a_task_without_classes_or_calibration(results):
    for name in ("classes", "calibration", "none_of_these"):
        del results[name]
    assert class_page(results).count("<svg") == 1


def test_markdown_alone_where_it_is_asked_for(results, tmp_path):
    write_class_reports(results, tmp_path / "mine.md")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.md"]


def test_rows_of_invariance():
    assert invariance_rows(None) == []
    assert invariance_rows({"omitted": "no weights"})[0]["passes"] is None
    variant = {
        "largest_change": 0.2,
        "best_changes": 0.5,
        "largest_change_of_place": 3,
        "limit": 1e-4,
        "passes": False,
    }
    found = {"num_images": 9, "num_texts": 4, "variants": {"batch_size": variant, "float64": {"omitted": "a reason"}}}
    first, second = invariance_rows(found)
    assert "50.0 % of images" in first["finding"] and not first["passes"] and "a reason" in second["finding"]


def test_arithmetic_finds_each_wrong_number():
    labels = np.eye(2, dtype=int)[[0, 0, 1, 1]]
    hits = np.array([1.0, 0.0, 1.0, 1.0])
    good = {"top1": MetricValue(0.75, (0, 1), 4, 0.5, hits), "brier": MetricValue(1.4, (1, 2), 4)}
    classes = [{"name": name, "num_positive": 2, "num_negative": 2} for name in "ab"]
    assert arithmetic(good, labels, classes) == {
        "num_metrics": 2, "num_whole_k_of_n": 1, "problems": [], "passes": True,
    }  # fmt: skip
    bad = {
        "top1": MetricValue(0.7, (0, 1), 5, 0.5, hits),
        "macro_auroc": MetricValue(1.2, (0, 1), 4),
        "macro_f1_oracle": MetricValue(0.4, (0, 1), 4),
        "macro_f1_val_fitted": MetricValue(0.5, (0, 1), 4),
    }
    problems = " ".join(arithmetic(bad, labels, [classes[0] | {"num_positive": 3}])["problems"])
    for text in (
        "n is 5, of 4",
        "0.7 is not the mean",
        "1.2 is not from 0 to 1",
        "macro_f1_oracle is below",
        "a: 3 and 2",
    ):
        assert text in problems


def test_random_scores_are_at_chance():
    labels = np.eye(4, dtype=int)[np.arange(400) % 4]
    floor = random_floor(labels, exclusive=True)
    assert floor["macro_auroc"] == pytest.approx(0.5, abs=0.02) and floor["accuracy"] == pytest.approx(0.25, abs=0.02)
    assert "accuracy" not in random_floor(labels, exclusive=False)
