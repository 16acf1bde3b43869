"""How a compound figure's page looks: gaps, ground, borders, how an image fills its cell. Real figures vary in all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.figure_labels import OUTSIDE, LabelStyle
from phenolip.phenokg.subfigures.layouts import Layout

Page = Literal["white", "grey", "black"]
Fill = Literal["fit", "stretch", "crop"]
_GREYS = (90, 235)  # 8-bit levels of a grey page
_OUTSIDE_STRIP = 1.5  # height of a label's strip, in capitals
_MAX_STRIP_SHARE = 0.3  # of a cell's height or width: a smaller cell keeps its label inside


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """What is drawn anew for each figure, each setting with the same chance for all of its choices.

    Attributes:
        gap_px: Fewest and most pixels between neighbouring cells; None keeps the gaps of the layout.
        pages: Grounds to choose from.
        border_px: Least and greatest width of a line around every image, part of its box; 0 is none.
        fills: How images are brought into their cells: "fit" shows all of an image in its own shape, "stretch" and
            "crop" fill the cell.
        fonts: Font files for the labels to choose from; empty takes Pillow's own.
        outside_share: Share of figures whose labels stand outside of the images, in a strip of the cell.
        shuffled_share: Share of figures whose labels are dealt out at random instead of in the layout's order.
    """

    gap_px: tuple[int, int] | None = None
    pages: tuple[Page, ...] = ("white",)
    border_px: tuple[int, int] = (0, 0)
    fills: tuple[Fill, ...] = ("fit",)
    fonts: tuple[str, ...] = ()
    outside_share: float = 0.0
    shuffled_share: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("gap_px", 100), ("border_px", 10)):
            bounds = getattr(self, name)
            if bounds is not None and not 0 <= bounds[0] <= bounds[1] <= most:
                raise ConfigurationError(
                    f"`{name}` must be two rising numbers from 0 to {most}, got {bounds[0]} and {bounds[1]}."
                )
        for name, kind in (("pages", Page), ("fills", Fill)):
            known, given = get_args(kind), getattr(self, name)
            if not given or not set(given) <= set(known):
                raise ConfigurationError(f"`{name}` must be some of {', '.join(known)}, got {', '.join(given)!r}.")
        for name in ("outside_share", "shuffled_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"`{name}` must be from 0 to 1, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True)
class PageStyle:
    """How one figure looks.

    Attributes:
        gap_px: Between neighbouring cells; None keeps that of the layout.
        ground: RGB of the page.
        border_px: Width of the line around an image; likewise `border`, its RGB.
        fill: How images are brought into their cells.
        font: File of the labels' font; empty for Pillow's own.
        place: Where labels stand, one of `OUTSIDE`; "inside" for the corner of the image.
        is_shuffled: Whether labels are dealt out at random.
    """

    gap_px: int | None
    ground: tuple[int, int, int]
    border_px: int
    border: tuple[int, int, int]
    fill: Fill
    font: str
    place: str
    is_shuffled: bool


def draw_page_style(config: PageConfig, rng: np.random.Generator) -> PageStyle:
    """The looks of one figure."""
    page = config.pages[rng.integers(len(config.pages))]
    level = {"white": 255, "black": 0, "grey": int(rng.integers(_GREYS[0], _GREYS[1] + 1))}[page]
    is_outside, is_shuffled = rng.random(2) < (config.outside_share, config.shuffled_share)
    place = OUTSIDE[rng.integers(len(OUTSIDE))]
    fonts = config.fonts or ("",)
    return PageStyle(
        gap_px=None if config.gap_px is None else int(rng.integers(config.gap_px[0], config.gap_px[1] + 1)),
        ground=(level,) * 3,
        border_px=int(rng.integers(config.border_px[0], config.border_px[1] + 1)),
        border=(0, 0, 0) if rng.random() < 0.5 else (255, 255, 255),
        fill=config.fills[rng.integers(len(config.fills))],
        font=fonts[rng.integers(len(fonts))],
        place=place if is_outside else "inside",
        is_shuffled=bool(is_shuffled),
    )


def closed_layout(layout: Layout) -> Layout:
    """The layout with every box grown until it meets its neighbours halfway.

    First to the sides, then up and down; boxes that did not overlap still do not.

    Example:
        >>> closed_layout(Layout("two", ((0, 0, 10, 10), (14, 0, 24, 10)))).boxes_xyxy
        ((0.0, 0.0, 12.0, 10.0), (12.0, 0.0, 24.0, 10.0))
    """
    boxes = np.array(layout.boxes_xyxy, dtype=float)  # (N, 4)
    for axis in (0, 1):
        low, high = np.full(len(boxes), -np.inf), np.full(len(boxes), np.inf)
        for one, other in _facing(boxes, axis):
            middle = (boxes[one, axis + 2] + boxes[other, axis]) / 2
            high[one], low[other] = min(high[one], middle), max(low[other], middle)
        boxes[:, axis] = np.where(np.isfinite(low), low, boxes[:, axis])
        boxes[:, axis + 2] = np.where(np.isfinite(high), high, boxes[:, axis + 2])
    return Layout(layout.name, tuple(tuple(map(float, box)) for box in boxes))


def open_gaps(cells: Sequence[PixelBox], gap_px: int) -> list[PixelBox]:
    """Cells with a gap between those that touch; no cell loses more than a third of its side on either side."""
    boxes = np.array(cells)
    opened = boxes.copy()
    for axis in (0, 1):
        for one, other in _facing(boxes, axis):
            if boxes[one, axis + 2] != boxes[other, axis]:
                continue
            shortest = min(boxes[place, axis + 2] - boxes[place, axis] for place in (one, other))
            gap = min(gap_px, int(shortest) * 2 // 3)
            edge = boxes[other, axis]
            opened[one, axis + 2] = min(opened[one, axis + 2], edge - gap // 2)
            opened[other, axis] = max(opened[other, axis], edge + gap - gap // 2)
    return [tuple(box) for box in opened.tolist()]


def reserve_label_strip(cell: PixelBox, cap_px: float, place: str) -> tuple[PixelBox, PixelBox | None]:
    """What is left of a cell for its image, and the strip for the label; no strip in a cell too small for one."""
    strip = round(_OUTSIDE_STRIP * cap_px) + 2
    x0, y0, x1, y1 = cell
    if place == "inside" or strip > _MAX_STRIP_SHARE * min(x1 - x0, y1 - y0):
        return cell, None
    if place == "left":
        return (x0 + strip, y0, x1, y1), (x0, y0, x0 + strip, y1)
    if place == "below":
        return (x0, y0, x1, y1 - strip), (x0, y1 - strip, x1, y1)
    return (x0, y0 + strip, x1, y1), (x0, y0, x1, y0 + strip)


def outside_style(style: LabelStyle, place: str) -> LabelStyle:
    """The style of a label in its strip: at the head of the strip, in the middle below an image, with no patch."""
    corner = (0.5, 0) if place == "below" else (0, 0)
    return replace(style, corner=corner, ground="none", inset_px=0, max_share=1.0)


def filled(image: Image.Image, cell: PixelBox, fill: Fill) -> Image.Image:
    """The image in the size of its cell, stretched or with its middle cut out."""
    size = cell[2] - cell[0], cell[3] - cell[1]
    if fill == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    return image.resize(size, Image.Resampling.LANCZOS)


def draw_border(canvas: Image.Image, box: PixelBox, width_px: int, colour: tuple[int, int, int]) -> None:
    """A line along the inside of a box."""
    if width_px:
        x0, y0, x1, y1 = box
        ImageDraw.Draw(canvas).rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=width_px)


def _facing(boxes: np.ndarray, axis: int) -> list[tuple[int, int]]:
    """Pairs of boxes (one, other) whose sides overlap and of which `other` lies further along the axis."""
    across = 1 - axis
    pairs = []
    for one in range(len(boxes)):
        overlap = np.minimum(boxes[:, across + 2], boxes[one, across + 2]) > np.maximum(
            boxes[:, across], boxes[one, across]
        )
        pairs += [(one, int(other)) for other in np.flatnonzero(overlap & (boxes[:, axis] >= boxes[one, axis + 2]))]
    return pairs
