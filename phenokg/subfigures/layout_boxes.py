"""Parts of a cut figure -> boxes of the images in them.

A part ends at its gutters. Inside it, lines in the colour of the figure's gutters are page, up to where the image
begins; a letter that stands alone before it is its label. If the image begins there with a straight edge, that is its
box. If not (a scan whose black margin lies on a black page), nobody can see where it ends: then it reaches as far as a
straight edge of another image in line with it, else to the middle of the gutter.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.layout_cuts import FIGURE_EDGE, SEAM, Cut, FigureMaps, Part, Region
from phenolip.phenokg.subfigures.layout_islands import find_islands
from phenolip.phenokg.subfigures.separator_maps import COLOURS

_PAGE_SHARE = 0.97  # of a line of page; the rest is noise
_INK_PX = 4  # that no line of page has more of, in a part that is empty but for a small image
_FIRM_SHARE = 0.5  # of a straight edge that differs from the page
_MAX_GROWTH = 0.35  # of the visible side: what a margin may add
_MIN_SIDE_PX = 8
_LABEL_DEPTH = 0.35  # how far into a part a label beside an image reaches
_JUMP = 0.25  # of the share of ink where an image begins straight behind its label, within three lines
_CRUMB_OF_FIGURE, _CRUMB_OF_MEDIAN = 0.02, 0.2  # areas below both are no images
_LABEL_SHARE = 0.4  # of the side beside it that a label takes up


def boxes_of_parts(maps: FigureMaps, parts: Sequence[Part], cuts: Sequence[Cut]) -> list[PixelBox]:
    """The boxes, in no particular order, of which no two overlap; the whole figure where it is not cut."""
    whole = (0, 0, *maps.size)
    if len(parts) < 2:
        return find_islands(maps, whole) or [whole]
    gutters = {cut.kind for cut in cuts if cut.kind != SEAM}
    seen = [found for found in (_visible(maps, part, gutters) for part in parts) if found is not None]
    boxes = [find_islands(maps, one[1]) or [_grown(one, seen)] for one in seen]
    return without_crumbs([box for several in boxes for box in several], maps.size) or [whole]


def without_crumbs(boxes: Sequence[PixelBox], size: tuple[int, int]) -> list[PixelBox]:
    """The boxes but those that are tiny in a figure (width, height) and beside the others: words, legends, specks.

    Example:
        >>> without_crumbs([(0, 0, 90, 90), (90, 0, 180, 90), (0, 92, 20, 98)], (180, 100))
        [(0, 0, 90, 90), (90, 0, 180, 90)]
    """
    areas = np.array([(right - left) * (bottom - top) for left, top, right, bottom in boxes])
    if not len(areas):
        return []
    least = min(_CRUMB_OF_FIGURE * size[0] * size[1], _CRUMB_OF_MEDIAN * float(np.median(areas)))
    return [box for box, area in zip(boxes, areas.tolist(), strict=True) if area >= least]


_Visible = tuple[Part, Region, list[bool]]


def _visible(maps: FigureMaps, part: Part, gutters: Collection[int]) -> _Visible | None:
    """What is seen of the image in a part, and which of its sides are straight edges; None for an empty part."""
    box = [side.edge for side in part.sides]
    firm = [True] * 4
    pages: dict[int, int] = {}
    for largest_share in (1.0, _PAGE_SHARE, _PAGE_SHARE):
        for number in (0, 2, 1, 3):
            axis, side = number % 2, part.sides[number]
            if side.kind == SEAM:
                continue
            shares = maps.colour_shares(tuple(box), axis)  # (colours, lines)
            shares = shares[:, ::-1] if number > 1 else shares  # from the side inward
            page = pages.setdefault(number, _page_beside(shares[:, 0], gutters))
            length = box[3 - axis] - box[1 - axis]
            is_page = shares[page] >= min(largest_share, 1 - _INK_PX / max(length, 4 * _INK_PX))
            if is_page.all():
                return None
            first = int(is_page.argmin())
            if largest_share < 1 and page in gutters:
                first = _behind_label(maps, box, number, shares[page], is_page)
            is_straight = 1 - float(shares[page, first : first + 2].min()) >= _FIRM_SHARE
            if page not in gutters and not (is_straight and _is_page_left(maps, box, number, page, first)):
                continue
            box[number] += -first if number > 1 else first
            firm[number] = is_straight or (side.kind == FIGURE_EDGE and box[number] == side.edge)
    if min(box[2] - box[0], box[3] - box[1]) < _MIN_SIDE_PX:
        return None
    return part, tuple(box), firm


def _page_beside(shares: NDArray[np.float32], gutters: Collection[int]) -> int:
    """The colour of the outermost line of a part, that of a gutter if it can be."""
    return max(
        range(len(shares)), key=lambda colour: (colour in gutters and shares[colour] >= _PAGE_SHARE, shares[colour])
    )


def _is_page_left(maps: FigureMaps, box: list[int], number: int, page: int, first: int) -> bool:
    """Whether lines in a colour that no gutter has are page all the same: a cell that its image does not fill.

    Black margins are too common in images for that.
    """
    axis = number % 2
    line = box[axis + 2] - first if number > 1 else box[axis] + first
    is_light = COLOURS[page] != "black"
    return is_light and first > 0 and maps.step_share(tuple(box), axis, line) >= _FIRM_SHARE


def _behind_label(
    maps: FigureMaps, box: list[int], number: int, shares: NDArray[np.float32], is_page: NDArray[np.bool_]
) -> int:
    """The first line of content behind a label; of content at all if there is no label.

    A label is short and low, and what follows is page, or the straight edge of an image.

    Args:
        maps: Of the figure.
        box: What is looked at.
        number: Side of the box from which lines are counted.
        shares: Of page in each line, from that side inward.
        is_page: Of each line.
    """
    axis, first = number % 2, int(is_page.argmin())
    depth = max(1, int(_LABEL_DEPTH * len(shares)))
    end = first + int(is_page[first : first + depth].argmax())  # of what may be a label, if page follows
    behind = end + int(is_page[end:].argmin())
    straight = int((shares <= 1 - _FIRM_SHARE).argmax())
    jump = shares[max(straight - 2, 0)] - shares[min(straight + 1, len(shares) - 1)]
    if (end == first or straight < end) and jump >= _JUMP:
        end = behind = straight
    if not first < end <= first + depth or is_page[behind]:
        return first
    label = list(box)
    lines = (box[axis + 2] - end, box[axis + 2] - first) if number > 1 else (box[axis] + first, box[axis] + end)
    label[axis], label[axis + 2] = lines
    across = maps.colour_shares(tuple(label), 1 - axis).max(axis=0)
    inked = np.flatnonzero(across < _PAGE_SHARE)
    is_short = not len(inked) or inked[-1] + 1 - inked[0] <= _LABEL_SHARE * len(across)
    return behind if is_short else first


def _grown(one: _Visible, seen: Sequence[_Visible]) -> PixelBox:
    """The box of an image, margins that cannot be seen included."""
    part, box, firm = one
    grown = list(box)
    for number in (0, 1, 2, 3):
        if firm[number]:
            continue
        outward = 1 if number > 1 else -1
        most = min(
            (part.sides[number].limit - box[number]) * outward,
            int(_MAX_GROWTH * (box[number % 2 + 2] - box[number % 2])),
        )
        in_line = [(other[number] - box[number]) * outward for _, other, is_firm in seen if is_firm[number]]
        steps = [step for step in in_line if 0 <= step <= most]
        if steps:
            grown[number] += max(steps) * outward
        elif (part.sides[number].limit - box[number]) * outward <= most:
            grown[number] = part.sides[number].limit
    return tuple(grown)
