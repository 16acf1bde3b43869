"""Scores of boxes, against counting by hand and by trying every pairing."""

import itertools

import numpy as np
import pytest
from PIL import Image

from phenolip.eval.evaluators.subfigures import SubfigureEvaluator
from phenolip.eval.metrics.subfigure_boxes import BoxCounts, count_boxes, iou_matrix, precision_recall_f1


def iou_by_pixels(a, b):
    masks = np.zeros((2, 40, 40), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (a, b), strict=True):
        mask[y0:y1, x0:x1] = True
    return (masks[0] & masks[1]).sum() / max(1, (masks[0] | masks[1]).sum())


def random_boxes(rng, number):
    low = rng.integers(0, 25, (number, 2))
    return np.concatenate([low, low + rng.integers(1, 15, (number, 2))], axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_iou_counts_pixels(seed):
    rng = np.random.default_rng(seed)
    first, second = random_boxes(rng, 5), random_boxes(rng, 4)
    expected = [[iou_by_pixels(a, b) for b in second] for a in first]
    np.testing.assert_allclose(iou_matrix(first, second), expected)
    assert iou_matrix(first, np.zeros((0, 4))).shape == (5, 0)
    assert iou_matrix([[3, 3, 3, 3]], [[3, 3, 3, 3]]).tolist() == [[0]]


@pytest.mark.parametrize("seed", range(20))
def test_no_pairing_has_more_pairs(seed):
    """Gold boxes side by side, found boxes about them and twice."""
    rng = np.random.default_rng(seed)
    gold = np.array([[12 * place, 0, 12 * place + 10, 10] for place in range(3)])
    found = np.concatenate([gold, gold])[rng.random(6) < 0.8] + rng.integers(-1, 2, 4)
    overlaps = iou_matrix(gold, found) >= 0.75
    padded = np.pad(overlaps, ((0, 0), (0, 3)))
    best = max(sum(padded[range(3), places]) for places in itertools.permutations(range(padded.shape[1]), 3))
    assert count_boxes(gold, found) == BoxCounts(3, len(found), best)


def test_f1_of_counts():
    counts = np.array([[4, 2, 1], [0, 0, 0], [3, 3, 3]])
    expected = [[1 / 2, 1 / 4, 2 / 6], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_allclose(precision_recall_f1(counts), expected)


@pytest.fixture
def figures(tmp_path):
    """Two compound figures and two single images."""
    gold = [
        [(0, 0, 40, 50), (60, 0, 100, 50)],
        [(0, 0, 100, 50)],
        [(0, 0, 50, 50), (50, 0, 100, 50)],
        [(0, 0, 100, 50)],
    ]
    for number in range(4):
        Image.new("RGB", (100, 50), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return [(tmp_path / f"{number}.png", boxes) for number, boxes in enumerate(gold)]


def test_the_evaluator_asks_for_each_figure_once_and_counts_over_all(figures, monkeypatch):
    monkeypatch.setattr("phenolip.eval.evaluators.subfigures.NUM_FIGURES_HELD", 3)
    answers = {
        0: [(0, 0, 40, 50)],  # one of two
        1: [(0, 0, 100, 50)],
        2: [(0, 0, 100, 50)],  # whole
        3: [(0, 0, 100, 50), (0, 0, 50, 25)],  # in parts
    }
    calls = []

    def detect(images):
        calls.append([image.getpixel((0, 0))[0] for image in images])
        return [answers[number] for number in calls[-1]]

    metrics = SubfigureEvaluator(figures)(detect)
    assert calls == [[0, 1, 2], [3]]
    values = {name: metric.value for name, metric in metrics.items()}
    assert values == pytest.approx(
        {
            "subfigure_precision": 3 / 5,
            "subfigure_recall": 3 / 6,
            "subfigure_f1": 6 / 11,
            "single_left_whole": 1 / 2,
        }
    )
    low, high = metrics["subfigure_f1"].ci95
    assert 0 <= low < 6 / 11 < high <= 1
    assert metrics[SubfigureEvaluator.primary_metric].n == 4 and metrics["single_left_whole"].n == 2


def test_perfect_boxes_score_one_without_doubt(figures):
    gold = iter([boxes for _, boxes in figures])
    metrics = SubfigureEvaluator(figures)(lambda images: [next(gold) for _ in images])
    assert all(metric.value == 1 and metric.ci95 == (1, 1) for metric in metrics.values())
    assert "single_left_whole" not in SubfigureEvaluator(figures[:1])(lambda images: [[(0, 0, 40, 50)]])
