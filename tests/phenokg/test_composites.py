"""Compound figures: every image once, and a ground truth that the pixels and the caption bear out."""

import itertools
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg import composites
from phenolip.phenokg.composites import CompositeConfig, SourceImage, assign_to_figures, draw_figure_sizes, run
from phenolip.phenokg.subfigures.figure_labels import LabelStyle, choose_label_style, draw_label
from phenolip.phenokg.subfigures.layouts import Layout, rows_layout

REAL = (
    Layout("two", ((0, 0, 100, 80), (110, 0, 200, 80))),
    Layout("two touching", ((0, 0, 33.3, 50), (33.3, 0, 100, 50))),
    Layout("three", ((5, 5, 50, 300), (55, 5, 300, 150), (55, 160, 300, 300))),
    Layout("five", tuple((100 * n, 0, 100 * n + 95, 333) for n in range(5))),
)


def picture(seed, size):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def source(number, *, size=None, caption=None, group=None):
    size = size or (40 + 13 * (number % 7), 30 + 11 * (number % 5))
    return SourceImage(
        row_id=f"row {number}",
        sha256=f"{number:064x}",
        caption=caption or f"Caption number {number}" + "." * (number % 2),
        hpo_ids=(f"HP:{number:07d}", "HP:0000118"),
        open_image=lambda: picture(number, size),
        group=group,
    )


def sources(number):
    return [source(n) for n in range(number)]


def overlap(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


def check(figures, records, config):
    """The ground truth of every figure against its pixels, its caption and the records."""
    used = Counter(part.source for figure in figures for part in figure.subfigures)
    assert used == Counter(range(len(records)))
    for figure in figures:
        width, height = figure.image.size
        assert max(width, height) == config.long_side_px and figure.image.mode == "RGB"
        assert not any(overlap(a.box_xyxy, b.box_xyxy) for a, b in itertools.combinations(figure.subfigures, 2))
        assert list(figure.hpo_ids) == list(
            dict.fromkeys(hpo_id for part in figure.subfigures for hpo_id in records[part.source].hpo_ids)
        )
        for part in figure.subfigures:
            record = records[part.source]
            assert figure.caption[part.caption_start : part.caption_end] == record.caption
            before = figure.caption[: part.caption_start].rstrip()
            assert part.label in before[-3:] and part.label in part.label_text
            x0, y0, x1, y1 = part.box_xyxy
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
            is_image = np.ones((y1 - y0, x1 - x0), dtype=bool)
            if part.label_xyxy:
                left, top, right, bottom = part.label_xyxy
                assert x0 <= left < right <= x1 and y0 <= top < bottom <= y1
                is_image[top - y0 : bottom - y0, left - x0 : right - x0] = False
            found = np.asarray(figure.image.crop(part.box_xyxy))
            wanted = np.asarray(record.open_image().resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS))
            np.testing.assert_array_equal(found[is_image], wanted[is_image])


@pytest.mark.parametrize("layouts", [(), REAL], ids=["rows", "real"])
@pytest.mark.parametrize("number", [2, 3, 7, 40])
def test_ground_truth_holds(number, layouts):
    config = CompositeConfig(seed=number, layouts=layouts)
    figures = list(run(sources(number), config))
    check(figures, sources(number), config)
    assert all(2 <= len(figure.subfigures) <= 6 for figure in figures)
    letters = [part.label.upper() for figure in figures for part in figure.subfigures]
    assert letters == [chr(65 + place) for figure in figures for place in range(len(figure.subfigures))]
    assert {figure.layout for figure in figures} <= (
        {layout.name for layout in REAL} | {"rows"} if layouts else {"rows"}
    )


@pytest.mark.parametrize("layouts", [(), REAL], ids=["rows", "real"])
def test_figures_are_a_function_of_the_seed(layouts):
    def made(seed):
        figures = run(sources(12), CompositeConfig(seed=seed, layouts=layouts))
        return [(figure.image.tobytes(), figure.caption, figure.subfigures, figure.layout) for figure in figures]

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_an_image_keeps_its_shape_in_its_box():
    config = CompositeConfig(layouts=REAL)
    records = [source(n, size=(200, 100)) for n in range(9)]
    for figure in run(records, config):
        for part in figure.subfigures:
            x0, y0, x1, y1 = part.box_xyxy
            assert abs((x1 - x0) - 2 * (y1 - y0)) <= 2


@pytest.mark.parametrize("layouts", [(), REAL], ids=["rows", "real"])
def test_extreme_shapes_are_pasted_whole(layouts):
    shapes = [(1, 1), (1, 900), (900, 1), (3, 2), (260, 45), (45, 260), (2000, 1500)]
    records = [source(n, size=size) for n, size in enumerate(shapes)]
    for seed in range(5):
        config = CompositeConfig(seed=seed, layouts=layouts)
        figures = list(run(records, config))
        check(figures, records, config)
        boxes = {part.source: part.box_xyxy for figure in figures for part in figure.subfigures}
        assert boxes[1][2] - boxes[1][0] == 1 and boxes[2][3] - boxes[2][1] == 1


def test_a_single_image_is_a_figure_without_labels():
    (figure,) = run([source(0, caption="Only one")], CompositeConfig(layouts=REAL))
    (part,) = figure.subfigures
    assert figure.caption == "Only one" and (part.caption_start, part.caption_end) == (0, 8)
    assert (part.label, part.label_text, part.label_xyxy) == ("", "", None)


def test_captions_with_labels_of_their_own_are_kept_to_the_letter():
    captions = ["(A) left, (B) right", "A. one B. two A: x B: y", "(a) x (b) y\n A) B) (C)", "Figure 1 (A, B)"]
    records = [source(n, caption=caption) for n, caption in enumerate(captions)]
    config = CompositeConfig(images_per_figure=(4, 4))
    for seed in range(10):
        config = CompositeConfig(seed=seed, images_per_figure=(4, 4))
        check(list(run(records, config)), records, config)


def test_labels_avoid_what_the_captions_already_use():
    rng = np.random.default_rng(0)
    upper = ["(A) x (B) y", "A) A. A:"]
    assert not any(choose_label_style(upper, rng).is_upper for _ in range(30))
    both = [*upper, "(a) (b) a) a. a:"]  # nothing is left, so anything goes
    assert choose_label_style(both, rng).written
    only_round = {choose_label_style(["A) A. A: x", "a) a. a: y"], rng).written for _ in range(30)}
    assert only_round == {"({})"}


def test_too_many_or_no_records():
    with pytest.raises(DataError, match="`records` must hold at least one image, got none"):
        run([], CompositeConfig())
    grey = SourceImage("row 7", "", "x", (), lambda: Image.new("L", (4, 4)))
    with pytest.raises(DataError, match="Image row 7 must be decoded to RGB, got mode L"):
        list(run([grey], CompositeConfig()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"images_per_figure": (1, 3)}, "two rising numbers from 2 to 25, got 1 and 3"),
        ({"images_per_figure": (4, 3)}, "two rising numbers from 2 to 25, got 4 and 3"),
        ({"images_per_figure": (2, 26)}, "two rising numbers from 2 to 25, got 2 and 26"),
        ({"long_side_px": 255}, "`long_side_px` must be at least 256 pixels, got 255"),
        ({"layouts": REAL, "images_per_figure": (4, 4)}, "`layouts` must hold one with 4 to 4 boxes, got none"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        CompositeConfig(**wrong)


@pytest.mark.parametrize("bounds", [(2, 2), (2, 3), (2, 6), (3, 5), (4, 4), (25, 25)])
def test_no_figure_size_leaves_a_single_image(bounds):
    for number in range(2, 60):
        for seed in range(5):
            config = CompositeConfig(images_per_figure=bounds)
            sizes = draw_figure_sizes(number, config, np.random.default_rng(seed))
            assert sum(sizes) == number and min(sizes) > 1
            most = bounds[1] + (bounds[0] == bounds[1])  # room for one left over, where sizes are fixed
            assert max(sizes) <= most
            assert sum(size < bounds[0] for size in sizes) <= 1


def test_figure_sizes_follow_those_of_the_layouts():
    config = CompositeConfig(layouts=REAL)
    sizes = Counter(draw_figure_sizes(3000, config, np.random.default_rng(0)))
    assert set(sizes) <= {2, 3, 5, 4} and sizes[4] <= 1
    assert sizes[2] / sizes[5] == pytest.approx(2, rel=0.2)


def is_avoidable(groups, sizes):
    """Brute force: some assignment has no two rows of one group in a figure."""
    places = [figure for figure, size in enumerate(sizes) for _ in range(size)]
    return any(
        len(set(zip(groups, order, strict=True))) == len(groups) for order in set(itertools.permutations(places))
    )


def test_groups_are_kept_apart_wherever_that_is_possible():
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        sizes = rng.multinomial(4, [1 / 3] * 3) + 1  # 7 places in 3 figures
        groups = rng.integers(0, 5, size=7).tolist()
        figures = assign_to_figures(groups, sizes, rng)
        assert [len(rows) for rows in figures] == sizes.tolist()
        assert sorted(itertools.chain(*figures)) == list(range(len(groups)))
        clashes = sum(len(rows) - len({groups[row] for row in rows}) for rows in figures)
        assert (clashes == 0) == is_avoidable(groups, sizes)
        outcomes.add(clashes == 0)
    assert outcomes == {True, False}


def test_images_of_one_group_are_in_different_figures():
    records = [source(n, group="same" if n % 5 == 0 else None) for n in range(30)]
    figures = list(run(records, CompositeConfig()))
    assert all(sum(part.source % 5 == 0 for part in figure.subfigures) <= 1 for figure in figures)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 9, 26])
def test_rows_do_not_overlap(number):
    for seed in range(20):
        rng = np.random.default_rng([seed, number])
        layout = rows_layout(np.exp(rng.uniform(-7, 7, number)).tolist(), rng)
        assert len(layout.boxes_xyxy) == number
        assert not any(overlap(a, b) for a, b in itertools.combinations(layout.boxes_xyxy, 2))
        left, top, right, bottom = layout.extent_xyxy
        assert left >= -1e-9 and top == 0 and right <= 1 + 1e-9
        smallest = min(min(x1 - x0, y1 - y0) for x0, y0, x1, y1 in layout.boxes_xyxy)
        assert smallest * (composites.MIN_LONG_SIDE_PX - 16) / max(right, bottom) > 2  # pixels of the smallest figure


def style(**changes):
    fields = dict(drawn="{}", written="({})", is_upper=True, corner=(0, 0), cap_height=0.04, inset_px=3, is_bold=False)
    return LabelStyle(**{**fields, "ground": "none", **changes})


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("ground", ["none", "outline", "white", "black"])
@pytest.mark.parametrize("grey", [0, 255])
def test_a_label_lies_in_its_corner_and_can_be_seen(corner, ground, grey):
    canvas = Image.new("RGB", (520, 300), (grey,) * 3)
    box = (100, 50, 300, 250)
    left, top, right, bottom = draw_label(canvas, box, "(A)", style(corner=corner, ground=ground))
    gaps = (box[2] - right if corner[0] else left - box[0], box[3] - bottom if corner[1] else top - box[1])
    assert gaps == (3, 3)
    changed = np.abs(np.asarray(canvas).astype(int) - grey).max(axis=2) > 0
    rows, columns = np.nonzero(changed)
    assert left <= columns.min() and columns.max() < right and top <= rows.min() and rows.max() < bottom
    inside = np.asarray(canvas.convert("L"))[top:bottom, left:right]
    assert int(inside.max()) - int(inside.min()) > 200


def test_a_label_on_a_busy_ground_gets_a_patch():
    noise = np.random.default_rng(0).integers(0, 2, (300, 520, 3), dtype=np.uint8) * 255
    canvas = Image.fromarray(noise)
    left, top, right, bottom = draw_label(canvas, (0, 0, 520, 300), "A", style())
    edge = np.asarray(canvas.convert("L"))[top:bottom, left:right]
    assert np.isin(edge, (edge[0, 0], 255 - edge[0, 0])).mean() > 0.5 and edge[0, 0] in (0, 255)
    assert (edge == edge[0, 0]).mean() > 0.3


def test_no_label_in_a_box_too_small_for_one():
    canvas = Image.new("RGB", (520, 300), "white")
    assert draw_label(canvas, (10, 10, 18, 200), "(A)", style()) is None
    assert np.asarray(canvas).min() == 255
    small = draw_label(canvas, (10, 10, 70, 40), "A", style(cap_height=0.1))  # shrunk until it fits
    assert small is not None and small[3] - small[1] <= 15


def test_import_needs_neither_torch_nor_datasets():
    code = "import sys, phenolip.phenokg.composites; assert not {'torch', 'datasets'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
