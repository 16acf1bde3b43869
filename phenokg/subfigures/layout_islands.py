"""Images that no straight line through the whole figure parts, such as five around a middle: islands in a page.

Below 1 % of real layouts. Every island must fill its rectangle's four edges, so that no photograph falls into islands.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.layout_cuts import FigureMaps, Region
from phenolip.phenokg.subfigures.separator_features import MIN_PART_PX
from phenolip.phenokg.subfigures.separator_maps import COLOURS

_STEP_PX = 2  # page is looked for in squares of this side: a gutter of three pixels still shows
_COARSE = 4  # squares to a side of the first look
_MIN_ISLANDS = 4  # fewer are always parted by a straight line
_MIN_SIDE_PX = 4 * MIN_PART_PX  # of a region
_MIN_AREA = 0.25  # of a region, as a share of the figure
_PAGE_SHARES = 0.01, 0.5  # of the region, that is page
_RIM_SHARE = 0.6  # of an edge that is no page


def find_islands(maps: FigureMaps, region: Region) -> list[PixelBox]:
    """Boxes of at least four images in a page of one colour; none where the region does not look like that."""
    left, top, right, bottom = region
    width, height = (right - left) // _STEP_PX * _STEP_PX, (bottom - top) // _STEP_PX * _STEP_PX
    if min(width, height) < _MIN_SIDE_PX or width * height < _MIN_AREA * maps.size[0] * maps.size[1]:
        return []
    for colour in range(len(COLOURS)):
        is_page = maps.has_colour((left, top, left + width, top + height), colour)
        rows = is_page[::2] & is_page[1::2]
        squares = rows[:, ::2] & rows[:, 1::2]
        boxes = _islands(~squares) if _PAGE_SHARES[0] <= squares.mean() <= _PAGE_SHARES[1] else []
        if boxes:
            shift = np.array([left, top, left, top])
            return [tuple(box) for box in (np.array(boxes) * _STEP_PX + shift).tolist()]
    return []


def _islands(ink: NDArray[np.bool_]) -> list[PixelBox]:
    if _is_one_whole(ink):
        return []
    labels, _ = ndimage.label(ink)
    boxes: list[PixelBox] = []
    found = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)]
    for box in sorted(found, key=lambda box: (box[0] - box[2]) * (box[3] - box[1])):  # the largest first
        if min(box[2] - box[0], box[3] - box[1]) < MIN_PART_PX // _STEP_PX:
            continue
        if any(_is_inside(box, other) for other in boxes):
            continue
        if any(_overlap(box, other) for other in boxes) or not _fills_its_edges(ink, box):
            return []
        boxes.append(box)
    covered = sum((box[2] - box[0]) * (box[3] - box[1]) for box in boxes)
    return boxes if len(boxes) >= _MIN_ISLANDS and covered >= ink.size / 2 else []


def _is_one_whole(ink: NDArray[np.bool_]) -> bool:
    """Whether a look at solid squares alone shows one island with no room for another beside it; several times faster.

    False says nothing.
    """
    height, width = (side // _COARSE * _COARSE for side in ink.shape)
    rows = np.logical_and.reduce([ink[row:height:_COARSE] for row in range(_COARSE)])
    solid = np.logical_and.reduce([rows[:, column:width:_COARSE] for column in range(_COARSE)])
    labels, _ = ndimage.label(solid)
    room = MIN_PART_PX // _STEP_PX  # what is narrower is no island
    return any(
        side.start * _COARSE < room and length - side.stop * _COARSE < room and other.start * _COARSE < room
        and other_length - other.stop * _COARSE < room
        for side, other in ndimage.find_objects(labels)
        for length, other_length in [ink.shape]
    )  # fmt: skip


def _is_inside(box: PixelBox, other: PixelBox) -> bool:
    return other[0] <= box[0] and other[1] <= box[1] and box[2] <= other[2] and box[3] <= other[3]


def _overlap(box: PixelBox, other: PixelBox) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _fills_its_edges(ink: NDArray[np.bool_], box: PixelBox) -> bool:
    inner = ink[box[1] : box[3], box[0] : box[2]]
    edges = (inner[:2].any(0), inner[-2:].any(0), inner[:, :2].any(1), inner[:, -2:].any(1))
    return all(edge.mean() >= _RIM_SHARE for edge in edges)
