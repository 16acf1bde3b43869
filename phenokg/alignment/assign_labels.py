"""The best assignment of labels to boxes, and how far the next best falls behind for each box."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from phenolip.phenokg.subfigures.box_order import Order


def assign_labels(
    styles: Sequence[NDArray[np.float64]], orders: Sequence[Order]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The best assignment of labels to boxes over all styles and orders, one label a box and no label twice.

    Args:
        styles: Nats for each box and label. Each of shape (N, M), N <= M.
        orders: As `possible_orders` gives them.

    Returns:
        The place of each box's label, and by how many nats the best assignment in which that box has another label, or
        the label another box, falls behind; both of shape (N,).
    """
    tried = []
    for style in styles:
        for order in orders:
            scores = style + order.scores
            rows, columns = linear_sum_assignment(scores, maximize=True)
            tried.append((scores[rows, columns].sum() + order.log_share, len(tried), scores, columns, order.log_share))
    tried.sort(key=lambda outcome: (-outcome[0], outcome[1]))
    best, _, _, chosen, _ = tried[0]
    runners_up = np.full(len(chosen), -np.inf)
    for total, _, scores, columns, log_share in tried:
        differs = columns != chosen
        runners_up[differs] = np.maximum(runners_up[differs], total)
        for box in np.flatnonzero(~differs & (runners_up < total)):
            runners_up[box] = max(runners_up[box], _without(scores, box, columns[box]) + log_share)
    return chosen, best - runners_up


def _without(scores: NDArray[np.float64], box: int, label: int) -> float:
    """The best total in which a box does not have a label."""
    if scores.shape[1] == 1:
        return -np.inf
    barred = scores.copy()
    barred[box, label] = -1e6
    rows, columns = linear_sum_assignment(barred, maximize=True)
    return float(barred[rows, columns].sum())


def assignment_total(scores: NDArray[np.float64]) -> float:
    """What the best assignment of boxes and labels adds up to."""
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return float(scores[rows, columns].sum())
