"""Glyphs beside each other: labels of one or several characters, in brackets or bare, told from parts of a word."""

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from phenolip.phenokg.alignment.glyph_candidates import Glyphs
from phenolip.phenokg.alignment.glyph_reader import CHARACTERS

_CAPITAL_PER_SMALL = 1 / 0.72  # height of a capital to that of the small letters without a stroke upwards
_SMALL = frozenset("acemnorsuvwxz")
_MIN_LOG_P = -3.5  # a letter less likely than this was not read
_READ = 5.0  # nats that a letter read for certain speaks for its label
_BRACKET = 1.5  # nats more where brackets stand around it
_NEIGHBOUR = -4.0  # nats where it is part of a longer word
_PIECE = -1.0  # nats where only a nested number follows, "A1" for "A"
_MAX_NONE = 0.5  # probability of being no character, from which a neighbour does not count
_MAX_NONE_IF_TOLD = 0.9  # where the caption has labels of several characters
_IS_BRACKET = 0.3  # least probability
_MAX_GAP = 0.45  # of the height of a letter, between letters of one label
_ALIKE = {"I": "Il1", "L": "Ll", "O": "Oo0", "J": "Jj", "S": "Ss", "1": "1Il", "0": "0O"}


def read_strings(
    glyphs: Glyphs, log_p: NDArray[np.float32], labels: Sequence[str], is_case_told: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Scores of each glyph as the first of each label (G, M), its label's extent (G, 4), height of a capital (G,)."""
    num = len(glyphs.boxes)
    scores, extents = np.zeros((num, len(labels))), glyphs.boxes.astype(float)
    if not num:
        return scores, extents, np.ones(0)
    line = _Line(glyphs, log_p)
    for column, label in enumerate(labels):
        if not label or not set(label) <= set(CHARACTERS[:-2]):
            continue  # words on the place are not printed
        known = scores.max(axis=1)
        has_longer = any(len(other) > len(label) and label in other for other in labels)
        scores[:, column], found = line.read(label, is_case_told, has_longer)
        better = scores[:, column] > known
        extents[better] = found[better]
    heights = (glyphs.boxes[:, 3] - glyphs.boxes[:, 1]).astype(float)
    is_small = np.isin(log_p[:, : len(CHARACTERS)].argmax(axis=1), [CHARACTERS.index(sign) for sign in _SMALL])
    return scores, extents, np.where(is_small, heights * _CAPITAL_PER_SMALL, heights)


class _Line:
    """Glyphs beside each other, to read labels of several characters and to tell them from words."""

    def __init__(self, glyphs: Glyphs, log_p: NDArray[np.float32]) -> None:
        self.boxes, self.log_p = glyphs.boxes, log_p
        self.near = _neighbours(glyphs, log_p[:, -1] < log(_MAX_NONE))
        # the bar of an i alone looks like many things; beside a letter it may well be one
        self.near_if_told = _neighbours(glyphs, log_p[:, -1] < log(_MAX_NONE_IF_TOLD))
        self.opening, self.closing = (np.exp(log_p[:, CHARACTERS.index(sign)]) > _IS_BRACKET for sign in "()")
        self.nested = np.exp(log_p[:, [CHARACTERS.index(sign) for sign in "0123456789i"]]).sum(axis=1) > 0.5

    def read(self, label: str, is_case_told: bool, has_longer: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Nats for each glyph being the first of a label (G,), and the extent of label and brackets (G, 4).

        Args:
            label: One or more of `CHARACTERS`.
            is_case_told: Whether "a" is no reading of "A".
            has_longer: Whether the caption also has labels of which this is a part.
        """
        num = len(self.boxes)
        chain, total = np.arange(num), np.zeros(num)
        for place, sign in enumerate(label):
            if place:
                chain = np.where(chain >= 0, self.near_if_told[1][chain], -1)
            total += np.where(chain >= 0, _log_p_of(self.log_p, sign, is_case_told)[chain], -np.inf)
        total /= len(label)
        last = np.maximum(chain, 0)
        before, after = self.near_if_told if has_longer else self.near
        left, right = before, np.where(chain >= 0, after[last], -1)
        nested = _NEIGHBOUR if has_longer else _PIECE
        leads = np.where(self.opening[left], _BRACKET, _NEIGHBOUR)
        follows = np.where(self.closing[right], _BRACKET, np.where(self.nested[right], nested, _NEIGHBOUR))
        total_score = _READ + total + np.where(left < 0, 0.0, leads) + np.where(right < 0, 0.0, follows)
        start = np.where((left >= 0) & self.opening[left], left, np.arange(num))
        end = np.where((right >= 0) & self.closing[right], right, last)
        low = np.minimum(self.boxes[start, :2], self.boxes[end, :2])
        high = np.maximum(self.boxes[start, 2:], self.boxes[end, 2:])
        return np.where(total > _MIN_LOG_P, np.maximum(0.0, total_score), 0.0), np.concatenate([low, high], axis=1)


def _log_p_of(log_p: NDArray[np.float32], sign: str, is_case_told: bool) -> NDArray[np.float64]:
    signs = set(_ALIKE.get(sign.upper(), sign)) | ({sign} if is_case_told else {sign.lower(), sign.upper()})
    columns = [CHARACTERS.index(one) for one in signs]
    return np.logaddexp.reduce(log_p[:, columns].astype(float), axis=1)


def _neighbours(glyphs: Glyphs, is_sign: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of glyphs that are a sign, the one before and after each on its line, -1 for none."""
    boxes = glyphs.boxes.astype(float)
    heights = boxes[:, 3] - boxes[:, 1]
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
