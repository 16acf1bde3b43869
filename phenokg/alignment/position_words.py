"""Words of a caption that say where a subfigure stands, "top left" or "lower row", against where the boxes are."""

import re
from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from phenolip.phenokg.records import PixelBox

#: Word -> (axis, place): 0 is across, 1 is down; a place of 0 is the first, 1 the last, 0.5 the middle.
_PLACES = {
    "left": (0, 0.0),
    "right": (0, 1.0),
    "top": (1, 0.0),
    "upper": (1, 0.0),
    "bottom": (1, 1.0),
    "lower": (1, 1.0),
    "middle": (None, 0.5),
    "center": (None, 0.5),
    "centre": (None, 0.5),
    "central": (None, 0.5),
}
_WORD = "|".join(_PLACES)
_PART = r"(?:panel|image|picture|figure|photograph|photo|row|column|line|corner|inset)s?"
_LABEL = re.compile(rf"(?:the |on |in |far )*((?:{_WORD})(?:[ -](?:{_WORD}))?)(?:[ -]?most)?(?: {_PART})?", re.I)
#: In running text only with the word for what stands there: "left lung" is anatomy.
_IN_TEXT = re.compile(rf"\b((?:{_WORD})(?:[ -](?:{_WORD}))?) {_PART}\b", re.I)
_LOOK = 80  # characters of a subfigure's own text that are searched
_FITS = log(0.9)
_DOES_NOT_FIT = log(0.02)
_SAME_LINE = 0.5  # of the shorter side, by which boxes overlap that stand in one row or column


def position_scores(
    boxes: Sequence[PixelBox], labels: Sequence[str], texts: Sequence[str]
) -> NDArray[np.float64] | None:
    """Nats that speak for each box having each label by words on its place; None where there are no such words.

    Args:
        boxes: Of the N subfigures.
        labels: The M labels; "top left" is one that says its place.
        texts: Own text of each label.

    Returns:
        Shape (N, M), 0 in the columns of labels whose place is not told.
    """
    told = [_told(label, text) for label, text in zip(labels, texts, strict=True)]
    if not any(told):
        return None
    ranks = np.stack([_ranks(boxes, axis) for axis in (0, 1)], axis=1)  # (N, 2), nan where there is one line only
    scores = np.zeros((len(boxes), len(labels)))
    for column, places in enumerate(told):
        for axis, place in places:
            axis = axis if axis is not None else _only_axis(ranks, places)
            rank = ranks[:, axis]
            fit = np.clip(1 - 2 * np.abs(rank - place), 0, 1)
            scores[:, column] += np.where(np.isnan(rank), 0.0, _DOES_NOT_FIT + (_FITS - _DOES_NOT_FIT) * fit)
    return scores


def _told(label: str, text: str) -> list[tuple[int | None, float]]:
    whole = _LABEL.fullmatch(label.strip())
    found = whole or _IN_TEXT.search(text[:_LOOK])
    return [_PLACES[word] for word in re.split(r"[ -]", found[1].lower())] if found else []


def _only_axis(ranks: NDArray[np.float64], places: Sequence[tuple[int | None, float]]) -> int:
    """Which way "middle" is meant: the axis that the other word leaves, or the one with more lines."""
    named = [axis for axis, _ in places if axis is not None]
    if named:
        return 1 - named[0]
    return int(len(np.unique(ranks[:, 1])) > len(np.unique(ranks[:, 0])))


def _ranks(boxes: Sequence[PixelBox], axis: int) -> NDArray[np.float64]:
    """Which row or column each box is in, from 0 for the first to 1 for the last; nan if there is only one."""
    spans = np.array([(box[axis], box[axis + 2]) for box in boxes], dtype=float)
    lines: list[list[float]] = []
    line_of = np.zeros(len(boxes), dtype=int)
    for place in np.argsort(spans.mean(axis=1), kind="stable"):
        low, high = spans[place]
        if lines:
            shared = min(high, lines[-1][1]) - max(low, lines[-1][0])
            if shared >= _SAME_LINE * min(high - low, lines[-1][1] - lines[-1][0]):
                line_of[place] = len(lines) - 1
                continue
        lines.append([low, high])
        line_of[place] = len(lines) - 1
    return line_of / (len(lines) - 1) if len(lines) > 1 else np.full(len(boxes), np.nan)
