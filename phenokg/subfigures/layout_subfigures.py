"""Subfigures by the layout of the page alone: gutters, borders and seams of any colour. No model to download.

A figure is cut in two and in two again where a separator is surest (`layout_cuts`), after which each part gives the
box of its image (`layout_boxes`).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.box_cleaning import reading_order
from phenolip.phenokg.subfigures.layout_boxes import boxes_of_parts
from phenolip.phenokg.subfigures.layout_cuts import FigureMaps, cut_figure
from phenolip.phenokg.subfigures.separator_features import MIN_PART_PX
from phenolip.phenokg.subfigures.separator_scores import load_scorer

MAX_SIDE_PX = 1000  # a larger figure is looked at in this size
# Log odds of a cut, chosen on composites of development images and layouts. A seam may be less sure than a gutter:
# what looks like one by chance is rare, while single images have bands of one colour.
_MIN_SCORE, _MIN_SEAM_SCORE = 0.0, -1.0


def find_subfigures(image: Image.Image) -> list[PixelBox]:
    """Boxes of the subfigures in reading order, of which no two overlap; the whole image where it is not compound.

    Example:
        >>> find_subfigures(Image.new("RGB", (60, 40), "white"))
        [(0, 0, 60, 40)]
    """
    width, height = image.size
    if min(width, height) < MIN_PART_PX:
        return [(0, 0, width, height)]
    scale = min(1.0, MAX_SIDE_PX / max(width, height))
    size = max(MIN_PART_PX, round(width * scale)), max(MIN_PART_PX, round(height * scale))
    grey = image.convert("L")
    if size != image.size:
        grey = grey.resize(size, Image.Resampling.BOX)
    boxes = find_boxes(np.asarray(grey))
    by = width / size[0], height / size[1]
    scaled = [(round(x0 * by[0]), round(y0 * by[1]), round(x1 * by[0]), round(y1 * by[1])) for x0, y0, x1, y1 in boxes]
    return reading_order(scaled)


def find_boxes(grey: NDArray[np.uint8]) -> list[PixelBox]:
    """Boxes in pixels of a grey figure (height, width), each at least `MIN_PART_PX`, in no particular order."""
    maps = FigureMaps(grey)
    parts, cuts = cut_figure(maps, load_scorer(), _MIN_SCORE, _MIN_SEAM_SCORE)
    return boxes_of_parts(maps, parts, cuts)


def load_detector(config: object) -> Callable[[Sequence[Image.Image]], list[list[PixelBox]]]:
    """A function from RGB images to the boxes of their subfigures, in reading order; there is nothing to configure."""
    del config
    return lambda images: [find_subfigures(image) for image in images]
