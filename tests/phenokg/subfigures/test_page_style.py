"""Pages of composites: gaps are as asked for, nothing overlaps, what fills a cell fills it."""

import itertools

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.composites import CompositeConfig, SourceImage, run
from phenolip.phenokg.subfigures.layouts import Layout, reading_order
from phenolip.phenokg.subfigures.page_style import (
    PageConfig,
    closed_layout,
    draw_page_style,
    filled,
    open_gaps,
    reserve_label_strip,
)

GRID = Layout("grid", tuple((40 * x, 30 * y, 40 * x + 35, 30 * y + 25) for y in range(2) for x in range(3)))
RAGGED = Layout("ragged", ((0, 0, 50, 40), (60, 0, 90, 18), (58, 22, 90, 40), (0, 47, 90, 70)))


def overlap(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


def figures(page, layouts=(GRID, RAGGED), number=24, **settings):
    def source(n):
        colour = (200, 30 + n, 90)
        return SourceImage(
            f"row {n}", "", f"Caption {n}", (), lambda: Image.new("RGB", (60 + 9 * (n % 5), 50), colour)
        )

    config = CompositeConfig(images_per_figure=(4, 6), layouts=layouts, page=page, **settings)
    return list(run([source(n) for n in range(number)], config))


@pytest.mark.parametrize("gap", [0, 1, 2, 7, 20])
def test_filled_cells_of_a_grid_have_exactly_the_gap(gap):
    page = PageConfig(gap_px=(gap, gap), fills=("stretch", "crop"))
    for figure in figures(page, layouts=(GRID,)):
        boxes = sorted(part.box_xyxy for part in figure.subfigures)
        if len(boxes) < 6:
            continue
        columns = boxes[::2]
        assert [right[0] - left[2] for left, right in itertools.pairwise(columns)] == [gap, gap]
        assert all(low[1] - high[3] == gap for high, low in zip(boxes[::2], boxes[1::2], strict=True))


@pytest.mark.parametrize("page", [PageConfig(gap_px=(0, 20)), PageConfig(gap_px=(0, 20), outside_share=1.0)])
def test_nothing_overlaps_and_all_lies_on_the_page(page):
    for figure in figures(page):
        boxes = [part.box_xyxy for part in figure.subfigures]
        boxes += [part.label_xyxy for part in figure.subfigures if part.label_xyxy and page.outside_share]
        assert not any(overlap(one, other) for one, other in itertools.combinations(boxes, 2))
        assert all(0 <= b[0] < b[2] <= figure.image.width and 0 <= b[1] < b[3] <= figure.image.height for b in boxes)


def test_labels_outside_stand_beside_their_image_and_can_be_seen():
    seen = 0
    for figure in figures(PageConfig(outside_share=1.0, pages=("white", "grey", "black"))):
        grey = np.asarray(figure.image.convert("L")).astype(int)
        for part in figure.subfigures:
            if part.label_xyxy is None or overlap(part.box_xyxy, part.label_xyxy):
                continue  # a cell too small for a strip
            seen += 1
            x0, y0, x1, y1 = part.label_xyxy
            assert np.ptp(grey[y0:y1, x0:x1]) > 60
    assert seen >= 10


def test_closing_keeps_boxes_apart_and_leaves_none_smaller():
    rng = np.random.default_rng(0)
    for _ in range(30):
        columns = np.sort(rng.choice(200, 8, replace=False)).reshape(4, 2)
        boxes = tuple(
            (int(x0), int(y0), int(x1), int(y1))
            for x0, x1 in columns
            for y0, y1 in np.sort(rng.choice(200, 6, replace=False)).reshape(3, 2)
        )
        closed = closed_layout(Layout("random", boxes)).boxes_xyxy
        assert not any(overlap(one, other) for one, other in itertools.combinations(closed, 2))
        for box, grown in zip(boxes, closed, strict=True):
            assert grown[0] <= box[0] and grown[1] <= box[1] and grown[2] >= box[2] and grown[3] >= box[3]


def test_a_gap_leaves_something_of_small_cells():
    assert open_gaps([(0, 0, 9, 9), (9, 0, 100, 9)], 20) == [(0, 0, 6, 9), (12, 0, 100, 9)]
    assert open_gaps([(0, 0, 9, 9), (12, 0, 100, 9)], 2) == [(0, 0, 9, 9), (12, 0, 100, 9)]  # they do not touch


def test_filling_stretches_or_crops():
    halves = Image.new("RGB", (100, 50), "red")
    halves.paste("blue", (0, 0, 10, 50))
    stretched, cropped = (np.asarray(filled(halves, (0, 0, 50, 50), fill)) for fill in ("stretch", "crop"))
    assert stretched.shape == cropped.shape == (50, 50, 3)
    assert stretched[25, 2, 2] > 250 and cropped[25, 2].tolist() == [255, 0, 0]


def test_a_strip_is_taken_from_the_cell_or_not_at_all():
    cell = (10, 20, 210, 220)
    for place in ("above", "left", "below"):
        image, strip = reserve_label_strip(cell, 20, place)
        assert not overlap(image, strip)
        area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (image, strip))
        assert area == 200 * 200
    assert reserve_label_strip(cell, 20, "inside") == (cell, None)
    assert reserve_label_strip((0, 0, 200, 60), 20, "above") == ((0, 0, 200, 60), None)


def test_shuffled_labels_come_in_another_order_than_the_layout():
    def is_in_order(figure):
        boxes = [part.box_xyxy for part in figure.subfigures]
        return reading_order(boxes) == list(range(len(boxes)))

    assert all(map(is_in_order, figures(PageConfig(), layouts=(GRID,))))
    assert not any(map(is_in_order, figures(PageConfig(shuffled_share=1.0), layouts=(GRID,))))


def test_draws_use_every_choice_and_the_page_has_its_ground():
    config = PageConfig(pages=("white", "black", "grey"), border_px=(0, 2), fills=("fit", "crop"), outside_share=0.5)
    styles = [draw_page_style(config, np.random.default_rng(seed)) for seed in range(80)]
    assert {style.border_px for style in styles} == {0, 1, 2} and {style.fill for style in styles} == {"fit", "crop"}
    assert {style.place for style in styles} == {"inside", "above", "left", "below"}
    levels = {style.ground[0] for style in styles}
    assert {0, 255} < levels
    (figure,) = figures(PageConfig(pages=("black",)), layouts=(GRID,), number=6)
    assert figure.image.getpixel((figure.image.width - 1, 0)) == (0, 0, 0)


def test_single_images_get_neither_label_nor_marker():
    made = figures(PageConfig(), number=60, single_share=0.5)
    singles = [figure for figure in made if len(figure.subfigures) == 1]
    assert 5 < len(singles) < len(made)
    assert all(figure.subfigures[0].label == "" and figure.caption.startswith("Caption") for figure in singles)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gap_px": (3, 2)}, "`gap_px` must be two rising numbers from 0 to 100, got 3 and 2"),
        ({"border_px": (0, 11)}, "`border_px` must be two rising numbers from 0 to 10, got 0 and 11"),
        ({"pages": ("pink",)}, "`pages` must be some of white, grey, black, got 'pink'"),
        ({"fills": ()}, "`fills` must be some of fit, stretch, crop"),
        ({"outside_share": 1.5}, "`outside_share` must be from 0 to 1, got 1.5"),
    ],
)
def test_wrong_pages(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        PageConfig(**wrong)


def test_wrong_share_of_singles_and_wrong_font():
    with pytest.raises(ConfigurationError, match="`single_share` must be from 0 to 1, got -1"):
        CompositeConfig(single_share=-1)
    with pytest.raises(ConfigurationError, match="`fonts` must be font files, got nowhere.ttf"):
        figures(PageConfig(fonts=("nowhere.ttf",)))


def test_another_font_draws_other_labels_in_the_same_figures():
    path = pytest.importorskip("matplotlib.font_manager").findfont("DejaVu Serif")
    for plain, given in zip(figures(PageConfig()), figures(PageConfig(fonts=(path,))), strict=True):
        assert [part.box_xyxy for part in plain.subfigures] == [part.box_xyxy for part in given.subfigures]
        assert plain.image.tobytes() != given.image.tobytes()
