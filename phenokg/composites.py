"""Compound figures from single images, with ground truth: what each part is, where it lies and what describes it.

The reverse of the construction chain. A model trained on the compounds shows what is lost without curation; a
subfigure detector learns from the boxes. The method is ours; detectors trained on pasted compounds go back to Tsutsui
and Crandall, 2017 (arXiv 1703.05105).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.records import PixelBox
from phenolip.phenokg.subfigures.deal_images import assign_to_figures
from phenolip.phenokg.subfigures.figure_labels import MAX_LABELS, LabelStyle, choose_label_style, draw_label
from phenolip.phenokg.subfigures.fit_layouts import choose_layout, fit_box, scale_layout
from phenolip.phenokg.subfigures.layouts import Layout
from phenolip.phenokg.subfigures.page_style import (
    PageConfig,
    PageStyle,
    closed_layout,
    draw_border,
    draw_page_style,
    filled,
    open_gaps,
    outside_style,
    reserve_label_strip,
)

MIN_LONG_SIDE_PX = 256
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
        single_share: Share of figures that are one image alone, without a label.
        page: How pages look; None has images in their own shape on white, some on black, labels inside.
    """

    seed: int = 0
    images_per_figure: tuple[int, int] = (2, 6)
    long_side_px: int = 520
    layouts: tuple[Layout, ...] = ()
    single_share: float = 0.0
    page: PageConfig | None = None

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
        if not 0 <= self.single_share <= 1:
            raise ConfigurationError(f"`single_share` must be from 0 to 1, got {self.single_share}.")


def run(records: Sequence[SourceImage], config: CompositeConfig) -> Iterator[CompositeFigure]:
    """Paste every image into exactly one figure.

    Figures are made one by one as they are asked for; only the images of one are in memory.

    Raises:
        DataError: There are no records, or an image is not RGB.
    """
    if not records:
        raise DataError("`records` must hold at least one image, got none.")
    rng = np.random.default_rng([config.seed, 0])
    return paste(records, draw_figure_sizes(len(records), config, rng), config, rng)


def paste(
    records: Sequence[SourceImage], sizes: Sequence[int], config: CompositeConfig, rng: np.random.Generator
) -> Iterator[CompositeFigure]:
    """Figures of the given numbers of images, which sum to the number of records."""
    groups = [("row", row) if record.group is None else record.group for row, record in enumerate(records)]
    figures = assign_to_figures(groups, sizes, rng)
    return (_compose(records, rows, config, number) for number, rows in enumerate(figures))


def draw_figure_sizes(num_images: int, config: CompositeConfig, rng: np.random.Generator) -> list[int]:
    """How many images each figure gets; sums to ``num_images``, and is 1 only where that is or single ones may be."""
    fewest, most = config.images_per_figure
    choices = _size_choices(config)
    sizes = []
    while num_images:
        size = min(_draw_size(config, choices, rng), num_images)
        if num_images - size == 1 and not config.single_share:
            size += -1 if size == most > fewest else 1
        sizes.append(size)
        num_images -= size
    return sizes


def draw_sizes_of_figures(num_figures: int, config: CompositeConfig, rng: np.random.Generator) -> list[int]:
    """How many images each of a number of figures gets."""
    choices = _size_choices(config)
    return [_draw_size(config, choices, rng) for _ in range(num_figures)]


def _size_choices(config: CompositeConfig) -> np.ndarray:
    fewest, most = config.images_per_figure
    known = np.array([len(layout.boxes_xyxy) for layout in config.layouts], dtype=int)
    known = known[(fewest <= known) & (known <= most)]
    return known if len(known) else np.arange(fewest, most + 1)


def _draw_size(config: CompositeConfig, choices: np.ndarray, rng: np.random.Generator) -> int:
    if config.single_share and rng.random() < config.single_share:
        return 1
    return int(rng.choice(choices))


def _compose(records: Sequence[SourceImage], rows: list[int], config: CompositeConfig, number: int) -> CompositeFigure:
    rng = np.random.default_rng([config.seed, 1, number])
    # Draws of its own for the page, so that what is drawn without one stays as it is.
    page_rng = np.random.default_rng([config.seed, 2, number])
    page = None if config.page is None else draw_page_style(config.page, page_rng)
    rows = rng.permutation(rows).tolist()
    images = [_opened(records[row]) for row in rows]
    layout, order = choose_layout([image.width / image.height for image in images], config.layouts, rng)
    if page is not None and page.is_shuffled:
        places = page_rng.permutation(len(rows)).tolist()
        layout = Layout(layout.name, tuple(layout.boxes_xyxy[place] for place in places))
        order = [order[place] for place in places]
    rows, images = [rows[place] for place in order], [images[place] for place in order]
    captions = [records[row].caption for row in rows]
    style = choose_label_style(captions, rng)
    if page is not None:
        style = replace(style, font=page.font)
    letters = [style.letter(place) for place in range(len(rows))] if len(rows) > 1 else [""]
    caption, spans = join_captions(captions, [style.written.format(letter) if letter else "" for letter in letters])
    margin_px = int(rng.integers(0, _MAX_MARGIN_PX + 1))
    ground = "black" if rng.random() < _BLACK_SHARE else "white"
    cells, size = _cells(layout, page, config.long_side_px, margin_px)
    canvas = Image.new("RGB", size, ground if page is None else page.ground)
    texts = [style.drawn.format(letter) if letter else "" for letter in letters]
    placed = _draw_parts(canvas, images, cells, texts, style, page)
    subfigures = [
        PastedImage(row, box, letter, text, label_xyxy, *span)
        for row, letter, text, span, (box, label_xyxy) in zip(rows, letters, texts, spans, placed, strict=True)
    ]
    hpo_ids = dict.fromkeys(hpo_id for row in rows for hpo_id in records[row].hpo_ids)
    return CompositeFigure(canvas, caption, tuple(hpo_ids), tuple(subfigures), layout.name)


def _cells(
    layout: Layout, page: PageStyle | None, long_side_px: int, margin_px: int
) -> tuple[list[PixelBox], tuple[int, int]]:
    """Where images may lie, and the size of the canvas."""
    if page is None or page.gap_px is None:
        return scale_layout(layout, long_side_px, margin_px)
    cells, size = scale_layout(closed_layout(layout), long_side_px, margin_px)
    return open_gaps(cells, page.gap_px), size


def _draw_parts(
    canvas: Image.Image,
    images: Sequence[Image.Image],
    cells: Sequence[PixelBox],
    texts: Sequence[str],
    style: LabelStyle,
    page: PageStyle | None,
) -> list[tuple[PixelBox, PixelBox | None]]:
    """Pastes the images, borders and labels; returns the box of each image and of its label."""
    placed = []
    for image, cell, text in zip(images, cells, texts, strict=True):
        strip = None
        if page is not None and text:
            cell, strip = reserve_label_strip(cell, style.cap_height * canvas.width, page.place)
        if page is None or page.fill == "fit":
            box = fit_box(image.size, cell)
            canvas.paste(resize(image, (box[2] - box[0], box[3] - box[1])), box[:2])
        else:
            box = cell
            canvas.paste(filled(image, box, page.fill), box[:2])
        if page is not None:
            draw_border(canvas, box, page.border_px, page.border)
        label_xyxy = None
        if strip is not None:
            label_xyxy = draw_label(canvas, strip, text, outside_style(style, page.place))
        elif text:
            label_xyxy = draw_label(canvas, box, text, style)
        placed.append((box, label_xyxy))
    return placed


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


if __name__ == "__main__":
    import sys

    from phenolip.phenokg.subfigures.composites_command import main

    sys.exit(main())
