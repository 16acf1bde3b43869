"""Cleaning of detected boxes, against plain loops over single boxes."""

import itertools
import math
import random

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.subfigures.box_cleaning import boxes_in_pixels, clean_boxes, object_scores, reading_order

WIDTH, HEIGHT = 70, 50


def area(box):
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def shared_area(a, b):
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def clean_by_loops(boxes, scores, *, score_threshold, max_iou, max_containment, min_side_px):
    """The same, one box at a time, without order; pixels are counted as a mask has them."""
    candidates = []
    for box, score in zip(boxes, scores, strict=True):
        if not all(map(math.isfinite, box)) or not score >= score_threshold:
            continue
        limits = (WIDTH, HEIGHT, WIDTH, HEIGHT)
        box = tuple(int(min(max(round(value), 0), limit)) for value, limit in zip(box, limits, strict=True))
        if min(box[2] - box[0], box[3] - box[1]) >= min_side_px:
            candidates.append((-score, -area(box), box[3], box[2], box[1], box[0]))
    kept = []
    for _, _, y1, x1, y0, x0 in sorted(candidates):
        box = (x0, y0, x1, y1)
        for other in kept:
            common = shared_area(box, other)
            union = area(box) + area(other) - common
            if common / union > max_iou or common / min(area(box), area(other)) > max_containment:
                break
        else:
            kept.append(box)
    return set(kept) or {(0, 0, WIDTH, HEIGHT)}


@pytest.mark.parametrize("seed", range(60))
def test_cleaning_equals_plain_loops(seed):
    rng = np.random.default_rng(seed)
    num_boxes = int(rng.integers(0, 30))
    corners = rng.uniform(-20, 90, (num_boxes, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    scores = rng.choice([0.2, 0.5, 0.6, 0.9, np.nan], num_boxes)
    boxes[rng.random(boxes.shape) < 0.01] = np.nan
    settings = {
        "score_threshold": 0.5,
        "max_iou": float(rng.choice([0.2, 0.5, 1])),
        "max_containment": float(rng.choice([0.5, 0.9, 1])),
        "min_side_px": int(rng.integers(1, 12)),
    }
    found = clean_boxes(boxes, scores, WIDTH, HEIGHT, **settings)
    assert set(found) == clean_by_loops(boxes.tolist(), scores.tolist(), **settings)
    assert len(set(found)) == len(found) and all(type(value) is int for box in found for value in box)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_boxes_come_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 30, (12, 2))
    boxes = np.concatenate([low, low + rng.integers(5, 30, (12, 2))], axis=1)
    scores = rng.choice([0.6, 0.9], 12)
    order = rng.permutation(12)
    first = clean_boxes(boxes, scores, 70, 70, min_side_px=4)
    assert clean_boxes(boxes[order], scores[order], 70, 70, min_side_px=4) == first


def test_a_figure_around_its_subfigures_gives_way_to_the_higher_scores():
    boxes = np.array([[0, 0, 100, 50], [0, 0, 48, 50], [52, 0, 100, 50]])
    assert clean_boxes(boxes, np.array([0.6, 0.9, 0.8]), 100, 50) == [(0, 0, 48, 50), (52, 0, 100, 50)]
    assert clean_boxes(boxes, np.array([0.95, 0.9, 0.8]), 100, 50) == [(0, 0, 100, 50)]


@pytest.mark.parametrize("boxes", [[], [[0, 0, 31, 50]], [[np.inf, 0, np.nan, 50]], [[200, 0, 300, 50]]])
def test_a_figure_without_a_usable_box_stays_whole(boxes):
    assert clean_boxes(np.array(boxes), np.ones(len(boxes)), 100, 50) == [(0, 0, 100, 50)]


@pytest.mark.parametrize("num_labels", [1, 3])
def test_scores_are_those_of_a_sigmoid_or_of_a_softmax_without_its_last(num_labels):
    logits = np.random.default_rng(0).normal(size=(6, num_labels + 1)) * 4
    for row, score in zip(logits, object_scores(logits, num_labels), strict=True):
        total = sum(math.exp(value) for value in row)
        assert score == pytest.approx(max(math.exp(value) / total for value in row[:-1]))
    logits = logits[:, :num_labels]
    for row, score in zip(logits, object_scores(logits, num_labels), strict=True):
        assert score == pytest.approx(max(1 / (1 + math.exp(-value)) for value in row))
    assert object_scores(np.array([[-1e5], [1e5]]), 1).tolist() == [0, 1]
    with pytest.raises(ConfigurationError, match="of 2 labels must give 2 or 3 logits, got 5"):
        object_scores(np.zeros((1, 5)), 2)


def test_boxes_cover_the_pixels_that_their_shares_say():
    ((x0, y0, x1, y1),) = boxes_in_pixels(np.array([[0.3, 0.5, 0.2, 0.4]]), width=50, height=10)
    assert (x0, y0, x1, y1) == pytest.approx((10, 3, 20, 7))


def cut_page(rng, box, depth, by_rows):
    """Boxes of a page that was cut in rows, these in columns, and so on, in the order of reading.

    One column at most is cut further: were all, the page might as well be one of rows.
    """
    if depth == 0:
        return [box]
    x0, y0, x1, y1 = box
    num_parts = rng.randint(2, 3)
    start, end = (y0, y1) if by_rows else (x0, x1)
    step, gap = (end - start) // num_parts, rng.choice([0, 2, -2])
    further = rng.randrange(num_parts)
    boxes = []
    for part in range(num_parts):
        low, high = start + part * step, start + (part + 1) * step - gap
        inner = (x0, low, x1, high) if by_rows else (low, y0, high, y1)
        boxes += cut_page(rng, inner, depth - 1 if by_rows or part == further else 0, not by_rows)
    return boxes


@pytest.mark.parametrize("seed", range(40))
def test_a_page_cut_in_rows_and_columns_is_read_as_it_was_cut(seed):
    rng = random.Random(seed)
    boxes = cut_page(rng, (0, 0, 900, 900), depth=3, by_rows=True)
    shuffled = rng.sample(boxes, len(boxes))
    assert reading_order(shuffled) == boxes


def test_boxes_that_cannot_be_cut_are_read_from_the_top():
    pinwheel = [(0, 0, 60, 30), (70, 0, 100, 60), (40, 70, 100, 100), (0, 40, 30, 100), (40, 40, 60, 60)]
    for boxes in itertools.permutations(pinwheel):
        assert reading_order(boxes) == sorted(pinwheel, key=lambda box: (box[1], box[0]))
