"""Compound figures from single images, with ground truth: what each part is, where it lies and what describes it.

The reverse of the construction chain. A model trained on the compounds shows what is lost without curation; a
subfigure detector learns from the boxes. The method is ours; detectors trained on pasted compounds go back to Tsutsui
and Crandall, 2017 (arXiv 1703.05105).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.figure_labels import MAX_LABELS, choose_label_style, draw_label
from phenolip.phenokg.layouts import Layout, rows_layout
from phenolip.phenokg.records import PixelBox

MIN_LONG_SIDE_PX = 256
_NUM_CANDIDATES = 32  # layouts tried for a set of images: authors make the layout for the images they have
_MAX_MARGIN_PX = 8
_BLACK_SHARE = 0.1  # figures on a black ground
_NO_FULL_STOP_AFTER = (*".!?,;:", ".)", '."', ".”")


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image to paste, and its text.

    Attributes:
        row_id: Where it comes from; its licence is that row's.
        sha256: Of the image file.
        caption: Describes this image alone; kept to the letter.
        hpo_ids: Phenotypes of the image.
        open_image: Gives the decoded RGB image; called once, when its figure is made.
        group: Images of one group (a caption, an article, near copies) are kept out of each other's figures; None
            makes the image a group of its own.
    """

    row_id: str
    sha256: str
    caption: str
    hpo_ids: tuple[str, ...]
    open_image: Callable[[], Image.Image]
    group: str | None = None


@dataclass(frozen=True, slots=True)
class PastedImage:
    """Ground truth of one subfigure. Boxes are in pixels of the figure, origin top left, right and bottom exclusive.

    Attributes:
        source: Place of the image in the records, from 0.
        box_xyxy: Where the image lies, all of it.
        label: Bare letter; empty where a figure has one image only.
        label_text: The label as it is drawn, such as "(a)".
        label_xyxy: Box of the drawn label; None if the subfigure is too small for one.
        caption_start: Where the image's own caption begins in that of the figure, in Unicode code points.
        caption_end: Where it ends, exclusive.
    """

    source: int
    box_xyxy: PixelBox
    label: str
    label_text: str
    label_xyxy: PixelBox | None
    caption_start: int
    caption_end: int


@dataclass(frozen=True, slots=True)
class CompositeFigure:
    """A compound figure.

    Attributes:
        image: RGB.
        caption: "(A) first caption. (B) second caption." in the style of the labels.
        hpo_ids: Union over the images, in the order of the labels.
        subfigures: In the order of the labels.
        layout: The real figure that lent its layout, or "rows".
    """

    image: Image.Image
    caption: str
    hpo_ids: tuple[str, ...]
    subfigures: tuple[PastedImage, ...]
    layout: str


@dataclass(frozen=True)
class CompositeConfig:
    """How figures are composed.

    Attributes:
        seed: With the records, fixes every figure.
        images_per_figure: Fewest and most. The last figure may have fewer; a single image left over joins another.
        long_side_px: Longer side of a figure.
        layouts: Layouts of real figures to choose from, as often as each number of images occurs in them; empty draws
            rows instead.
    """

    seed: int = 0
    images_per_figure: tuple[int, int] = (2, 6)
    long_side_px: int = 520
    layouts: tuple[Layout, ...] = ()

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigurationError(f"`seed` must be at least 0, got {self.seed}.")
        fewest, most = self.images_per_figure
        if not 2 <= fewest <= most < MAX_LABELS:
            raise ConfigurationError(
                f"`images_per_figure` must be two rising numbers from 2 to {MAX_LABELS - 1}, got {fewest} and {most}."
            )
        if self.long_side_px < MIN_LONG_SIDE_PX:
            raise ConfigurationError(
                f"`long_side_px` must be at least {MIN_LONG_SIDE_PX} pixels, got {self.long_side_px}."
            )
        if self.layouts and not any(fewest <= len(layout.boxes_xyxy) <= most for layout in self.layouts):
            raise ConfigurationError(f"`layouts` must hold one with {fewest} to {most} boxes, got none.")


def run(records: Sequence[SourceImage], config: CompositeConfig) -> Iterator[CompositeFigure]:
    """Paste every image into exactly one figure.

    Figures are made one by one as they are asked for; only the images of one are in memory.

    Raises:
        DataError: There are no records, or an image is not RGB.
    """
    if not records:
        raise DataError("`records` must hold at least one image, got none.")
    rng = np.random.default_rng([config.seed, 0])
    sizes = draw_figure_sizes(len(records), config, rng)
    groups = [("row", row) if record.group is None else record.group for row, record in enumerate(records)]
    figures = assign_to_figures(groups, sizes, rng)
    return (
        _compose(records, rows, config, np.random.default_rng([config.seed, 1, number]))
        for number, rows in enumerate(figures)
    )


def draw_figure_sizes(num_images: int, config: CompositeConfig, rng: np.random.Generator) -> list[int]:
    """How many images each figure gets; sums to ``num_images``, and is 1 only where that is 1."""
    fewest, most = config.images_per_figure
    known = np.array([len(layout.boxes_xyxy) for layout in config.layouts], dtype=int)
    known = known[(fewest <= known) & (known <= most)]
    choices = known if len(known) else np.arange(fewest, most + 1)
    sizes = []
    while num_images:
        size = min(int(rng.choice(choices)), num_images)
        if num_images - size == 1:
            size += -1 if size == most > fewest else 1
        sizes.append(size)
        num_images -= size
    return sizes


def assign_to_figures(groups: Sequence[object], sizes: Sequence[int], rng: np.random.Generator) -> list[list[int]]:
    """Rows of each figure, at random, without two of one group in a figure wherever that is possible.

    Groups of several rows are dealt first, over figures drawn in proportion to their free places. Should that end in
    a clash, each group goes to the figures with most room, which finds an assignment without clashes if there is one
    (the construction of Ryser, 1957).
    """
    members: dict[object, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    several = sorted((rows for rows in members.values() if len(rows) > 1), key=len, reverse=True)
    single = [rows[0] for rows in members.values() if len(rows) == 1]
    for by_room in (False, True):
        figures, is_clean = _deal(several, sizes, rng, by_room)
        if is_clean:
            break
    rest = iter(rng.permutation(single).tolist())
    return [[*rows, *(next(rest) for _ in range(size - len(rows)))] for rows, size in zip(figures, sizes, strict=True)]


def _deal(
    several: list[list[int]], sizes: Sequence[int], rng: np.random.Generator, by_room: bool
) -> tuple[list[list[int]], bool]:
    free = np.array(sizes)
    figures: list[list[int]] = [[] for _ in sizes]
    is_clean = True
    for rows in several:
        waiting = rng.permutation(rows).tolist()
        while waiting:
            with_room = np.flatnonzero(free)
            chance = rng.random(len(with_room))
            # smallest of -log(u) / weight: sampling without replacement of Efraimidis and Spirakis, 2006
            rank = np.lexsort((chance, -free[with_room])) if by_room else np.argsort(-np.log(chance) / free[with_room])
            for figure in with_room[rank[: len(waiting)]]:
                figures[figure].append(waiting.pop())
                free[figure] -= 1
            is_clean = is_clean and not waiting
    return figures, is_clean


def _compose(
    records: Sequence[SourceImage], rows: list[int], config: CompositeConfig, rng: np.random.Generator
) -> CompositeFigure:
    rows = rng.permutation(rows).tolist()
    images = [_opened(records[row]) for row in rows]
    layout, order = _choose_layout([image.width / image.height for image in images], config.layouts, rng)
    rows, images = [rows[place] for place in order], [images[place] for place in order]
    captions = [records[row].caption for row in rows]
    style = choose_label_style(captions, rng)
    letters = [style.letter(place) for place in range(len(rows))] if len(rows) > 1 else [""]
    caption, spans = join_captions(captions, [style.written.format(letter) if letter else "" for letter in letters])

    cells, size = _scale(layout, config.long_side_px, int(rng.integers(0, _MAX_MARGIN_PX + 1)))
    canvas = Image.new("RGB", size, "black" if rng.random() < _BLACK_SHARE else "white")
    subfigures = []
    for row, image, cell, letter, span in zip(rows, images, cells, letters, spans, strict=True):
        box = _fit(image.size, cell)
        canvas.paste(resize(image, (box[2] - box[0], box[3] - box[1])), box[:2])
        text = style.drawn.format(letter) if letter else ""
        label_xyxy = draw_label(canvas, box, text, style) if letter else None
        subfigures.append(PastedImage(row, box, letter, text, label_xyxy, *span))
    hpo_ids = dict.fromkeys(hpo_id for row in rows for hpo_id in records[row].hpo_ids)
    return CompositeFigure(canvas, caption, tuple(hpo_ids), tuple(subfigures), layout.name)


def join_captions(captions: Sequence[str], markers: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The caption of a figure, and the span of each part in it without marker and added full stop.

    Example:
        >>> join_captions(["Hand", "Foot."], ["(A)", "(B)"])
        ('(A) Hand. (B) Foot.', [(4, 8), (14, 19)])
    """
    joined, spans = "", []
    for caption, marker in zip(captions, markers, strict=True):
        if joined:
            joined += " " if joined.endswith(_NO_FULL_STOP_AFTER) else ". "
        if marker:
            joined += f"{marker} "
        spans.append((len(joined), len(joined) + len(caption)))
        joined += caption
    return joined if joined.endswith(_NO_FULL_STOP_AFTER) or len(captions) == 1 else f"{joined}.", spans


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image as it is pasted: all of it, at the given width and height in pixels."""
    return image.resize(size, Image.Resampling.LANCZOS)


def _opened(record: SourceImage) -> Image.Image:
    image = record.open_image()
    if image.mode != "RGB":
        raise DataError(f"Image {record.row_id} must be decoded to RGB, got mode {image.mode}.")
    return image


def _choose_layout(
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


def _scale(layout: Layout, long_side_px: int, margin_px: int) -> tuple[list[PixelBox], tuple[int, int]]:
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


def _fit(size: tuple[int, int], cell: PixelBox) -> PixelBox:
    """The largest box of an image's own shape in a cell, centred: nothing of the image is cut off."""
    x0, y0, x1, y1 = cell
    room = (x1 - x0, y1 - y0)
    scale = min(room[0] / size[0], room[1] / size[1])
    width, height = (min(max(1, round(side * scale)), most) for side, most in zip(size, room, strict=True))
    left, top = x0 + (room[0] - width) // 2, y0 + (room[1] - height) // 2
    return left, top, left + width, top + height
