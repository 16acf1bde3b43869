"""A figure is cut in two where a separator is surest, and each part again, until no separator is sure enough.

The XY cut of Nagy and Seth, 1984, with a small network in place of "a blank line": it weighs what `separator_features`
says of a place. Cuts that are found first then vouch for those in line with them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.phenokg.subfigures.separator_features import Line, Places, Style, find_places
from phenolip.phenokg.subfigures.separator_maps import COLOURS, SeparatorMaps, colour_mask, find_page_level, make_maps
from phenolip.phenokg.subfigures.separator_scores import SeparatorScorer

#: Marks of a side beside the places in `COLOURS`.
SEAM, FIGURE_EDGE = -1, -2
_INK_PX = 4  # of a line that belongs to content and not to a margin: more than a speck
# Most of a plot, a table or a page of words is white, and has white bands everywhere: there a cut must be surer, by
# this much in log odds. Chosen on a quarter of the development half; composites of images do not change by it.
_WHITE_SHARE, _MORE_IN_WHITE = 0.5, 1.0
_MAX_CUTS = 200  # of one figure; the largest of 1,954 real ones has 60 parts

Region = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the four sides of a part.

    Attributes:
        edge: Where the part ends, in pixels; at a gutter its near end.
        limit: How far the image in the part may reach: the middle of the gutter.
        kind: Place in `COLOURS` of the gutter, or `SEAM`, or `FIGURE_EDGE`.
    """

    edge: int
    limit: int
    kind: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a figure: left, top, right and bottom side, and how it was cut off."""

    sides: tuple[Side, Side, Side, Side]
    style: Style


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut of a region.

    Attributes:
        axis: 0 for a cut by a vertical line, 1 by a horizontal one.
        start: First pixel of the gutter; for a seam the pixel that it lies before.
        end: One past its last pixel; for a seam equal to the start.
        middle: Where the image before the gutter ends at most, and the one behind it begins at least.
        kind: Place in `COLOURS` of the gutter, or `SEAM`.
        region: What is cut.
    """

    axis: int
    start: int
    end: int
    middle: int
    kind: int
    region: Region


class FigureMaps:
    """The maps of a figure in both directions.

    Args:
        grey: (height, width), each at least `BLOCK_PX`.
    """

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        self._grey, self._page = grey, find_page_level(grey)
        self.size = grey.shape[1], grey.shape[0]
        self._maps: tuple[SeparatorMaps, SeparatorMaps] = (
            make_maps(grey, self._page),
            make_maps(grey.T, self._page),
        )

    def places(self, region: Region, axis: int, style: Style) -> Places | None:
        """Where a region may be cut; see `find_places`."""
        span, across = (region[axis], region[axis + 2]), (region[1 - axis], region[3 - axis])
        return find_places(self._maps[axis], span, across, style, max(self.size))

    def colour_shares(self, region: Region, axis: int) -> NDArray[np.float32]:
        """The share of each colour in each line across a region; (colours, lines)."""
        return self._maps[axis].colour_shares(region[1 - axis], region[3 - axis], region[axis], region[axis + 2])

    def white_share(self, region: Region) -> float:
        """The share of a region that is white."""
        return float(self.colour_shares(region, 0)[COLOURS.index("white")].mean())

    def step_share(self, region: Region, axis: int, line: int) -> float:
        """The share of a line across a region at which brightness jumps, there or one pixel beside."""
        low, high = max(line - 1, region[axis]), min(line + 2, region[axis + 2])
        traits = self._maps[axis].means(region[1 - axis], region[3 - axis], low, high)
        return float(max(traits["step"].max(), traits["wide_step"].max()))

    def has_colour(self, region: Region, colour: int) -> NDArray[np.bool_]:
        """Which pixels of a region have one of `COLOURS`, by its place; (height, width)."""
        return colour_mask(self._grey[region[1] : region[3], region[0] : region[2]], colour, self._page)

    def without_margins(self, region: Region) -> Region:
        """A region without lines of one colour at its sides; the region where it is blank."""
        inner = list(region)
        for axis in (0, 1, 0, 1):
            length = inner[3 - axis] - inner[1 - axis]
            is_ink = self.colour_shares(tuple(inner), axis).max(axis=0) < 1 - _INK_PX / max(length, 2 * _INK_PX)
            lines = np.flatnonzero(is_ink)
            if not len(lines):
                return region
            inner[axis + 2] = inner[axis] + int(lines[-1]) + 1
            inner[axis] += int(lines[0])
        return tuple(inner)


class Figure:
    """Candidates for the cuts of a figure, each part looked at once.

    Args:
        maps: Of the figure.
    """

    def __init__(self, maps: FigureMaps) -> None:
        self.maps = maps
        self.cuts: list[Cut] = []
        self._seen: dict[Part, tuple[Region, tuple[Places | None, Places | None]]] = {}

    def look_at(self, part: Part) -> tuple[Region, tuple[Places | None, Places | None]]:
        """The part without its margins, and where vertical and horizontal lines may cut it."""
        if part not in self._seen:
            region = self.maps.without_margins(tuple(side.edge for side in part.sides))
            self._seen[part] = region, tuple(self.maps.places(region, axis, part.style) for axis in (0, 1))
        return self._seen[part]

    def cut_all(self, parts: Iterable[Part], choose: Callable[[Part], Cut | None]) -> list[Part]:
        """The parts, cut for as long as there is a cut to choose."""
        waiting, done = list(parts), []
        while waiting:
            part = waiting.pop()
            cut = choose(part) if len(self.cuts) < _MAX_CUTS else None
            if cut is None:
                done.append(part)
                continue
            self.cuts.append(cut)
            waiting += _halves(part, cut)
        return done


def whole_figure(width: int, height: int) -> Part:
    """The figure, not cut yet."""
    left_top = (Side(0, 0, FIGURE_EDGE), Side(0, 0, FIGURE_EDGE))
    return Part((*left_top, Side(width, width, FIGURE_EDGE), Side(height, height, FIGURE_EDGE)), Style())


def cut_figure(
    maps: FigureMaps, scorer: SeparatorScorer, min_score: float, min_seam_score: float
) -> tuple[list[Part], list[Cut]]:
    """The parts of a figure, and the cuts that made them.

    Args:
        maps: Of the figure.
        scorer: Weighs features to the log odds that a place separates subfigures.
        min_score: Least log odds of a cut through a gutter.
        min_seam_score: Of a cut at a seam.
    """
    figure = Figure(maps)
    left_whole: set[Part] = set()

    def choose(part: Part, knows_lines: bool) -> Cut | None:
        region, both = figure.look_at(part)
        best, best_margin = None, 0.0
        more = _MORE_IN_WHITE if maps.white_share(region) >= _WHITE_SHARE else 0.0
        for axis, places in enumerate(both):
            if places is None:
                continue
            lines = lines_beside(region, axis, figure.cuts) if knows_lines else []
            if part in left_whole and not lines:
                continue  # nothing is known that was not known the first time
            scores = scorer(places.with_lines(lines)) - more
            margins = scores - np.where(places.colours < 0, min_seam_score, min_score)
            margins[places.are_plain] = np.maximum(margins[places.are_plain], 0)  # whatever the network learned
            row = int(margins.argmax())
            if margins[row] >= best_margin:
                best, best_margin = make_cut(places, row, axis, region, lines), float(margins[row])
        return best

    parts = figure.cut_all([whole_figure(*maps.size)], lambda part: choose(part, knows_lines=False))
    left_whole.update(parts)
    if figure.cuts:
        parts = figure.cut_all(parts, lambda part: choose(part, knows_lines=True))
    return parts, figure.cuts


def make_cut(places: Places, row: int, axis: int, region: Region, lines: Sequence[Line] = ()) -> Cut:
    """The cut at a place; where a line lies within its gutter, images reach as far as to the line."""
    start, end, kind = (int(values[row]) for values in (places.starts, places.ends, places.colours))
    inside = [line for line in lines if start <= line[0] and line[1] <= end and line[1] - line[0] < end - start]
    from_, to = inside[0] if inside else (start, end)
    return Cut(axis, start, end, (from_ + to) // 2, kind, region)


def lines_beside(region: Region, axis: int, cuts: Iterable[Cut]) -> list[Line]:
    """Where the figure is cut along an axis in regions that a region is no part of."""
    x, y = (region[0] + region[2]) / 2, (region[1] + region[3]) / 2
    return [
        (cut.start, cut.end)
        for cut in cuts
        if cut.axis == axis and not (cut.region[0] <= x <= cut.region[2] and cut.region[1] <= y <= cut.region[3])
    ]


def _halves(part: Part, cut: Cut) -> tuple[Part, Part]:
    style = Style(cut.kind, cut.end - cut.start)
    before, behind = list(part.sides), list(part.sides)
    before[cut.axis + 2] = Side(cut.start, cut.middle, cut.kind)
    behind[cut.axis] = Side(cut.end, cut.middle, cut.kind)
    return Part(tuple(before), style), Part(tuple(behind), style)
