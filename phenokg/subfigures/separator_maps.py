"""What a figure says of straight separators in one direction, summed so that any stretch of any line is read at once.

A separator of subfigures is a gutter (pixels of one colour along it), a thin line (brighter or darker than both sides)
or a seam (a step that is steeper than what lies beside it, along most of its length; and what lies left of it does not
resemble what lies right of it). Every map holds one such trait, pooled over blocks of rows. The design is ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Rows that are pooled; where a region begins and ends along a separator is known to this precision.
BLOCK_PX = 8
#: Colours that a gutter may have: white, black, and the figure's own grey.
COLOURS = ("white", "black", "page")
#: Distances in pixels over which the two sides of a line are compared.
LAGS_PX = (1, 3, 7)
_SHARES = ("step", "wide_step", "bright_line", "dark_line", "smooth", *COLOURS)
_VALUES = ("gradient", "mean", "square", *(f"lag_{lag}" for lag in LAGS_PX))
#: Traits of a line, in the order of the maps.
TRAITS = (*_SHARES, *_VALUES)
_COLOUR_ROWS = slice(TRAITS.index(COLOURS[0]), TRAITS.index(COLOURS[-1]) + 1)
_STEP = 8  # of 255 grey levels, by which a step exceeds those beside it
_LINE = 6  # by which a thin line exceeds both sides
_LINE_WIDTHS_PX = (1, 2, 3)
_SMOOTH = 4  # largest change between neighbours in a flat area of a JPEG of quality 60
_STRIP_PIXELS = 80_000  # worked on at once: what stays in the cache
_LOW_BYTES, _SUM_OF_FOUR = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0001000100010001)
_WHITE_FROM, _BLACK_TO, _PAGE_WITHIN = 233, 22, 10


@dataclass(frozen=True)
class SeparatorMaps:
    """Traits of vertical lines; those of horizontal lines are made of the transposed figure.

    Attributes:
        sums: For each trait and column, the sum over the blocks of rows above. Shape (traits, blocks + 1, width).
    """

    sums: NDArray[np.float32]

    def means(self, top: int, bottom: int, left: int, right: int) -> dict[str, NDArray[np.float32]]:
        """The mean of each trait along each of some columns, from one row to another, rounded inward to blocks.

        At column x, "step", "wide_step", "gradient" and the lags compare what lies left of it with what begins there;
        the other traits are of the column itself.
        """
        first, last = self._blocks(top, bottom)
        found = (self.sums[:, last, left:right] - self.sums[:, first, left:right]) / (last - first)
        return dict(zip(TRAITS, found, strict=True))

    def colour_shares(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.float32]:
        """The share of each of some columns that has each of `COLOURS`, between two rows; (colours, columns)."""
        first, last = self._blocks(top, bottom)
        sums = self.sums[_COLOUR_ROWS]
        return (sums[:, last, left:right] - sums[:, first, left:right]) / (last - first)

    def _blocks(self, top: int, bottom: int) -> tuple[int, int]:
        """The whole blocks between two rows; where there is none, the one that holds most of them."""
        first, last = -(-top // BLOCK_PX), bottom // BLOCK_PX
        if last > first:
            return first, last
        block = min((top + bottom) // 2 // BLOCK_PX, self.sums.shape[1] - 2)
        return block, block + 1


def make_maps(grey: NDArray[np.uint8], page: int) -> SeparatorMaps:
    """The maps of vertical lines.

    Args:
        grey: The figure, (height, width), each at least `BLOCK_PX`.
        page: Grey level of a gutter that is neither white nor black; negative where the figure has none.
    """
    num_blocks, width = grey.shape[0] // BLOCK_PX, grey.shape[1]
    sums = np.zeros((len(TRAITS), num_blocks + 1, width), np.float32)
    step = max(1, _STRIP_PIXELS // (width * BLOCK_PX))
    for first in range(0, num_blocks, step):
        last = min(first + step, num_blocks)
        columns = np.ascontiguousarray(grey[first * BLOCK_PX : last * BLOCK_PX].T)  # what is pooled lies side by side
        above = grey[max(0, first * BLOCK_PX - 1)]
        _fill(dict(zip(TRAITS, sums[:, first + 1 : last + 1], strict=True)), columns, above, page)
    for block in range(2, num_blocks + 1):  # three times faster than np.cumsum along this axis
        sums[:, block] += sums[:, block - 1]
    return SeparatorMaps(sums)


def _fill(
    maps: dict[str, NDArray[np.float32]], columns: NDArray[np.uint8], above: NDArray[np.uint8], page: int
) -> None:
    """Traits of some whole blocks of rows, pooled, into their place; `columns` is (width, height)."""
    change = _change(columns, 1)
    for trait, mask in zip(_SHARES, _masks(columns, change, above, page), strict=True):
        counts = np.bitwise_count(np.packbits(mask.reshape(-1))).reshape(len(mask), -1)
        np.multiply(np.ascontiguousarray(counts.T), np.float32(1 / BLOCK_PX), out=maps[trait])
    maps["gradient"][:] = _block_means(change)
    mean = _block_means(columns) / 255
    maps["mean"][:] = mean
    np.multiply(mean, mean, out=maps["square"])
    for lag in LAGS_PX:
        np.multiply(mean[:, lag:], mean[:, :-lag], out=maps[f"lag_{lag}"][:, lag:])


def find_page_level(grey: NDArray[np.uint8]) -> int:
    """The commonest grey of the rim, else of the figure, that is neither white nor black; -1 if none is common."""
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    for pixels, share in ((rim, 0.4), (grey[1::3, 1::3].ravel(), 0.04)):
        counts = np.bincount(pixels, minlength=256)
        near = np.convolve(counts, np.ones(5, int), "same")
        near[: _BLACK_TO + 1] = near[_WHITE_FROM:] = 0
        level = int(near.argmax())
        if near[level] >= share * len(pixels):
            window = np.arange(level - 2, level + 3)
            return round(float(np.average(window, weights=counts[window])))
    return -1


def colour_mask(grey: NDArray[np.uint8], colour: int, page: int) -> NDArray[np.bool_]:
    """Which pixels have one of `COLOURS`, by its place; `page` is that of `make_maps`."""
    if COLOURS[colour] == "white":
        return grey >= _WHITE_FROM
    if COLOURS[colour] == "black":
        return grey <= _BLACK_TO
    return _difference(grey, np.uint8(page)) <= _PAGE_WITHIN if page >= 0 else np.zeros(grey.shape, bool)


def _masks(
    columns: NDArray[np.uint8], change: NDArray[np.uint8], above: NDArray[np.uint8], page: int
) -> Iterator[NDArray[np.bool_]]:
    """One mask for each of `_SHARES`, in that order; all (width, height)."""
    step = np.zeros(columns.shape, bool)
    step[2:-1] = _above(change[2:-1], np.maximum(change[1:-2], change[3:]), _STEP)
    yield step
    wide = _change(columns, 2)  # at x, from x - 2 to x
    wide_step = np.zeros(columns.shape, bool)  # scaling blurs a step over x - 2 to x + 1
    inner = np.maximum(wide[4:-3], wide[5:-2])
    wide_step[4:-3] = _above(inner, np.maximum(wide[2:-5], wide[7:]), 2 * _STEP)
    yield wide_step
    yield from _thin_lines(columns)
    smooth = np.empty(columns.shape, bool)
    flat = columns.reshape(-1)
    smooth.reshape(-1)[1:] = _difference(flat[1:], flat[:-1]) <= _SMOOTH
    smooth[:, 0] = _difference(columns[:, 0], above) <= _SMOOTH
    yield smooth
    yield from (colour_mask(columns, colour, page) for colour in range(len(COLOURS)))


def _thin_lines(columns: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels of bright and of dark lines."""
    bright, dark = np.zeros(columns.shape, bool), np.zeros(columns.shape, bool)
    low = high = columns
    for size in _LINE_WIDTHS_PX:
        if size > 1:
            low = np.minimum(low[:-1], columns[size - 1 :])
            high = np.maximum(high[:-1], columns[size - 1 :])
        left, right = columns[: -size - 1], columns[size + 1 :]
        is_bright = _above(low[1:-1], np.maximum(left, right), _LINE)
        is_dark = _above(np.minimum(left, right), high[1:-1], _LINE)
        for shift in range(1, size + 1):
            bright[shift : shift + len(left)] |= is_bright
            dark[shift : shift + len(left)] |= is_dark
    for mask in (bright, dark):
        mask[:3] = mask[-3:] = False
    return bright, dark


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(one, other) - np.minimum(one, other)


def _above(one: NDArray[np.uint8], other: NDArray[np.uint8], margin: int) -> NDArray[np.bool_]:
    """Where `one` exceeds `other` by the margin; without a wider type."""
    return np.maximum(one, other) - other > margin


def _change(columns: NDArray[np.uint8], distance: int) -> NDArray[np.uint8]:
    """How much each column differs from the one so many to the left; 0 where there is none."""
    change = np.zeros_like(columns)
    change[distance:] = _difference(columns[distance:], columns[:-distance])
    return change


def _block_means(columns: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means over blocks of rows; (width, height) to (blocks, width). Eight pixels are summed as one number."""
    eight = columns.view(np.uint64)
    total = (eight & _LOW_BYTES) + ((eight >> np.uint64(8)) & _LOW_BYTES)
    total *= _SUM_OF_FOUR
    total >>= np.uint64(48)
    return np.ascontiguousarray(total.astype(np.uint16).T).astype(np.float32) / BLOCK_PX
