"""Parts of a cut figure -> boxes of the images in them.

A part ends at its gutters. Inside it, lines in the colour of the figure's gutters are page, up to where the image
begins. If the image begins there with a straight edge, that is its box. If not (a scan whose black margin lies on a black
page), nobody can see where it ends: then it reaches as far as a straight edge of another image in line with it, else to
the middle of the gutter.
"""

from collections.abc import Sequence

import numpy as np

from phenolip.phenokg.layout_cuts import FIGURE_EDGE, SEAM, Cut, FigureMaps, Part, Region
from phenolip.phenokg.records import PixelBox

_PAGE_SHARE = 0.97  # of a line of page; the rest is a label or noise
_INK_PX = 4  # that no line of page has more of, in a part that is empty but for a small image
_FIRM_SHARE = 0.5  # of a straight edge that differs from the page
_MAX_GROWTH = 0.35  # of the visible side: what a margin may add
_MIN_SIDE_PX = 8


def boxes_of_parts(maps: FigureMaps, parts: Sequence[Part], cuts: Sequence[Cut]) -> list[PixelBox]:
    """The boxes, in no particular order, of which no two overlap; the whole figure where it is not cut."""
    whole = (0, 0, *maps.size)
    if len(parts) < 2:
        return [whole]
    colours = sorted({cut.kind for cut in cuts if cut.kind != SEAM})
    seen = [found for found in (_visible(maps, part, colours) for part in parts) if found is not None]
    return [_grown(one, seen) for one in seen] or [whole]


_Visible = tuple[Part, Region, list[bool]]


def _visible(maps: FigureMaps, part: Part, colours: Sequence[int]) -> _Visible | None:
    """What is seen of the image in a part, and which of its sides are straight edges; None for an empty part."""
    box = [side.edge for side in part.sides]
    firm = [True] * 4
    for largest_share in (1.0, _PAGE_SHARE):
        for number in (0, 2, 1, 3):
            axis, side = number % 2, part.sides[number]
            if side.kind == SEAM or not colours:
                continue
            length = box[3 - axis] - box[1 - axis]
            shares = maps.colour_shares(tuple(box), axis)[colours]  # (colours, lines)
            shares = shares[:, ::-1] if number > 1 else shares  # from the side inward
            shares = shares[shares[:, 0].argmax()]
            content = np.flatnonzero(shares < min(largest_share, 1 - _INK_PX / max(length, 4 * _INK_PX)))
            if not len(content):
                return None
            first = int(content[0])
            is_cut_off = first > 0 or side.kind != FIGURE_EDGE
            firm[number] = not is_cut_off or 1 - float(shares[first : first + 2].min()) >= _FIRM_SHARE
            box[number] += -first if number > 1 else first
    if min(box[2] - box[0], box[3] - box[1]) < _MIN_SIDE_PX:
        return None
    return part, tuple(box), firm


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
