"""Labels printed in a picture: which of the caption's labels seem to stand at which box.

A letter is read alone, and weighed by what the labels of a figure have in common: they stand at the same corner, at
the same distance from it, in one size. A letter that an image brings along, "R" or that of an older figure, does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.phenokg.glyph_candidates import Glyphs, find_glyphs
from phenolip.phenokg.glyph_reader import CHARACTERS, read_glyphs
from phenolip.phenokg.records import PixelBox

_LONG_SIDE_PX = 900  # of the picture as it is read; smaller ones are enlarged, at most twice
_REACH = 0.06  # of the longer side, that a label may stand outside of its box
_DEPTH = 0.3  # of a box's side, that a label may stand inside
_MIDDLE = 0.12  # of a box's width, that a centred label may be off
_MAX_GAP = 0.45  # of the height of a letter, between letters of one label
_CAPITAL_PER_SMALL = 1 / 0.72  # height of a capital to that of the small letters without a stroke upwards
_SMALL = frozenset("acemnorsuvwxz")
_MIN_LOG_P = -3.5  # a letter less likely than this was not read
_READ = 5.0  # nats that a letter read for certain speaks for its label
_BRACKET = 1.5  # nats more where brackets stand around it
_NEIGHBOUR = -4.0  # nats where it is part of a longer word
_PIECE = -1.0  # nats where only a nested number follows, "A1" for "A"
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0), (0.5, 0.0))  # (right, bottom)
_CORNER_LOG_PRIOR = np.array([0.0, -1.0, -1.5, -1.5, -1.5, -2.5])  # 2,576 labels of real figures: 67, 17, 2, 5, 6, 1 %
_MAX_STYLES = 48
_MAX_PENALTY = 4.5
_ALIKE = {"I": "Il1", "L": "Ll", "O": "Oo0", "J": "Jj", "S": "Ss", "1": "1Il", "0": "0O"}


@dataclass(frozen=True, slots=True)
class Readings:
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


def read_labels(picture: Image.Image, boxes: Sequence[PixelBox], labels: Sequence[str]) -> list[NDArray[np.float64]]:
    """What the printed labels say, once for every style that the figure may have.

    Args:
        picture: RGB.
        boxes: Of the N subfigures.
        labels: The M labels of the caption.

    Returns:
        Matrices (N, M): nats that speak for a box having a label, 0 where nothing was read. The surest style first;
        empty if nothing was read at all.
    """
    small, scale = _scaled(picture)
    places = np.array(boxes, dtype=float) * scale  # (N, 4)
    glyphs = find_glyphs(np.asarray(small), _surroundings(places, small.size))
    readings = find_readings(glyphs, places, labels, max(small.size))
    return weigh_styles(readings)


def _scaled(picture: Image.Image) -> tuple[Image.Image, float]:
    scale = min(2.0, _LONG_SIDE_PX / max(picture.size))
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


def find_readings(glyphs: Glyphs, places: NDArray[np.floating], labels: Sequence[str], long_side: float) -> Readings:
    """Every label that could be read at every box."""
    scores, extents, capitals = _read(glyphs, labels)
    kept = scores.max(axis=1, initial=0.0) > 0
    scores, extents, capitals = scores[kept], extents[kept], capitals[kept]
    box, glyph = _pairs(extents, places, _REACH * long_side)
    offsets = _offsets(extents[glyph], places[box], capitals[glyph])  # (P, C, 2)
    away = np.abs(offsets).sum(axis=2) - _CORNER_LOG_PRIOR  # unlikely corners count as further away
    return Readings(box, scores[glyph], away.argmin(axis=1), offsets, capitals[glyph], len(places))


def weigh_styles(readings: Readings) -> list[NDArray[np.float64]]:
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


def _penalties(readings: Readings, leader: int) -> NDArray[np.float64]:
    """Nats by which each reading is unlike a leading one. Shape (P,)."""
    corner = readings.corner[leader]
    apart = readings.offsets[:, corner] - readings.offsets[leader, corner]  # (P, 2), capitals
    is_outside = (readings.offsets[leader, corner] < -0.3).any()
    spread = np.array([0.8, 0.8]) if is_outside else np.array([0.25, 0.3])
    size = np.log(readings.capital / readings.capital[leader]) / 0.12
    unlike = np.log1p((apart / spread) ** 2).sum(axis=1) + np.log1p(size**2)
    return np.minimum(unlike, _MAX_PENALTY)


def _read(
    glyphs: Glyphs, labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Scores of each glyph as the first of each label (G, M), its label's extent (G, 4), height of a capital (G,)."""
    num = len(glyphs.boxes)
    scores, extents, capitals = np.zeros((num, len(labels))), glyphs.boxes.astype(float), np.ones(num)
    if not num:
        return scores, extents, capitals
    log_p = read_glyphs(glyphs.patches)
    before, after = _neighbours(glyphs, log_p)
    opening, closing = (np.exp(log_p[:, CHARACTERS.index(sign)]) > 0.3 for sign in "()")
    is_lower_too = len({label.casefold() for label in labels}) < len(set(labels))
    best = np.full(num, -np.inf)
    for column, label in enumerate(labels):
        signs = "".join(character for character in label if character in CHARACTERS[:-2])
        if not signs or len(signs) != len(label):
            continue
        chain = np.arange(num)
        total = np.zeros(num)
        for place, sign in enumerate(signs):
            if place:
                chain = np.where(chain >= 0, after[chain], -1)
            total += np.where(chain >= 0, _log_p_of(log_p, sign, is_lower_too)[chain], -np.inf)
        total /= len(signs)
        last = np.where(chain >= 0, chain, 0)
        left, right = before, np.where(chain >= 0, after[last], -1)
        bonus = np.where(left < 0, 0.0, np.where(opening[left], _BRACKET, _NEIGHBOUR))
        follows = np.where(closing[right], _BRACKET, np.where(_is_digit(log_p)[right], _PIECE, _NEIGHBOUR))
        bonus += np.where(right < 0, 0.0, follows)
        score = np.where(total > _MIN_LOG_P, np.maximum(0.0, _READ + total + bonus), 0.0)
        scores[:, column] = score
        better = score > best
        best = np.where(better, score, best)
        end = np.where((right >= 0) & closing[right], right, last)
        start = np.where((left >= 0) & opening[left], left, np.arange(num))
        union = np.concatenate(
            [
                np.minimum(glyphs.boxes[start, :2], glyphs.boxes[end, :2]),
                np.maximum(glyphs.boxes[start, 2:], glyphs.boxes[end, 2:]),
            ],
            axis=1,
        )
        extents[better] = union[better]
    heights = (glyphs.boxes[:, 3] - glyphs.boxes[:, 1]).astype(float)
    is_small = np.isin(log_p[:, : len(CHARACTERS)].argmax(axis=1), [CHARACTERS.index(sign) for sign in _SMALL])
    return scores, extents, np.where(is_small, heights * _CAPITAL_PER_SMALL, heights)


def _log_p_of(log_p: NDArray[np.float32], sign: str, is_case_told: bool) -> NDArray[np.float64]:
    signs = set(_ALIKE.get(sign.upper(), sign)) | ({sign} if is_case_told else {sign.lower(), sign.upper()})
    columns = [CHARACTERS.index(one) for one in signs]
    return np.logaddexp.reduce(log_p[:, columns].astype(float), axis=1)


def _is_digit(log_p: NDArray[np.float32]) -> NDArray[np.bool_]:
    digits = [CHARACTERS.index(digit) for digit in "0123456789i"]
    return np.exp(log_p[:, digits]).sum(axis=1) > 0.5


def _neighbours(glyphs: Glyphs, log_p: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The glyph before and after each one on its line, -1 for none."""
    boxes = glyphs.boxes.astype(float)
    heights = boxes[:, 3] - boxes[:, 1]
    is_sign = log_p[:, -1] < np.log(0.5)
    before, after = np.full(len(boxes), -1), np.full(len(boxes), -1)
    for cut in np.unique(glyphs.cuts):
        members = np.flatnonzero(glyphs.cuts == cut)
        signs = members[is_sign[members]]
        if not len(signs):
            continue
        one, other = boxes[members][:, None], boxes[signs][None]  # (A, 1, 4), (1, B, 4)
        tall, low = (
            np.maximum(heights[members][:, None], heights[signs]),
            np.minimum(heights[members][:, None], heights[signs]),
        )
        level = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
        fits = (level >= 0.5 * low) & (tall <= 2.2 * low)
        for side, found in ((0, before), (2, after)):
            gap = other[..., 0] - one[..., 2] if side else one[..., 0] - other[..., 2]
            gap = np.where(fits & (gap >= -0.15 * low) & (gap <= _MAX_GAP * tall), gap, np.inf)
            nearest = gap.argmin(axis=1)
            has = np.isfinite(gap[np.arange(len(members)), nearest])
            found[members[has]] = signs[nearest[has]]
    return before, after


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
