"""Places of a picture that may be printed letters: connected regions of one darkness and of a letter's size.

Labels are black or white, rarely coloured, on whatever the image shows there, so no single threshold finds them. The
picture is cut at several grey levels in both directions; a letter that its ground swallows at one of them stands alone
at another.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

#: Side of the square that a glyph is scaled into, in pixels.
PATCH_PX = 20

_LIGHT = (245, 225, 195, 150)  # ink is lighter than
_DARK = (12, 40, 80, 125)  # ink is darker than
_LIGHT_COLOUR = (200,)  # the same for the largest and the smallest of the three colours
_DARK_COLOUR = (60,)
_MIN_COLOURED_SHARE = 0.002  # of the pixels, from which colours are looked at
_COLOURED = 60  # 8-bit levels between the largest and the smallest colour
_MIN_HEIGHT_PX = 6
_MAX_HEIGHT_SHARE = 0.11  # of the longer side
_MAX_ASPECT = 2.2
_MIN_FILL = 0.1
_MAX_PER_CUT = 900  # the noise of one cut must not drown the others
_CONNECTED = np.ones((3, 3), dtype=int)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Candidates of a picture.

    Attributes:
        boxes: Left, top, right, bottom in pixels, right and bottom exclusive. Shape (N, 4).
        cuts: Number of the cut that each stands alone in; letters of one label share it. Shape (N,).
        is_light: Lighter than their ground. Shape (N,).
        patches: The shapes, 0 to 1, in a square with their own proportions. Shape (N, PATCH_PX * PATCH_PX).
    """

    boxes: NDArray[np.int64]
    cuts: NDArray[np.int64]
    is_light: NDArray[np.bool_]
    patches: NDArray[np.float32]


def find_glyphs(pixels: NDArray[np.uint8], allowed: NDArray[np.bool_]) -> Glyphs:
    """Candidates of a picture.

    Args:
        pixels: RGB. Shape (H, W, 3).
        allowed: Where letters are looked for. Shape (H, W).
    """
    max_height = max(2 * _MIN_HEIGHT_PX, int(_MAX_HEIGHT_SHARE * max(pixels.shape[:2])))
    boxes, patches, cuts, lights = [], [], [], []
    for number, (ink, is_light) in enumerate(_cuts(pixels)):
        found, shapes = _regions(ink & allowed, max_height)
        boxes.append(found)
        patches.append(shapes)
        cuts.append(np.full(len(found), number))
        lights.append(np.full(len(found), is_light))
    return Glyphs(np.concatenate(boxes), np.concatenate(cuts), np.concatenate(lights), np.concatenate(patches))


def _cuts(pixels: NDArray[np.uint8]) -> list[tuple[NDArray[np.bool_], bool]]:
    """Where ink would be, and whether it is light."""
    red, green, blue = (np.ascontiguousarray(pixels[..., channel]) for channel in range(3))
    # Rec. 601 luma in integers
    grey = ((77 * red.astype(np.uint16) + 150 * green.astype(np.uint16) + 29 * blue.astype(np.uint16)) >> 8).astype(
        np.uint8
    )
    cuts = [(grey > level, True) for level in _LIGHT] + [(grey < level, False) for level in _DARK]
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    if np.count_nonzero(most - least > _COLOURED) >= _MIN_COLOURED_SHARE * grey.size:
        cuts += [(most > level, True) for level in _LIGHT_COLOUR] + [(least < level, False) for level in _DARK_COLOUR]
    return cuts


def _regions(ink: NDArray[np.bool_], max_height: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Boxes and patches of the connected regions that have a letter's size; the dot of an i belongs to it."""
    labelled, count = ndimage.label(ink, structure=_CONNECTED)
    if not count:
        return np.zeros((0, 4), np.int64), np.zeros((0, PATCH_PX * PATCH_PX), np.float32)
    slices = ndimage.find_objects(labelled)
    boxes = np.array([(x.start, y.start, x.stop, y.stop) for y, x in slices], dtype=np.int64)  # (R, 4)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    fits = (heights >= _MIN_HEIGHT_PX) & (heights <= max_height) & (widths <= _MAX_ASPECT * heights) & (widths >= 2)
    kept, patches = [], []
    for place in np.flatnonzero(fits):
        x0, y0, x1, y1 = boxes[place]
        shape = labelled[y0:y1, x0:x1] == place + 1
        if np.count_nonzero(shape) < _MIN_FILL * shape.size:
            continue
        kept.append((x0, y0, x1, y1))
        patches.append(_patch(shape))
        dot = _dot_above(boxes, place)
        if dot is not None:
            x0, y0, x1 = min(x0, boxes[dot, 0]), boxes[dot, 1], max(x1, boxes[dot, 2])
            piece = labelled[y0:y1, x0:x1]
            kept.append((x0, y0, x1, y1))
            patches.append(_patch((piece == place + 1) | (piece == dot + 1)))
        if len(kept) >= _MAX_PER_CUT:
            break
    return (
        np.array(kept, dtype=np.int64).reshape(-1, 4),
        np.array(patches, dtype=np.float32).reshape(-1, PATCH_PX * PATCH_PX),
    )


def _dot_above(boxes: NDArray[np.int64], stem: int) -> int | None:
    """The region that would be the dot of a narrow one, as in i and j; the nearest."""
    x0, y0, x1, y1 = boxes[stem]
    height, width = y1 - y0, x1 - x0
    if width > 0.7 * height:
        return None
    # regions come by their upper edge: a dot begins above its stem
    above = boxes[np.searchsorted(boxes[:, 1], y0 - 0.9 * height) : stem]
    is_dot = (
        (above[:, 3] <= y0 + 1)
        & (above[:, 3] >= y0 - 0.4 * height)
        & (above[:, 3] - above[:, 1] <= 0.45 * height)
        & (above[:, 2] - above[:, 0] <= max(0.5 * height, 1.5 * width))
        & (above[:, 0] < x1)
        & (above[:, 2] > x0)
        & ((above[:, 2] - above[:, 0]) * (above[:, 3] - above[:, 1]) >= 2)
    )
    dots = np.flatnonzero(is_dot)
    return int(stem - len(above) + dots[np.argmax(above[dots, 3])]) if len(dots) else None


def _patch(shape: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A shape in the middle of a square, its longer side filling it."""
    height, width = shape.shape
    scale = PATCH_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(shape.astype(np.uint8) * 255).resize(
        size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    )
    patch = np.zeros((PATCH_PX, PATCH_PX), dtype=np.float32)
    left, top = (PATCH_PX - size[0]) // 2, (PATCH_PX - size[1]) // 2
    patch[top : top + size[1], left : left + size[0]] = np.asarray(small, dtype=np.float32) / 255
    return patch.ravel()
