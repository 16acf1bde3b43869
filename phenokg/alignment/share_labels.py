"""More boxes than labels: runs of boxes that share a label, such as two views of the part of a caption marked (A)."""

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

_GOES_ON = log(0.45)  # a box has the label of the one before it
_NEXT = log(0.5)  # it has the next label
_SKIPS = log(0.05)  # it has any other
_UNREAD_START = -1.5  # nats against a run whose first box shows no label
_READ = 2.0  # nats from which a label was read


def share_labels(scores: NDArray[np.float64], order: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most likely labels of N boxes in reading order, M labels, N > M.

    A run mostly goes on or gives way to the next label; its label is printed at its first box or at each of them.

    Args:
        scores: Nats that speak for each box having each label. Shape (N, M).
        order: The boxes in reading order.

    Returns:
        The place of each box's label, and by how many nats the best labelling in which it has another falls behind;
        both of shape (N,).
    """
    num, num_labels = scores.shape
    ordered = scores[list(order)]
    skips = _SKIPS - log(max(1, num_labels - 1))
    steps = np.full((num_labels, num_labels), skips)  # (from, to)
    steps[np.arange(num_labels - 1), np.arange(1, num_labels)] = _NEXT
    steps[np.arange(num_labels), np.arange(num_labels)] = _GOES_ON
    first = np.where(np.arange(num_labels) == 0, 0.0, skips)
    last = np.where(np.arange(num_labels) == num_labels - 1, 0.0, _SKIPS)
    # (N, from, to): what a run costs that begins at a box without its label
    begins = np.where(ordered < _READ, _UNREAD_START, 0.0)[:, None, :] * (1 - np.eye(num_labels))
    forward, backward = np.empty((num, num_labels)), np.empty((num, num_labels))
    forward[0], backward[-1] = first + ordered[0], last
    for place in range(1, num):
        forward[place] = (forward[place - 1][:, None] + steps + begins[place]).max(axis=0) + ordered[place]
        after = num - 1 - place
        following = ordered[after + 1] + backward[after + 1]
        backward[after] = (steps + begins[after + 1] + following).max(axis=1)
    through = forward + backward  # best total with each box having each label
    chosen, margins = np.empty(num, dtype=int), np.empty(num)
    for place, box in enumerate(order):
        totals = np.sort(through[place])
        chosen[box] = through[place].argmax()
        margins[box] = totals[-1] - totals[-2] if num_labels > 1 else 0.0
    return chosen, margins
