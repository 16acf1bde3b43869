"""Figures drawn in code, whose boxes are known; what must not change what is found; hostile sizes."""

import numpy as np
import pytest
from PIL import Image

from phenolip.phenokg.subfigures.layout_boxes import boxes_of_parts, without_crumbs
from phenolip.phenokg.subfigures.layout_cuts import Figure, FigureMaps, cut_figure, whole_figure
from phenolip.phenokg.subfigures.layout_islands import _is_one_whole, _islands, find_islands
from phenolip.phenokg.subfigures.layout_subfigures import find_subfigures, load_detector
from phenolip.phenokg.subfigures.separator_features import Places, Style, find_places
from phenolip.phenokg.subfigures.separator_maps import BLOCK_PX, TRAITS, find_page_level, make_maps
from phenolip.phenokg.subfigures.separator_scores import SeparatorScorer, load_scorer

GRID = [(0, 0, 150, 120), (156, 0, 300, 120), (0, 126, 150, 260), (156, 126, 300, 260)]
PIN_WHEEL = [(0, 0, 190, 90), (196, 0, 290, 190), (100, 196, 290, 290), (0, 96, 94, 290), (100, 96, 190, 190)]


def texture(width, height, seed):
    """A smooth random picture: no straight edges, brightness of its own."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6)).astype(np.uint8))
    values = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    values = (values - 128) / 4 + rng.normal(0, 3, values.shape) + (75, 185, 130)[seed % 3]
    return np.clip(values, 30, 225).astype(np.uint8)


def drawn(boxes, page, size=None, margin=0):
    width, height = size or (max(box[2] for box in boxes), max(box[3] for box in boxes))
    canvas = np.full((height + 2 * margin, width + 2 * margin), page, np.uint8)
    for seed, (x0, y0, x1, y1) in enumerate(boxes):
        canvas[y0 + margin : y1 + margin, x0 + margin : x1 + margin] = texture(x1 - x0, y1 - y0, seed)
    return canvas


def found_in(grey):
    return find_subfigures(Image.fromarray(grey).convert("RGB"))


def iou(one, other):
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (area - shared)


def assert_same(found, expected, at_least=0.95):
    assert len(found) == len(expected), found
    for box in expected:
        assert max(iou(box, other) for other in found) >= at_least, (box, found)


@pytest.mark.parametrize("page", [255, 0, 128])
def test_a_grid_on_any_page(page):
    assert_same(found_in(drawn(GRID, page)), GRID)


@pytest.mark.parametrize("page", [255, 0, 90])
def test_rows_of_unequal_images_with_a_page_margin(page):
    boxes = [(0, 0, 90, 100), (98, 0, 300, 100), (0, 108, 200, 240), (208, 108, 300, 240), (0, 248, 300, 330)]
    expected = [tuple(value + 12 for value in box) for box in boxes]
    assert_same(found_in(drawn(boxes, page, margin=12)), expected)


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_no_gap_and_thin_gaps(gap):
    boxes = [(0, 0, 160, 140), (160 + gap, 0, 320 + gap, 140), (0, 140 + gap, 320 + gap, 300)]
    assert_same(found_in(drawn(boxes, 255)), boxes)


def test_a_single_image_stays_whole():
    whole = (0, 0, 320, 260)
    assert found_in(texture(320, 260, 5)) == [whole]
    y, x = np.mgrid[:260, :320]
    scan = np.where(((x - 160) / 110) ** 2 + ((y - 130) / 100) ** 2 < 1, texture(320, 260, 6), 3).astype(np.uint8)
    assert found_in(scan) == [whole]
    assert found_in(255 - scan) == [whole]
    assert found_in(np.full((260, 320), 255, np.uint8)) == [whole]


def test_a_pin_wheel():
    assert_same(found_in(drawn(PIN_WHEEL, 255)), PIN_WHEEL)


def test_a_label_beside_an_image_is_no_part_of_it():
    boxes = [(30, 0, 200, 150), (240, 0, 410, 150)]
    canvas = drawn(boxes, 255)
    canvas[2:14, 6:16] = canvas[2:14, 214:224] = 0
    assert_same(found_in(canvas), boxes)


def test_scans_on_black_reach_to_the_straight_edges_in_line_with_them():
    """The upper left scan shows only its middle; its neighbours say where it begins and ends."""
    canvas = drawn(GRID, 0)
    x0, y0, x1, y1 = GRID[0]
    y, x = np.mgrid[y0:y1, x0:x1]
    canvas[y0:y1, x0:x1][((x - 75) / 50) ** 2 + ((y - 60) / 50) ** 2 > 1] = 0
    found = found_in(canvas)
    assert len(found) == 4
    assert max(iou(box, GRID[0]) for box in found) > 0.9


@pytest.mark.parametrize("shift", [-20, 20])
def test_brightness_does_not_matter(shift):
    canvas = drawn(GRID, 128)
    assert found_in((canvas.astype(int) + shift).astype(np.uint8)) == found_in(canvas)


@pytest.mark.parametrize("boxes", [GRID, PIN_WHEEL])
def test_a_transposed_figure_has_transposed_boxes(boxes):
    canvas = drawn(boxes, 255)
    transposed = sorted((y0, x0, y1, x1) for x0, y0, x1, y1 in found_in(canvas))
    assert sorted(found_in(np.ascontiguousarray(canvas.T))) == transposed


def test_boxes_lie_in_the_image_apart_and_in_reading_order():
    rng = np.random.default_rng(3)
    for number in range(12):
        width, height = (int(side) for side in rng.integers(40, 400, 2))
        canvas = rng.integers(0, 256, (height, width)).astype(np.uint8)
        for _ in range(number):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            canvas[y : y + 60, x : x + 80] = rng.choice([0, 128, 255])
        boxes = found_in(canvas)
        area = np.zeros((height, width), int)
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
            area[y0:y1, x0:x1] += 1
        assert area.max() == 1
    assert found_in(drawn(GRID, 255)) == sorted(found_in(drawn(GRID, 255)), key=lambda box: (box[1] > 60, box[0]))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (15, 15), (16, 16), (17, 900), (2400, 20)])
def test_strange_sizes_are_whole(size):
    assert find_subfigures(Image.new("RGB", size, "white")) == [(0, 0, *size)]


def test_large_figures_are_looked_at_in_a_smaller_size():
    canvas = drawn(GRID, 255)
    large = Image.fromarray(canvas).resize((2400, 2080), Image.Resampling.NEAREST).convert("RGB")
    assert_same(find_subfigures(large), [tuple(value * 8 for value in box) for box in GRID])


def test_the_back_end_takes_several_images():
    images = [Image.fromarray(drawn(GRID, 255)).convert("RGB"), Image.new("RGB", (40, 30))]
    found = load_detector(None)(images)
    assert len(found[0]) == 4 and found[1] == [(0, 0, 40, 30)]


def test_maps_are_means_over_blocks_of_rows():
    grey = np.random.default_rng(0).integers(0, 256, (5 * BLOCK_PX + 3, 50)).astype(np.uint8)
    means = make_maps(grey, page=100).means(BLOCK_PX - 3, 4 * BLOCK_PX + 5, 0, 50)
    rows = grey[BLOCK_PX : 4 * BLOCK_PX].astype(float)
    assert list(means) == list(TRAITS)
    assert np.allclose(means["white"], (rows >= 233).mean(0))
    assert np.allclose(means["black"], (rows <= 22).mean(0))
    assert np.allclose(means["page"], (abs(rows - 100) <= 10).mean(0))
    assert np.allclose(means["mean"], rows.mean(0) / 255, atol=1e-5)
    change = abs(np.diff(grey.astype(int), axis=1))
    assert np.allclose(means["gradient"][1:], change[BLOCK_PX : 4 * BLOCK_PX].mean(0), atol=1e-3)
    above = abs(np.diff(grey.astype(int), axis=0))[BLOCK_PX - 1 : 4 * BLOCK_PX - 1]
    assert np.allclose(means["smooth"], (above <= 4).mean(0))
    beside = np.maximum(change[:, :-2], change[:, 2:])
    is_step = (change[:, 1:-1] - beside > 8)[BLOCK_PX : 4 * BLOCK_PX]
    assert np.allclose(means["step"][2:-1], is_step.mean(0))


def test_thin_lines_of_each_width_are_seen():
    grey = np.full((2 * BLOCK_PX, 60), 100, np.uint8)
    grey[:, 10], grey[:, 20:22], grey[:, 30:33], grey[:, 40:44], grey[:, 50] = 200, 200, 200, 200, 0
    means = make_maps(grey, page=-1).means(0, 2 * BLOCK_PX, 0, 60)
    assert np.flatnonzero(means["bright_line"]).tolist() == [10, 20, 21, 30, 31, 32]
    assert np.flatnonzero(means["dark_line"])[-1] == 50
    assert not means["page"].any()


def test_rows_are_worked_on_in_strips_of_any_number(monkeypatch):
    grey = np.random.default_rng(1).integers(0, 256, (130, 90)).astype(np.uint8)
    whole = make_maps(grey, 100).sums
    monkeypatch.setattr("phenolip.phenokg.subfigures.separator_maps._STRIP_PIXELS", 1)
    assert np.array_equal(make_maps(grey, 100).sums, whole)


def test_the_page_level():
    assert find_page_level(drawn(GRID, 140, size=(320, 280), margin=4)) == 140
    assert find_page_level(drawn(GRID, 0)) == -1 or find_page_level(drawn(GRID, 0)) > 22
    assert find_page_level(np.full((20, 20), 255, np.uint8)) == -1


def test_a_gutter_is_one_place_and_its_ends_are_seams():
    grey = drawn([(0, 0, 60, 80), (72, 0, 130, 80)], 255)
    places = find_places(make_maps(grey, -1), (0, 130), (0, 80), Style(), 130)
    is_gutter = places.colours >= 0
    assert [(places.starts[row], places.ends[row]) for row in np.flatnonzero(is_gutter)] == [(60, 72)]
    seams = set(places.starts[~is_gutter].tolist())
    assert {60, 72} <= seams and not seams & set(range(61, 72))
    assert np.isfinite(places.features).all()


def test_a_seam_that_anybody_sees():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.integers(60, 110, (20, 1)), 8, axis=0)
    other = np.repeat(rng.integers(150, 200, (20, 1)), 8, axis=0)
    grey = np.concatenate([np.repeat(rows, 70, axis=1), np.repeat(other, 90, axis=1)], axis=1).astype(np.uint8)
    places = find_places(make_maps(grey, -1), (0, 160), (0, 160), Style(), 160)
    assert places.starts[places.are_plain].tolist() == [70]
    single = np.repeat(rows, 160, axis=1)
    single[:, 70:] += 60  # the same rows on both sides: a bright half of one image
    found = find_places(make_maps(single.astype(np.uint8), -1), (0, 160), (0, 160), Style(), 160)
    assert not found.are_plain.any()


def test_places_know_the_lines_elsewhere():
    places = Places(np.array([50, 100]), np.array([50, 110]), np.array([-1, 0]), np.zeros((2, 3), np.float32))
    assert places.with_lines([])[:, 3:].tolist() == [[0, 0], [0, 0]]
    assert places.with_lines([(104, 106)])[:, 3:].tolist() == [[0, 1], [1, 1]]
    assert places.with_lines([(53, 56)])[:, 3:].tolist() == [[0.75, 1], [0, 1]]


def test_cutting_ends_whatever_the_network_says():
    """A network that calls every place a separator cuts as far as parts may be small, and no further."""
    rng = np.random.default_rng(0)
    maps = FigureMaps(rng.integers(0, 256, (200, 300)).astype(np.uint8))
    width = load_scorer().mean.shape[0]
    always = SeparatorScorer(
        np.zeros(width, np.float32), np.ones(width, np.float32), [(np.zeros((width, 1), np.float32), np.ones(1))]
    )
    parts, cuts = cut_figure(maps, always, 0.0, 0.0)
    assert len(parts) == len(cuts) + 1 <= 201
    assert cut_figure(maps, always, 2.0, 2.0)[0] == [whole_figure(300, 200)]
    assert boxes_of_parts(maps, *cut_figure(maps, always, 2.0, 2.0)) == [(0, 0, 300, 200)]


def test_the_scorer_is_its_layers_and_survives_a_file(tmp_path):
    layers = [(np.array([[1.0, -1.0]], np.float32), np.array([0.0, 0.5])), (np.array([[2.0], [3.0]]), np.array([1.0]))]
    scorer = SeparatorScorer(np.array([1.0], np.float32), np.array([2.0], np.float32), layers)
    inputs = np.array([[5.0], [1.0]], np.float32)  # 2 and 0 standard deviations
    assert scorer(inputs).tolist() == [2 * 2 + 3 * 0 + 1, 2 * 0 + 3 * 0.5 + 1]
    scorer.save(tmp_path / "weights.json")
    assert load_scorer(tmp_path / "weights.json")(inputs).tolist() == scorer(inputs).tolist()


def test_islands_must_fill_their_rectangles():
    canvas = drawn(PIN_WHEEL, 255)
    assert_same(find_islands(FigureMaps(canvas), (0, 0, 290, 290)), PIN_WHEEL)
    y, x = np.mgrid[:290, :290]
    round_ones = np.where((x // 97 * 97 + 48 - x) ** 2 + (y // 97 * 97 + 48 - y) ** 2 < 45**2, 80, 255)
    assert find_islands(FigureMaps(round_ones.astype(np.uint8)), (0, 0, 290, 290)) == []


def test_a_figure_looks_at_each_part_once():
    figure = Figure(FigureMaps(drawn(GRID, 255)))
    part = whole_figure(300, 260)
    assert figure.look_at(part)[1][0] is figure.look_at(part)[1][0]


def test_a_first_look_at_solid_squares_never_changes_what_the_islands_are(monkeypatch):
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(30):
        ink = np.ones((80, 100), bool)
        for _ in range(int(rng.integers(0, 5))):
            place = int(rng.integers(4, 76))
            ink[(slice(place, place + 1), slice(None))[:: int(rng.choice([1, -1]))]] = False
        first_look, answer = _is_one_whole(ink), _islands(ink)
        with monkeypatch.context() as patch:
            patch.setattr("phenolip.phenokg.subfigures.layout_islands._is_one_whole", lambda ink: False)
            assert _islands(ink) == answer
        seen.append((first_look, bool(answer)))
    assert {(True, False), (False, False), (False, True)} == set(seen)


def test_one_whole_leaves_no_room_beside_it():
    canvas = drawn(PIN_WHEEL, 255)[::2, ::2] < 233
    assert not _is_one_whole(canvas) and len(_islands(canvas)) == 5
    bar = np.zeros((60, 90), bool)
    bar[:, :79] = True  # beside it is room for an island
    assert not _is_one_whole(bar)
    bar[:, :84] = True
    assert _is_one_whole(bar)


def test_crumbs_are_tiny_in_the_figure_and_beside_the_others():
    large = [(0, 0, 100, 100), (100, 0, 200, 100)]
    assert without_crumbs([*large, (0, 100, 18, 118)], (200, 120)) == large  # 1.4 % of the figure
    assert len(without_crumbs([*large, (0, 100, 25, 120)], (200, 120))) == 3  # 2.1 %
    small = [(10 * place, 0, 10 * place + 10, 10) for place in range(9)]
    assert without_crumbs(small, (900, 900)) == small  # all of them are small
    assert without_crumbs([], (10, 10)) == []


def test_cuts_of_what_is_mostly_white_must_be_surer():
    width = load_scorer().mean.shape[0]
    scorer = SeparatorScorer(
        np.zeros(width, np.float32), np.ones(width, np.float32), [(np.zeros((width, 1), np.float32), np.full(1, 0.5))]
    )
    dark, white = np.full((100, 200), 120, np.uint8), np.full((100, 200), 255, np.uint8)
    for canvas in (dark, white):
        canvas[10:90, 10:30] = canvas[10:90, 170:190] = 40
    maps = FigureMaps(dark), FigureMaps(white)
    assert maps[0].white_share((0, 0, 200, 96)) == 0 and 0.8 < maps[1].white_share((0, 0, 200, 96)) < 0.9
    assert len(cut_figure(maps[0], scorer, 0.0, 0.0)[1]) > 0 == len(cut_figure(maps[1], scorer, 0.0, 0.0)[1])
