"""A layout for a set of images, its boxes in pixels, and where an image lies in its box."""

from collections.abc import Sequence

import numpy as np

from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.layouts import Layout, rows_layout

_NUM_CANDIDATES = 32  # layouts tried for a set of images: authors make the layout for the images they have


def choose_layout(
    aspects: list[float], layouts: Sequence[Layout], rng: np.random.Generator
) -> tuple[Layout, list[int]]:
    """A layout, and which image goes into each of its boxes.

    Of some real layouts at random, the one whose boxes are most like the images; images are matched to boxes in the
    order of their aspect ratios, which is the best matching of numbers on a line.
    """
    same = [layout for layout in layouts if len(layout.boxes_xyxy) == len(aspects)]
    if not same:
        return rows_layout(aspects, rng), list(range(len(aspects)))
    images = np.log(aspects)
    by_image = np.argsort(images, kind="stable")
    best: tuple[float, Layout, np.ndarray] | None = None
    for place in rng.permutation(len(same))[:_NUM_CANDIDATES]:
        boxes = np.array(same[place].boxes_xyxy)
        shapes = np.log((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1]))
        by_box = np.argsort(shapes, kind="stable")
        misfit = float(np.abs(images[by_image] - shapes[by_box]).mean())
        if best is None or misfit < best[0]:
            order = np.empty(len(aspects), dtype=int)
            order[by_box] = by_image
            best = misfit, same[place], order
    return best[1], best[2].tolist()


def scale_layout(layout: Layout, long_side_px: int, margin_px: int) -> tuple[list[PixelBox], tuple[int, int]]:
    """Boxes of a layout in pixels, and the size of the canvas.

    Edges are rounded alike wherever they lie, so that boxes that did not overlap still do not.
    """
    left, top, right, bottom = layout.extent_xyxy
    scale = (long_side_px - 2 * margin_px) / max(right - left, bottom - top)

    def pixel(value: float, start: float) -> int:
        return margin_px + round((value - start) * scale)

    cells = []
    for x0, y0, x1, y1 in layout.boxes_xyxy:
        cells.append((pixel(x0, left), pixel(y0, top), pixel(x1, left), pixel(y1, top)))
    return cells, (pixel(right, left) + margin_px, pixel(bottom, top) + margin_px)


def fit_box(size: tuple[int, int], cell: PixelBox) -> PixelBox:
    """The largest box of an image's own shape in a cell, centred: nothing of the image is cut off."""
    x0, y0, x1, y1 = cell
    room = (x1 - x0, y1 - y0)
    scale = min(room[0] / size[0], room[1] / size[1])
    width, height = (min(max(1, round(side * scale)), most) for side, most in zip(size, room, strict=True))
    left, top = x0 + (room[0] - width) // 2, y0 + (room[1] - height) // 2
    return left, top, left + width, top + height
