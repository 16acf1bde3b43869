"""Places where a region of a figure may be cut in two, each described by numbers that a small network weighs.

A place is a gutter (a band of one colour) or the seam before a column. A wide band may also be the margin of an image
that abuts another, so the two ends of a band are seams too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.phenokg.subfigures.separator_maps import BLOCK_PX, COLOURS, LAGS_PX, SeparatorMaps

#: Narrowest part that a region is cut into, in pixels.
MIN_PART_PX = 16
_NUM_SEAMS = 48  # looked at more closely, of those that look most like one
_GUTTER_SHARE = 0.9  # of a gutter's length that has its colour; labels lie in gutters
_NEAR_PX, _STRIP_PX = 6, 24  # how many columns beside a place it is compared with
_FRACTIONS = np.array([1 / 2, 1 / 3, 2 / 3, 1 / 4, 3 / 4])
_NOISE = 1e-3  # variance, of squared brightness in 0 to 1, below which columns count as blank
_STEP, _UNLIKE, _EXCESS = (
    4,
    13,
    14,
)  # columns of the features: share of steps; of neighbours, unlikeness and its excess
_PLAIN_STEP, _PLAIN = 0.7, 0.7  # a line along two thirds may end at a corner of a pin-wheel
_FAR_PX = 12  # a line farther away is none

Traits = dict[str, NDArray[np.float32]]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Line = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Style:
    """How the region was cut off that is to be cut further.

    Attributes:
        colour: Place in `COLOURS` of the gutter; -1 for a seam, -2 for the whole figure.
        width_px: Of the gutter; 0 for a seam.
    """

    colour: int = -2
    width_px: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """Where a region may be cut along one axis.

    Attributes:
        starts: First pixel of the gutter, in the figure; for a seam the pixel that it lies before. Shape (N,).
        ends: One past its last pixel; for a seam equal to the start. Shape (N,).
        colours: Of the gutter, as a place in `COLOURS`; -1 for a seam. Shape (N,).
        features: Shape (N, F).
    """

    starts: Ints
    ends: Ints
    colours: Ints
    features: Floats

    @property
    def are_plain(self) -> NDArray[np.bool_]:
        """Whether a place is a seam that anybody sees: a step along most of it, and no likeness across it; (N,)."""
        step, unlike, excess = (self.features[:, column] for column in (_STEP, _UNLIKE, _EXCESS))
        return (self.colours < 0) & (step >= _PLAIN_STEP) & (unlike >= _PLAIN) & (excess >= 0.8 * _PLAIN)

    def with_lines(self, lines: Sequence[Line]) -> Floats:
        """The features, and whether a place lies on a line that cuts the figure elsewhere; (N, F + 2).

        Args:
            lines: Start and end of each gutter or seam along the same axis outside the region.
        """
        if not lines:
            return np.concatenate([self.features, np.zeros((len(self.starts), 2), np.float32)], axis=1)
        known = np.array(lines)
        apart = np.maximum(known[:, :1] - self.ends, self.starts - known[:, 1:])  # (lines, N)
        nearest = np.maximum(apart, 0).min(axis=0)
        closeness = np.maximum(1 - nearest / _FAR_PX, 0).astype(np.float32)
        return np.column_stack([self.features, closeness, np.ones_like(closeness)])


def find_places(
    maps: SeparatorMaps, span: tuple[int, int], across: tuple[int, int], style: Style, figure_px: int
) -> Places | None:
    """Where vertical lines may cut a region; None where it is too small for two parts.

    Args:
        maps: Of vertical lines. For horizontal lines give the maps of the transposed figure, and all else transposed.
        span: First column of the region, and one past its last.
        across: First row, and one past its last.
        style: How the region came about.
        figure_px: Longer side of the figure.
    """
    (left, right), (top, bottom) = span, across
    width, height = right - left, bottom - top
    if width < 2 * MIN_PART_PX or height < 2 * BLOCK_PX:
        return None
    traits = maps.means(top, bottom, left, right)
    bands = _find_bands(np.stack([traits[colour] for colour in COLOURS]))
    unlike = _unlikeness(traits)
    seams = _choose_seams(traits, unlike[1], bands, width)
    gutters = np.flatnonzero(
        (bands.colours >= 0) & (bands.starts >= MIN_PART_PX) & (bands.ends <= width - MIN_PART_PX)
    )
    if not len(seams) + len(gutters):
        return None
    at = np.concatenate([seams, (bands.starts + bands.ends)[gutters] // 2])
    is_gutter = np.repeat([False, True], [len(seams), len(gutters)])
    columns = [
        *_seam_columns(traits, unlike, at),
        *_band_columns(traits, bands, at, is_gutter, style, figure_px),
        *_shape_columns(at, width, height, figure_px),
    ]
    features = np.empty((len(at), len(columns)), np.float32)
    for place, column in enumerate(columns):
        features[:, place] = column
    return Places(
        starts=left + np.concatenate([seams, bands.starts[gutters]]),
        ends=left + np.concatenate([seams, bands.ends[gutters]]),
        colours=np.concatenate([np.full(len(seams), -1), bands.colours[gutters]]),
        features=features,
    )


@dataclass(frozen=True, slots=True)
class _Bands:
    """Runs of columns of one colour, or of none (-1): starts, ends, colours (B,); the band of each column (width,)."""

    shares: Floats
    starts: Ints
    ends: Ints
    colours: Ints
    number: Ints


def _find_bands(shares: Floats) -> _Bands:
    best = shares.argmax(0)
    colours = np.where(shares.max(0) >= _GUTTER_SHARE, best, -1)
    edges = np.flatnonzero(np.diff(colours)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(colours)]])
    return _Bands(shares, starts, ends, colours[starts], np.repeat(np.arange(len(starts)), ends - starts))


def _choose_seams(traits: Traits, unlike: Floats, bands: _Bands, width: int) -> Ints:
    """The columns that look most as if an image began there, in order."""
    likely = np.maximum(_with_beside(traits["step"]), _with_beside(traits["wide_step"]))
    likely = likely + _with_beside(traits["bright_line"]) + _with_beside(traits["dark_line"]) + 0.3 * unlike
    likely[1:][(bands.number[1:] == bands.number[:-1]) & (bands.colours[bands.number[1:]] >= 0)] = -1.0
    likely = likely[MIN_PART_PX : width - MIN_PART_PX + 1]
    chosen = np.arange(len(likely))
    if len(likely) > _NUM_SEAMS:
        chosen = np.sort(np.argpartition(-likely, _NUM_SEAMS)[:_NUM_SEAMS])
    return chosen[likely[chosen] > 0] + MIN_PART_PX


def _seam_columns(traits: Traits, unlike: list[Floats], at: Ints) -> list[NDArray]:
    """How much a place looks like a step, a thin line, or two images that have nothing to do with each other."""
    last = len(traits["mean"]) - 1
    before, behind = (at - _NEAR_PX, at - 1), (at + 2, at + _NEAR_PX + 1)
    gradient, step = traits["gradient"], traits["step"]
    slope = np.log1p(gradient[at])
    gradient_sums, step_sums = _sums(gradient), _sums(step)
    beside = (_window(gradient_sums, *before) + _window(gradient_sums, *behind)) / 2
    sharp = slope - np.log1p(beside)
    steps = _with_beside(step)
    columns = [
        slope, sharp, sharp - sharp.max(), slope - np.log1p(gradient.max()),
        step[at], steps[at], steps[at] - np.partition(steps, -1 - last // 20)[-1 - last // 20],
        step[at] - (_window(step_sums, *before) + _window(step_sums, *behind)) / 2,
        _with_beside(traits["wide_step"])[at],
        *(_either(traits[name], at) for name in ("bright_line", "dark_line", "smooth")),
        np.minimum(traits["smooth"][at - 1], traits["smooth"][at]),
    ]  # fmt: skip
    for lag, values in zip(LAGS_PX, unlike, strict=True):
        around = at + lag // 2  # the pair of columns with the place in its middle
        apart = np.minimum(around + lag + 1, last), np.maximum(around - lag - 1, lag)
        here = values[np.minimum(around, last)]
        columns += [here, here - np.maximum(values[apart[0]], values[apart[1]])]
    spread = _spread(traits)
    sides = (at - _STRIP_PX, at), (at, at + _STRIP_PX)
    for sums in (_sums(traits["mean"]), _sums(np.log1p(gradient)), _sums(np.log(0.02 + spread))):
        columns.append(np.abs(_window(sums, *sides[0]) - _window(sums, *sides[1])))
    near = np.log(0.02 + spread[at - 1]), np.log(0.02 + spread[at])
    columns += [np.abs(traits["mean"][at] - traits["mean"][at - 1]), np.minimum(*near), np.maximum(*near)]
    left, right = np.maximum(at - 3, 0), np.minimum(at + 2, last)
    columns.append(np.maximum.reduce([np.minimum(traits[name][left], traits[name][right]) for name in COLOURS]))
    for name in COLOURS[:2]:
        pair = traits[name][at - 1], traits[name][at]
        columns += [np.minimum(*pair), np.maximum(*pair)]
    return columns


def _band_columns(
    traits: Traits, bands: _Bands, at: Ints, is_gutter: NDArray[np.bool_], style: Style, figure_px: int
) -> list[NDArray]:
    """Of the gutter that a place is, or of the wider band of the two beside a seam."""
    last = bands.shares.shape[1] - 1
    size = np.where(bands.colours >= 0, bands.ends - bands.starts, 0)
    before, behind = bands.number[at - 1], bands.number[at]
    is_behind = is_gutter | (size[behind] >= size[before])
    band = np.where(is_behind, behind, before)
    wide = size[band]
    has_band = wide > 0
    start, end, colour = bands.starts[band], bands.ends[band], np.maximum(bands.colours[band], 0)
    ink = 1 - bands.shares[colour, np.maximum(start - 1, 0)], 1 - bands.shares[colour, np.minimum(end, last)]
    steps = _with_beside(np.maximum(traits["step"], traits["wide_step"]))
    edge = steps[start], steps[np.minimum(end, last)]
    same = has_band & (bands.colours[band] == style.colour)
    seam = has_band & ~is_gutter
    return [
        has_band, is_gutter, seam & is_behind, seam & ~is_behind,
        np.log1p(wide), wide / figure_px, np.minimum(wide, 4),
        np.where(has_band, bands.shares[colour, np.minimum((start + end) // 2, last)], 0),
        *(np.where(has_band, choose(*pair), 0) for pair in (ink, edge) for choose in (np.minimum, np.maximum)),
        *(has_band & (colour == place) for place in range(len(COLOURS))),
        same, np.where(same, np.abs(np.log((1 + wide) / (1 + style.width_px))), 3),
        np.full(len(at), style.colour == -2), np.full(len(at), style.colour == -1),
        np.full(len(at), np.log1p(style.width_px)),
    ]  # fmt: skip


def _shape_columns(at: Ints, width: int, height: int, figure_px: int) -> list[NDArray]:
    """Where a place lies, and the shapes of the parts it makes."""
    part = at / width
    smaller = np.minimum(part, 1 - part)
    whole = np.ones(len(at))
    return [
        smaller, np.abs(part[:, None] - _FRACTIONS).min(1), np.abs(part - 0.5),
        np.log(smaller * width / height), np.log((1 - smaller) * width / height), np.log(smaller * width),
        whole * np.log(width / height), whole * np.log(height), whole * height / figure_px, whole * width / figure_px,
    ]  # fmt: skip


def _spread(traits: Traits) -> Floats:
    """Standard deviation of brightness along each column."""
    return np.sqrt(np.maximum(traits["square"] - traits["mean"] ** 2, 0))


def _unlikeness(traits: Traits) -> list[Floats]:
    """For each of `LAGS_PX`, at x: 1 - correlation of column x and the one so far before it; 0 if both are blank."""
    mean, spread = traits["mean"], _spread(traits)
    found = []
    for lag in LAGS_PX:
        unlike = np.zeros_like(mean)
        covariance = traits[f"lag_{lag}"][lag:] - mean[lag:] * mean[:-lag]
        unlike[lag:] = 1 - (covariance + _NOISE) / (spread[lag:] * spread[:-lag] + _NOISE)
        found.append(unlike)
    return found


def _sums(values: Floats) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _window(sums: NDArray[np.float64], start: Ints, end: Ints) -> NDArray[np.float64]:
    """Mean of the values from each start to each end, as far as there are any."""
    start, end = np.minimum(np.maximum(start, 0), len(sums) - 1), np.minimum(np.maximum(end, 0), len(sums) - 1)
    return (sums[end] - sums[start]) / np.maximum(end - start, 1)


def _either(values: Floats, at: Ints) -> Floats:
    return np.maximum(values[at - 1], values[at])


def _with_beside(values: Floats) -> Floats:
    """The largest of each value and the two beside it."""
    largest = values.copy()
    np.maximum(largest[1:], values[:-1], out=largest[1:])
    np.maximum(largest[:-1], values[1:], out=largest[:-1])
    return largest
