"""Precision, recall and F1 of boxes against gold boxes, counted over all figures, one to one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = Sequence[Sequence[float]]

MIN_IOU = 0.75


@dataclass(frozen=True, slots=True)
class BoxCounts:
    """What one figure has: boxes in gold, boxes found, and pairs of the two that are the same."""

    num_gold: int
    num_found: int
    num_matched: int


def count_boxes(gold: Boxes, found: Boxes, *, min_iou: float = MIN_IOU) -> BoxCounts:
    """Pairs gold with found boxes one to one: each gold box in turn with the free box of highest IoU.

    Of gold boxes that do not overlap no other pairing has more pairs from an IoU of 0.5 on: no box can share more than
    half of itself with two of them.

    Example:
        >>> count_boxes([[0, 0, 10, 10]], [[0, 0, 10, 9], [0, 0, 9, 10]])
        BoxCounts(num_gold=1, num_found=2, num_matched=1)
    """
    shared = iou_matrix(np.reshape(gold, (-1, 4)), np.reshape(found, (-1, 4)))
    num_matched = 0
    for row in shared:
        if row.size and row.max() >= min_iou:
            shared[:, row.argmax()] = -1
            num_matched += 1
    return BoxCounts(len(gold), len(found), num_matched)


def iou_matrix(first: NDArray, second: NDArray) -> NDArray:
    """Intersection over union of each box of one list with each of another: (N, 4), (M, 4) -> (N, M), float64."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=-1)  # (N, M)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def precision_recall_f1(counts: NDArray) -> NDArray:
    """Micro precision, recall and F1 of summed counts; 0 where nothing was found or is to be found.

    Shapes: counts (..., 3): gold, found, matched. returns (..., 3), float64.

    Example:
        >>> precision_recall_f1(np.array([4, 2, 1])).round(3).tolist()
        [0.5, 0.25, 0.333]
    """
    gold, found, matched = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    parts = [matched / np.maximum(found, 1), matched / np.maximum(gold, 1), 2 * matched / np.maximum(gold + found, 1)]
    return np.stack(parts, axis=-1)
