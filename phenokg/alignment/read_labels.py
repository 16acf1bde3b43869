"""Labels printed in a picture: which of the caption's labels seem to stand at which box.

A letter is read alone, and weighed by what the labels of a figure have in common: they stand at the same corner, at
the same distance from it, in one size. A letter that an image brings along, "R" or that of an older figure, does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.phenokg.alignment.glyph_candidates import Glyphs, find_glyphs
from phenolip.phenokg.alignment.glyph_reader import read_glyphs
from phenolip.phenokg.alignment.glyph_strings import read_strings
from phenolip.phenokg.records import PixelBox

_SIDE_PX = 750  # of a square of the picture's area as it is read; smaller ones are enlarged, at most twice
_MAX_SIDE_PX = 2000
_REACH = 0.06  # of the longer side, that a label may stand outside of its box
_DEPTH = 0.3  # of a box's side, that a label may stand inside
_MIDDLE = 0.12  # of a box's width, that a centred label may be off
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0), (0.5, 0.0))  # (right, bottom)
_CORNER_LOG_PRIOR = np.array([0.0, -1.0, -1.5, -1.5, -1.5, -2.5])  # 2,576 labels of real figures: 67, 17, 2, 5, 6, 1 %
_MAX_STYLES = 48
_MAX_PENALTY = 4.5


@dataclass(frozen=True, slots=True)
class _Readings:
    """What could be read where, all pairs of a box and a place of its surroundings.

    Attributes:
        box: Number of the box. Shape (P,).
        scores: Nats that speak for each label, 0 for one that was not read there. Shape (P, M).
        corner: Which of the corners is nearest. Shape (P,).
        offsets: From each corner, right and down, in heights of a capital. Shape (P, C, 2).
        capital: Height of a capital, in pixels as read. Shape (P,).
        num_boxes: N.
    """

    box: NDArray[np.int64]
    scores: NDArray[np.float64]
    corner: NDArray[np.int64]
    offsets: NDArray[np.float64]
    capital: NDArray[np.float64]
    num_boxes: int


class LabelReader:
    """Reads one figure's printed labels; its letters are looked for once, whatever labels are asked for.

    Args:
        picture: RGB.
        boxes: Of the N subfigures.
    """

    def __init__(self, picture: Image.Image, boxes: Sequence[PixelBox]) -> None:
        small, scale = _scaled(picture)
        self._places = np.array(boxes, dtype=float) * scale  # (N, 4)
        self._long_side = max(small.size)
        self._glyphs = find_glyphs(np.asarray(small), _surroundings(self._places, small.size))
        self._log_p = read_glyphs(self._glyphs.patches)

    def scores(self, labels: Sequence[str], *, is_case_told: bool = False) -> list[NDArray[np.float64]]:
        """What the printed labels say, once for every style that the figure may have.

        Args:
            labels: The M labels of the caption.
            is_case_told: Whether "a" is no reading of "A"; it never is where both are labels.

        Returns:
            Matrices (N, M): nats that speak for a box having a label, 0 where nothing was read. The surest style
            first; empty if nothing was read at all.
        """
        is_case_told = is_case_told or len({label.casefold() for label in labels}) < len(set(labels))
        readings = _find_readings(self._glyphs, self._log_p, self._places, labels, is_case_told, self._long_side)
        return _weigh_styles(readings)


def _scaled(picture: Image.Image) -> tuple[Image.Image, float]:
    scale = min(2.0, _SIDE_PX / sqrt(picture.width * picture.height), _MAX_SIDE_PX / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0), scale


def _surroundings(places: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where labels may stand: around each box, and inside it near its upper and lower side."""
    allowed = np.zeros((size[1], size[0]), dtype=bool)
    reach = _REACH * max(size)
    for x0, y0, x1, y1 in places:
        depth = _DEPTH * (y1 - y0)
        left, right = max(0, int(x0 - reach)), int(x1 + reach) + 1
        for top, bottom in ((y0 - reach, y0 + depth), (y1 - depth, y1 + reach)):
            allowed[max(0, int(top)) : max(0, int(bottom) + 1), left:right] = True
    return allowed


def _find_readings(
    glyphs: Glyphs,
    log_p: NDArray[np.float32],
    places: NDArray[np.floating],
    labels: Sequence[str],
    is_case_told: bool,
    long_side: float,
) -> _Readings:
    """Every label that could be read at every box."""
    scores, extents, capitals = read_strings(glyphs, log_p, labels, is_case_told)
    kept = scores.max(axis=1, initial=0.0) > 0
    scores, extents, capitals = scores[kept], extents[kept], capitals[kept]
    box, glyph = _pairs(extents, places, _REACH * long_side)
    offsets = _offsets(extents[glyph], places[box], capitals[glyph])  # (P, C, 2)
    away = np.abs(offsets).sum(axis=2) - _CORNER_LOG_PRIOR  # unlikely corners count as further away
    return _Readings(box, scores[glyph], away.argmin(axis=1), offsets, capitals[glyph], len(places))


def _weigh_styles(readings: _Readings) -> list[NDArray[np.float64]]:
    """Scores of boxes and labels under each style that a reading may stand for, the surest first."""
    if not len(readings.box):
        return []
    best = readings.scores.max(axis=1)
    found = []
    seen = set()
    for leader in np.argsort(-best - _CORNER_LOG_PRIOR[readings.corner], kind="stable"):
        corner = readings.corner[leader]
        style = (
            int(corner),
            *np.round(readings.offsets[leader, corner] * 2),
            round(3 * np.log(readings.capital[leader])),
        )
        if style in seen:
            continue
        seen.add(style)
        weighed = readings.scores - _penalties(readings, leader)[:, None]
        matrix = np.zeros((readings.num_boxes, readings.scores.shape[1]))
        np.maximum.at(matrix, readings.box, weighed)
        found.append((float(matrix.max(axis=1).sum() + _CORNER_LOG_PRIOR[corner]), matrix))
        if len(seen) == _MAX_STYLES:
            break
    found.sort(key=lambda pair: -pair[0])
    return [matrix for _, matrix in found]


def _penalties(readings: _Readings, leader: int) -> NDArray[np.float64]:
    """Nats by which each reading is unlike a leading one. Shape (P,)."""
    corner = readings.corner[leader]
    apart = readings.offsets[:, corner] - readings.offsets[leader, corner]  # (P, 2), capitals
    is_outside = (readings.offsets[leader, corner] < -0.3).any()
    spread = np.array([0.8, 0.8]) if is_outside else np.array([0.25, 0.3])
    size = np.log(readings.capital / readings.capital[leader]) / 0.12
    unlike = np.log1p((apart / spread) ** 2).sum(axis=1) + np.log1p(size**2)
    return np.minimum(unlike, _MAX_PENALTY)


def _pairs(
    extents: NDArray[np.floating], places: NDArray[np.floating], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of boxes and of glyphs that may belong together."""
    x, y = (extents[:, 0] + extents[:, 2]) / 2, (extents[:, 1] + extents[:, 3]) / 2
    x0, y0, x1, y1 = places.T[:, :, None]  # each (N, 1)
    width, height = x1 - x0, y1 - y0
    near = (x > x0 - reach) & (x < x1 + reach) & (y > y0 - reach) & (y < y1 + reach)
    beside = (np.minimum(x - x0, x1 - x) < _DEPTH * width) | (np.abs(x - (x0 + x1) / 2) < _MIDDLE * width)
    above = np.minimum(y - y0, y1 - y) < _DEPTH * height
    return np.nonzero(near & beside & above)


def _offsets(
    extents: NDArray[np.floating], places: NDArray[np.floating], capitals: NDArray[np.floating]
) -> NDArray[np.float64]:
    """From every corner of a box to the nearest side of a label, positive inwards. Shape (P, C, 2)."""
    offsets = np.empty((len(extents), len(_CORNERS), 2))
    for number, (right, bottom) in enumerate(_CORNERS):
        for axis, share in enumerate((right, bottom)):
            if share == 0.5:
                middle = (extents[:, axis] + extents[:, axis + 2] - places[:, axis] - places[:, axis + 2]) / 2
                offsets[:, number, axis] = middle
            elif share:
                offsets[:, number, axis] = places[:, axis + 2] - extents[:, axis + 2]
            else:
                offsets[:, number, axis] = extents[:, axis] - places[:, axis]
    return offsets / capitals[:, None, None]
