"""Where the subfigures of a compound figure lie: layouts of real figures, or rows drawn around given images."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, isfinite, sqrt
from pathlib import Path

import numpy as np

from phenolip.exceptions import DataError

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]

MIN_SIDE = 0.03  # of the longer side of the figure: about 16 of 520 pixels
MAX_OVERLAP = 0.05  # of the smaller box: what imprecise annotation explains
_MAX_CELL_ASPECT = {9: 4.0, 26: 2.0}  # up to so many images: one extreme image must not starve its neighbours
_GUTTER = (0.004, 0.024)  # of the width of the figure: 2 to 12 of 520 pixels


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes of the subfigures of one figure, in the order of their labels.

    Attributes:
        name: The figure that the layout was taken from; "rows" if it was drawn.
        boxes_xyxy: Left, top, right, bottom of each subfigure, origin top left, all in one unit of any size; no two
            overlap.
    """

    name: str
    boxes_xyxy: tuple[Box, ...]

    @property
    def extent_xyxy(self) -> Box:
        """The smallest box around all subfigures."""
        left, top, right, bottom = zip(*self.boxes_xyxy, strict=True)
        return min(left), min(top), max(right), max(bottom)


class _BadLayoutError(Exception):
    """A row holds no usable layout; the argument is the reason to count it by."""


def read_layouts(path: str | Path, *, max_bad_fraction: float = 0.1) -> tuple[list[Layout], dict[str, int]]:
    """Read layouts of real figures.

    Boxes that overlap by less than ``MAX_OVERLAP`` of the smaller one are cut apart in the middle.

    Args:
        path: JSON Lines, a figure a row: ``{"figure": name, "subfigures": [{"box_xyxy": [x0, y0, x1, y1], "label":
            "A"}, ...]}``, in pixels of the figure. ``label`` may be missing; subfigures with distinct labels follow
            their order, others are read from left to right and from top to bottom.
        max_bad_fraction: Share of rows that may be unusable, between 0 and 1.

    Returns:
        The layouts, and how many rows were left out for which reason.

    Raises:
        DataError: The file cannot be read, or more of its rows are bad than allowed.
    """
    try:
        lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Layouts {path} cannot be read: {error}.") from error
    layouts, bad = [], Counter()
    for line in lines:
        try:
            layouts.append(_parse_layout(line))
        except _BadLayoutError as error:
            bad[str(error)] += 1
    counts = ", ".join(f"{reason}: {number}" for reason, number in bad.most_common())
    if not layouts or bad.total() > max_bad_fraction * len(lines):
        raise DataError(
            f"Layouts {path}: {bad.total()} of {len(lines)} rows are bad ({counts or 'the file is empty'}), of which "
            f"{max_bad_fraction:.0%} may be."
        )
    if bad:
        logger.warning("%s: %d of %d layouts are bad and left out (%s).", path, bad.total(), len(lines), counts)
    return layouts, dict(bad)


def rows_layout(aspects: Sequence[float], rng: np.random.Generator) -> Layout:
    """Draw rows of equal width in which the images of a row have one height, as figures are usually assembled.

    Args:
        aspects: Width over height of each of up to 26 images, in reading order.
        rng: Decides the number of rows and the gutters.

    Example:
        >>> layout = rows_layout([1.0, 1.0, 2.0], np.random.default_rng(0))
        >>> len(layout.boxes_xyxy)
        3
    """
    num_images = len(aspects)
    max_columns = max(3, ceil(sqrt(num_images)))
    max_rows = num_images if num_images <= 3 else ceil(num_images / 2)
    max_aspect = next(aspect for most, aspect in _MAX_CELL_ASPECT.items() if num_images <= most)
    num_rows = int(rng.integers(ceil(num_images / max_columns), max_rows + 1))
    gutter_x, gutter_y = rng.uniform(*_GUTTER, size=2)
    boxes: list[Box] = []
    top = 0.0
    for places in np.array_split(np.arange(num_images), num_rows):
        cells = np.clip([aspects[place] for place in places], 1 / max_aspect, max_aspect)
        room = 1.0 - gutter_x * (len(cells) - 1)
        height = min(room / cells.sum(), 1.0)  # a single tall image is not blown up to the full width
        left = (room - height * cells.sum()) / 2
        for width in height * cells:
            boxes.append((float(left), top, float(left + width), float(top + height)))
            left += width + gutter_x
        top += float(height + gutter_y)
    return Layout("rows", tuple(boxes))


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Places of the boxes from left to right and from top to bottom, by rows.

    Example:
        >>> reading_order([(20, 1, 30, 9), (0, 12, 30, 20), (0, 0, 10, 10)])
        [2, 0, 1]
    """
    rows: list[list[int]] = []
    for place in sorted(range(len(boxes)), key=lambda place: boxes[place][1]):
        top, bottom = boxes[place][1], boxes[place][3]
        # a box whose middle lies below the first of the row begins a new row
        if rows and (top + bottom) / 2 < boxes[rows[-1][0]][3]:
            rows[-1].append(place)
        else:
            rows.append([place])
    return [place for row in rows for place in sorted(row, key=lambda place: boxes[place])]


def _parse_layout(line: str) -> Layout:
    try:
        row = json.loads(line)
        parts = row["subfigures"]
        subfigures = [(str(part.get("label") or ""), tuple(map(float, part["box_xyxy"]))) for part in parts]
        name = str(row.get("figure", ""))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _BadLayoutError("row is not a layout") from error
    if not subfigures or any(len(box) != 4 for _, box in subfigures):
        raise _BadLayoutError("row is not a layout")
    layout = Layout(name, tuple(_cut_apart(_in_order(subfigures))))
    left, top, right, bottom = layout.extent_xyxy
    smallest = min(min(x1 - x0, y1 - y0) for x0, y0, x1, y1 in layout.boxes_xyxy)
    if smallest < MIN_SIDE * max(right - left, bottom - top):
        raise _BadLayoutError("box is too small")
    return layout


def _in_order(subfigures: list[tuple[str, Box]]) -> list[Box]:
    for _, box in subfigures:
        if not all(map(isfinite, box)) or min(box) < 0:
            raise _BadLayoutError("box lies outside the figure")
        if box[0] >= box[2] or box[1] >= box[3]:
            raise _BadLayoutError("box is empty")
    labels = {label for label, _ in subfigures}
    if "" not in labels and len(labels) == len(subfigures):
        return [box for _, box in sorted(subfigures, key=lambda part: (len(part[0]), part[0].casefold()))]
    boxes = [box for _, box in subfigures]
    return [boxes[place] for place in reading_order(boxes)]


def _cut_apart(boxes: list[Box]) -> list[Box]:
    """Boxes without their small overlaps; large ones are insets or errors."""
    cut = [list(box) for box in boxes]
    for one, other in combinations(cut, 2):
        inner = [max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])]
        width, height = inner[2] - inner[0], inner[3] - inner[1]
        if width <= 0 or height <= 0:
            continue
        areas = ((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other))
        if width * height > MAX_OVERLAP * min(areas):
            raise _BadLayoutError("boxes overlap")
        axis = 0 if width < height else 1
        first, second = sorted((one, other), key=lambda box: box[axis] + box[axis + 2])
        first[axis + 2] = second[axis] = (inner[axis] + inner[axis + 2]) / 2
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in cut]
