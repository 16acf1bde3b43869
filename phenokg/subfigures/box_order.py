"""How labels run over the boxes of a figure: by rows in most, by columns in some, in no order in a few.

A figure is cut along a straight gutter into rows, each row into columns, and so on, as long as there is one; by
columns it is the other way round. The method is the recursive XY-cut of document analysis (Nagy and Seth, 1984).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.layouts import reading_order

#: Shares of (rows, columns) among figures of up to so many subfigures, in half of 997 real figures with all labels.
#: Small figures are in order even more often; one in twenty is left to none, so that two printed labels outweigh it.
_SHARES = {2: (0.94, 0.01), 3: (0.93, 0.02), 4: (0.91, 0.03), 10**9: (0.79, 0.05)}
_IN_PLACE = log(0.98)  # a box has the label of its place, in a figure of that order
_OUT_OF_PLACE = log(0.02)
_OVERLAP = 0.03  # of the shorter side, by which boxes may reach over a gutter


@dataclass(frozen=True, slots=True)
class Order:
    """One way in which labels may run.

    Attributes:
        name: "rows", "columns" or "none".
        log_share: Of figures, in nats.
        scores: Nats that speak for each box having each label. Shape (N, M).
        places: The boxes in this order.
    """

    name: str
    log_share: float
    scores: NDArray[np.float64]
    places: tuple[int, ...]


def possible_orders(boxes: Sequence[PixelBox], num_labels: int) -> list[Order]:
    """The orders of N boxes under M labels, which are given as they follow each other.

    With fewer boxes than labels, it is not known which are missing; the place in the order then says little.
    """
    num = len(boxes)
    rows, columns = next(shares for most, shares in _SHARES.items() if num <= most)
    by_rows, by_columns = cut_order(boxes), cut_order(boxes, by_rows=False)
    orders = [Order("rows", log(rows), _scores(by_rows, num_labels), tuple(by_rows))]
    if by_columns != by_rows:
        orders.append(Order("columns", log(columns), _scores(by_columns, num_labels), tuple(by_columns)))
    ways = lgamma(num_labels + 1) - lgamma(num_labels - num + 1) if num <= num_labels else num * log(num_labels)
    none = np.full((num, num_labels), -ways / num)
    orders.append(Order("none", log(1 - rows - columns), none, tuple(by_rows)))
    return orders


def cut_order(boxes: Sequence[PixelBox], *, by_rows: bool = True) -> list[int]:
    """Places of the boxes in the order of rows, or of columns.

    Example:
        >>> cut_order([(50, 50, 90, 90), (0, 5, 40, 90), (50, 0, 90, 40)])  # the tall one on the left is first
        [1, 2, 0]
        >>> grid = [(0, 0, 9, 9), (10, 0, 19, 9), (0, 10, 9, 19), (10, 10, 19, 19)]
        >>> cut_order(grid), cut_order(grid, by_rows=False)
        ([0, 1, 2, 3], [0, 2, 1, 3])
    """
    return _ordered(np.array(boxes, dtype=float), list(range(len(boxes))), 1 if by_rows else 0)


def _ordered(boxes: NDArray[np.float64], places: list[int], axis: int) -> list[int]:
    if len(places) < 2:
        return places
    for along in (axis, 1 - axis):
        groups = _groups(boxes, places, along)
        if len(groups) > 1:
            return [place for group in groups for place in _ordered(boxes, group, axis)]
    if axis:
        return [places[place] for place in reading_order(boxes[places].tolist())]
    return [places[place] for place in reading_order(boxes[places][:, [1, 0, 3, 2]].tolist())]


def _groups(boxes: NDArray[np.float64], places: list[int], axis: int) -> list[list[int]]:
    """The boxes between straight gutters across an axis."""
    groups: list[list[int]] = []
    end = -np.inf
    for place in sorted(places, key=lambda place: (boxes[place, axis], place)):
        low, high = boxes[place, axis], boxes[place, axis + 2]
        slack = _OVERLAP * (high - low)
        if low >= end - slack:
            groups.append([place])
        else:
            groups[-1].append(place)
        end = max(end, high)
    return groups


def _scores(order: Sequence[int], num_labels: int) -> NDArray[np.float64]:
    """Nats for each box and label. Shape (N, M)."""
    num = len(order)
    scores = np.full((num, num_labels), _OUT_OF_PLACE)
    spare = max(0, num_labels - num)
    for place, box in enumerate(order):
        scores[box, place : place + spare + 1] = _IN_PLACE - log(spare + 1)
    return scores
