"""What a detector says of a figure -> boxes of subfigures that a crop can be cut by.

A model of the DETR family gives a fixed number of scored boxes, many of them copies of one another and some across the
border of the image. Everything here is plain arithmetic on arrays; no model is needed.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import PixelBox

SCORE_THRESHOLD = 0.5  # of PhenoLIP's own pipeline
MAX_SHARED = 0.5
MIN_SIDE_PX = 32
_ORDER_MARGIN = 0.1  # of a side: neighbours that overlap by less still lie side by side
_MAX_CUT_DEPTH = 50  # of a page cut in rows and columns in turn; real ones end below five


def object_scores(logits: NDArray, num_labels: int) -> NDArray:
    """Probability that each query holds an object, of whatever class.

    The width of the logits tells how the model was trained: with one more than there are labels the last is "no
    object" and they share a softmax (DETR, YOLOS); with as many, each is a sigmoid of its own (DAB-DETR and later).

    Shapes (Q queries, C logits): logits: (Q, C). returns: (Q,), float64 in [0, 1].

    Example:
        >>> object_scores(np.array([[0.0]]), num_labels=1), object_scores(np.array([[0.0, 0.0]]), num_labels=1)
        (array([0.5]), array([0.5]))
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.shape[-1] == num_labels:
        return 0.5 * (1 + np.tanh(logits / 2)).max(axis=-1)  # the sigmoid, without overflow
    if logits.shape[-1] != num_labels + 1:
        raise ConfigurationError(
            f"A detector of {num_labels} labels must give {num_labels} or {num_labels + 1} logits, got "
            f"{logits.shape[-1]}."
        )
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights[..., :-1].max(axis=-1) / weights.sum(axis=-1)


def boxes_in_pixels(boxes_cxcywh: NDArray, width: int, height: int) -> NDArray:
    """Centre and size in shares of the image -> left, top, right, bottom in its pixels; (Q, 4) -> (Q, 4), float64.

    Example:
        >>> boxes_in_pixels(np.array([[0.5, 0.25, 1.0, 0.5]]), width=200, height=100).tolist()
        [[0.0, 0.0, 200.0, 50.0]]
    """
    centre, size = np.split(np.asarray(boxes_cxcywh, dtype=np.float64), 2, axis=-1)
    return np.concatenate([centre - size / 2, centre + size / 2], axis=-1) * [width, height, width, height]


def clean_boxes(
    boxes_xyxy: NDArray,
    scores: NDArray,
    width: int,
    height: int,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    max_iou: float = MAX_SHARED,
    max_containment: float = MAX_SHARED,
    min_side_px: int = MIN_SIDE_PX,
) -> list[PixelBox]:
    """Boxes of one image in reading order; the whole image where none is left.

    Boxes are rounded to whole pixels and clipped to the image first. Of two that are the same by IoU, or of which one
    lies in the other, that with the higher score stays; of equal scores the larger. Boxes that are not finite are no
    boxes.

    Args:
        boxes_xyxy: (Q, 4) in pixels of the image, origin top left, right and bottom exclusive.
        scores: (Q,) from 0 to 1.
        width: Of the image in pixels; likewise `height`.
        score_threshold: Boxes that score less are left out.
        max_iou: Largest intersection over union of two boxes that both stay.
        max_containment: Largest intersection over the area of the smaller of two boxes that both stay. Since it is
            never below the IoU, `max_iou` decides only where it is the smaller number.
        min_side_px: Boxes with a shorter side are left out.

    Example:
        >>> clean_boxes(np.array([[60.2, -3, 99.6, 50], [0, 0, 40, 50.4]]), np.array([0.9, 0.8]), 100, 50)
        [(0, 0, 40, 50), (60, 0, 100, 50)]
    """
    boxes_xyxy = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    scores = np.asarray(scores, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        is_kept = np.isfinite(boxes_xyxy).all(axis=1) & (scores >= score_threshold)  # NaN compares false
    boxes = np.clip(np.rint(boxes_xyxy[is_kept]), 0, [width, height, width, height]).astype(np.int64)
    scores = scores[is_kept]
    is_large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.iinfo(np.int64).max) >= max(1, min_side_px)
    boxes, scores = boxes[is_large], scores[is_large]
    kept = boxes[_suppress(boxes, scores, max_iou, max_containment)]
    return reading_order([tuple(box) for box in kept.tolist()]) or [(0, 0, width, height)]


def _suppress(boxes: NDArray, scores: NDArray, max_iou: float, max_containment: float) -> list[int]:
    """Rows that stay, the best first."""
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = sides[:, 0] * sides[:, 1]
    kept: list[int] = []
    for row in np.lexsort((*boxes.T, -areas, -scores)):  # by score, then area; the coordinates settle the rest
        others = boxes[kept]
        shared = np.minimum(others[:, 2:], boxes[row, 2:]) - np.maximum(others[:, :2], boxes[row, :2])
        intersection = np.clip(shared, 0, None).prod(axis=1)
        is_same = intersection > max_iou * (areas[kept] + areas[row] - intersection)
        if not (is_same | (intersection > max_containment * np.minimum(areas[kept], areas[row]))).any():
            kept.append(int(row))
    return kept


def reading_order(boxes: Sequence[PixelBox]) -> list[PixelBox]:
    """Boxes as a reader goes through them: by rows where the page falls into rows, else by columns, and so on within.

    The recursive XY cut of Nagy and Seth, 1984, rows first. Boxes count as beside one another although they overlap a
    little. Where neither rows nor columns can be told apart, the upper box comes first, then the left one.

    Example:
        >>> reading_order([(60, 0, 90, 20), (60, 30, 90, 50), (0, 0, 50, 50), (0, 60, 90, 80)])
        [(0, 0, 50, 50), (60, 0, 90, 20), (60, 30, 90, 50), (0, 60, 90, 80)]
    """
    by_place = sorted(boxes, key=lambda box: (box[1], box[0], box[3], box[2]))
    return _ordered(by_place, _MAX_CUT_DEPTH)


def _ordered(boxes: list[PixelBox], depth: int) -> list[PixelBox]:
    if len(boxes) < 2 or not depth:
        return boxes
    for axis in (1, 0):
        groups = _cut(boxes, lambda box, axis=axis: (box[axis], box[axis + 2]))
        if len(groups) > 1:
            return [box for group in groups for box in _ordered(group, depth - 1)]
    return boxes


def _cut(boxes: list[PixelBox], interval: Callable[[PixelBox], tuple[int, int]]) -> list[list[PixelBox]]:
    """Groups of boxes between which a straight line passes, in the order of the axis."""

    def shrunk(box: PixelBox) -> tuple[float, float]:
        low, high = interval(box)
        margin = _ORDER_MARGIN * (high - low)
        return low + margin, high - margin

    groups: list[list[PixelBox]] = []
    reach = -np.inf
    for box in sorted(boxes, key=shrunk):
        low, high = shrunk(box)
        if groups and low < reach:
            groups[-1].append(box)
        else:
            groups.append([box])
        reach = max(reach, high)
    return [sorted(group, key=boxes.index) for group in groups]
