"""Boxes to captions: printed labels, order, place words and similarity; what they decide and what stays open."""

import itertools
import json
import string

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from phenolip.cli import main
from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.align_captions import AlignConfig, align, align_caption, chosen_parts, run
from phenolip.phenokg.alignment.assign_labels import assign_labels, assignment_total
from phenolip.phenokg.alignment.label_order import in_label_order
from phenolip.phenokg.alignment.other_series import possible_splits
from phenolip.phenokg.alignment.position_words import position_scores
from phenolip.phenokg.alignment.share_labels import share_labels
from phenolip.phenokg.records import AlignedBoxes, CaptionedBoxes, Drop, SplitCaption, Subcaption
from phenolip.phenokg.subfigures.box_order import Order, cut_order, possible_orders

GRID = [(10, 10, 190, 140), (210, 10, 390, 140), (10, 160, 190, 290), (210, 160, 390, 290)]


def split(*labels, texts=None):
    parts = zip(labels, texts or [""] * len(labels), strict=True)
    return SplitCaption("f", (), tuple(Subcaption(label, 0, len(text), text) for label, text in parts))


def labels_of(boxes):
    return [found.label for found in boxes]


def figure(labels, boxes=GRID, *, page="white", inside=True, size=22):
    """Soft grey images with a label each, in the upper left corner or above it."""
    canvas = Image.new("RGB", (400, 300), page)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size)
    rng = np.random.default_rng(0)
    for label, (x0, y0, x1, y1) in zip(labels, boxes, strict=True):
        soft = rng.integers(60, 150, (4, 5), dtype=np.uint8)
        canvas.paste(Image.fromarray(soft).resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC), (x0, y0))
        place, ink = ((x0 + 5, y0 + 3), "white") if inside else ((x0, y0 - size - 3), "black")
        draw.text(place, label, fill=ink, font=font)
    return canvas


def test_without_a_picture_labels_follow_the_rows():
    shuffled = [GRID[place] for place in (3, 1, 0, 2)]
    found = align(None, shuffled, split(*"ABCD"))
    assert labels_of(found) == ["D", "B", "A", "C"]
    assert [one.box for one in found] == shuffled
    assert all(0.5 < one.confidence < 1 for one in found)
    # whatever the order in which the caption names them
    assert labels_of(align(None, shuffled, split(*"ACBD"))) == ["D", "B", "A", "C"]


@pytest.mark.parametrize("order", ["DBCA", "CABD", "BADC"])
@pytest.mark.parametrize("template", ["{}", "({})", "{})"])
def test_printed_labels_win_over_the_order(order, template):
    picture = figure([template.format(letter) for letter in order])
    found = align(picture, GRID, split(*"ABCD"))
    assert labels_of(found) == list(order) and min(one.confidence for one in found) > 0.9
    unread = align(picture, GRID, split(*"ABCD"), config=AlignConfig(read_labels=False))
    assert labels_of(unread) == list("ABCD")


def test_case_and_labels_outside_of_the_images():
    assert labels_of(align(figure("dbca"), GRID, split(*"ABCD"))) == list("DBCA")
    boxes = [(10, 40, 190, 140), (210, 40, 390, 140), (10, 190, 190, 290), (210, 190, 390, 290)]
    outside = figure("bdac", boxes, inside=False)
    assert labels_of(align(outside, boxes, split(*"abcd"))) == list("bdac")


def test_labels_of_several_characters():
    order = ["A2", "B1", "B2", "A1"]
    assert labels_of(align(figure(order), GRID, split("A1", "A2", "B1", "B2"))) == order


def test_of_nested_labels_the_inner_ones_are_matched():
    parts = split("A", "A1", "A2", "B").subcaptions
    assert [part.label for part in chosen_parts(parts, 3)] == ["A1", "A2", "B"]
    assert len(chosen_parts(parts, 4)) == 4
    assert [part.label for part in chosen_parts(split("i", "ii", "v").subcaptions, 2)] == ["i", "ii", "v"]
    # "A1" is printed where the caption only says "A"
    assert labels_of(align(figure(["B1", "A1"], GRID[:2]), GRID[:2], split("A", "B"))) == ["B", "A"]


def test_fewer_boxes_than_labels_need_what_is_printed():
    found = align(figure("DB", GRID[:2]), GRID[:2], split(*"ABCD"))
    assert labels_of(found) == ["D", "B"]
    blind = align(None, GRID[:2], split(*"ABCDEFGH"))
    assert labels_of(blind) == ["", ""] and all(one.confidence < 0.5 for one in blind)


def test_more_boxes_than_labels_share_them_in_runs():
    picture = figure(["A", "", "B", ""])
    assert labels_of(align(picture, GRID, split("A", "B"))) == ["A", "A", "B", "B"]
    assert labels_of(align(figure(["A", "A", "A", "B"]), GRID, split("A", "B"))) == ["A", "A", "A", "B"]


def test_place_words_decide_against_the_order():
    parts = split("A", "B", texts=["lower panel shows x", "upper panel shows y"])
    stacked = [(0, 0, 100, 50), (0, 60, 100, 110)]
    assert labels_of(align(None, stacked, parts)) == ["B", "A"]
    anatomy = split("A", "B", texts=["lower lobe of the lung", "upper lobe of the lung"])
    assert labels_of(align(None, stacked, anatomy)) == ["A", "B"]
    corners = split("bottom right", "top left", "top right", "bottom left")
    assert labels_of(align(None, GRID, corners)) == ["top left", "top right", "bottom left", "bottom right"]


def test_place_words_score_only_the_axis_they_name():
    scores = position_scores(GRID, ["left", "right", "A"], ["", "", "lung"])
    assert scores[0, 0] == scores[2, 0] > scores[1, 0] and (scores[:, 2] == 0).all()
    assert position_scores(GRID, ["A", "B"], ["left lung", "right lung"]) is None
    row = [(0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)]
    middle = position_scores(row, ["middle", "top"], ["", ""])
    assert middle[:, 0].argmax() == 1 and (middle[:, 1] == 0).all()  # one row has no top


def test_similarity_is_weighed_and_checked():
    def prefers_swapped(images, texts):
        assert [image.size for image in images] == [(180, 130)] * 2 and texts == ["one", "two"]
        return np.array([[0.0, 30.0], [30.0, 0.0]])

    blank = Image.new("RGB", (400, 300))
    parts = split("A", "B", texts=["one", "two"])
    assert labels_of(align(blank, GRID[:2], parts, prefers_swapped)) == ["B", "A"]
    assert labels_of(align(blank, GRID[:2], parts, lambda images, texts: np.zeros((2, 2)))) == ["A", "B"]
    with pytest.raises(ConfigurationError, match=r"`similarity` must give finite numbers of shape \(2, 2\), got"):
        align(blank, GRID[:2], parts, lambda images, texts: np.zeros((2, 3)))
    with pytest.raises(ConfigurationError, match="finite"):
        align(blank, GRID[:2], parts, lambda images, texts: np.full((2, 2), np.nan))


def test_captions_without_labels_hold_for_all_boxes():
    found = align(figure("ABCD"), GRID, split())
    assert [(one.label, one.confidence) for one in found] == [("", 1.0)] * 4


def test_what_is_unsure_is_left_to_the_whole_caption():
    sure = align(None, GRID, split(*"ABCD"))
    confidence = sure[0].confidence
    left = align(None, GRID, split(*"ABCD"), config=AlignConfig(min_confidence=min(1.0, confidence + 0.001)))
    assert left[0].label == "" and left[0].confidence == confidence


def test_the_printed_series_of_labels_is_taken():
    caption = "(A) Skin (a) before, (b) during and (c) after. (B) Eye. (C) Ear. (D) Nose."
    assert [len(one.subcaptions) for one in possible_splits(caption)] == [4, 3]
    chosen, found = align_caption(figure("DBCA"), GRID, caption)
    assert labels_of(found) == list("DBCA") and chosen.subcaptions[0].label == "A"
    chosen, found = align_caption(figure("cab", GRID[:3]), GRID[:3], caption)
    assert labels_of(found) == list("cab")
    text = {part.label: caption[part.start : part.end] for part in chosen.subcaptions}
    assert "before" in text["a"] and "during" in text["b"]
    assert len(possible_splits("(A) Skin. (B) Eye.")) == 1 and not possible_splits("Skin.")[0].subcaptions


def brute_force(styles, orders):
    """Every assignment under every style and order; the best, and the margin of each box."""
    totals = {}
    num, num_labels = styles[0].shape
    for style, order in itertools.product(styles, orders):
        for columns in itertools.permutations(range(num_labels), num):
            total = order.log_share + sum((style + order.scores)[box, column] for box, column in enumerate(columns))
            totals[columns] = max(total, totals.get(columns, -np.inf))
    best = max(totals, key=totals.get)
    others = [max((t for c, t in totals.items() if c[box] != best[box]), default=-np.inf) for box in range(num)]
    return best, totals[best] - np.array(others)


@pytest.mark.parametrize(("num", "num_labels"), [(1, 1), (1, 3), (2, 2), (3, 3), (3, 5), (4, 4)])
def test_assignment_and_margins_are_those_of_all_assignments(num, num_labels):
    rng = np.random.default_rng(num * 10 + num_labels)
    for _ in range(8):
        styles = [rng.normal(0, 2, (num, num_labels)) for _ in range(3)]
        orders = [Order("o", rng.normal(), rng.normal(0, 1, (num, num_labels)), ()) for _ in range(2)]
        chosen, margins = assign_labels(styles, orders)
        best, expected = brute_force(styles, orders)
        assert tuple(chosen) == best
        np.testing.assert_allclose(margins, expected)
        flat = Order("o", 0.0, np.zeros((num, num_labels)), ())
        assert assignment_total(styles[0]) == pytest.approx(
            max(sum(styles[0][b, c] for b, c in enumerate(p)) for p in itertools.permutations(range(num_labels), num))
        )
        assert assign_labels(styles[:1], [flat])[0].shape == (num,)


def test_shared_labels_are_those_of_all_runs():
    from phenolip.phenokg.alignment import share_labels as module

    def total(scores, order, labelling):
        num_labels = scores.shape[1]
        skips = module._SKIPS - np.log(max(1, num_labels - 1))
        value = sum(scores[box, label] for box, label in zip(order, labelling, strict=True))
        value += 0.0 if labelling[0] == 0 else skips
        value += 0.0 if labelling[-1] == num_labels - 1 else module._SKIPS
        for place, (one, other) in enumerate(itertools.pairwise(labelling), 1):
            value += module._GOES_ON if one == other else module._NEXT if other == one + 1 else skips
            is_unread = scores[order[place], other] < module._READ
            value += module._UNREAD_START if one != other and is_unread else 0.0
        return value

    rng = np.random.default_rng(0)
    for num, num_labels in ((3, 2), (5, 3), (4, 3)):
        scores, order = rng.normal(0, 2, (num, num_labels)), rng.permutation(num).tolist()
        chosen, margins = share_labels(scores, order)
        totals = {one: total(scores, order, one) for one in itertools.product(range(num_labels), repeat=num)}
        best = max(totals, key=totals.get)
        assert [chosen[box] for box in order] == list(best)
        for place, box in enumerate(order):
            other = max(value for one, value in totals.items() if one[place] != best[place])
            assert margins[box] == pytest.approx(totals[best] - other)


def test_boxes_are_cut_into_rows_and_columns():
    rng = np.random.default_rng(0)
    for columns, rows in itertools.product(range(1, 5), range(1, 5)):
        cells = [
            (100 * x, 80 * y, 100 * x + 80 + int(rng.integers(0, 15)), 80 * y + 60 + int(rng.integers(0, 15)))
            for y in range(rows)
            for x in range(columns)
        ]
        mixed = rng.permutation(len(cells)).tolist()
        boxes = [cells[place] for place in mixed]
        assert [mixed[place] for place in cut_order(boxes)] == list(range(len(cells)))
        across = [y * columns + x for x in range(columns) for y in range(rows)]
        assert [mixed[place] for place in cut_order(boxes, by_rows=False)] == across
    pinwheel = [(0, 0, 60, 30), (70, 0, 100, 60), (40, 70, 100, 100), (0, 40, 30, 100)]  # no straight gutter
    assert sorted(cut_order(pinwheel)) == [0, 1, 2, 3] and cut_order(pinwheel)[0] == 0
    assert cut_order([(0, 0, 10, 10), (0, 0, 10, 10)]) == [0, 1]


def test_orders_by_rows_and_columns():
    by_name = {order.name: order for order in possible_orders(GRID, 4)}
    assert by_name["rows"].scores.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert by_name["columns"].scores.argmax(axis=1).tolist() == [0, 2, 1, 3]
    assert np.ptp(by_name["none"].scores) == 0
    shares = sum(np.exp(order.log_share) for order in by_name.values())
    assert shares == pytest.approx(1)
    assert [order.name for order in possible_orders(GRID[:2], 2)] == ["rows", "none"]  # a row is no column
    # as a distribution over all assignments, "none" gives each the same share
    assert np.exp(by_name["none"].scores[0, 0] * 4) == pytest.approx(1 / 24)
    short = {order.name: order for order in possible_orders(GRID[:2], 4)}
    assert (short["rows"].scores[0, :3] > short["rows"].scores[0, 3]).all()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("CAB", ["A", "B", "C"]),
        (["A10", "B", "A2"], ["A2", "A10", "B"]),
        (["ix", "iv", "i", "v"], ["i", "iv", "v", "ix"]),
        (["c", "i", "d"], ["c", "d", "i"]),
        (["10", "9", "1"], ["1", "9", "10"]),
        (["right", "left"], ["right", "left"]),
        (["B", "left", "A"], ["B", "left", "A"]),
        ([], []),
    ],
)
def test_labels_are_put_in_order(labels, expected):
    assert [labels[place] for place in in_label_order(labels)] == expected


@pytest.fixture
def folder(tmp_path):
    figure("BADC").save(tmp_path / "a figure.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    return tmp_path


CAPTION = "(A) Liver. (B) Lung. (C) Heart. (D) Skin."


def record(folder, name="a figure.png", caption=CAPTION, boxes=GRID):
    return CaptionedBoxes(str(folder), name, caption, tuple(boxes))


def test_every_record_is_aligned_or_dropped_with_its_reason(folder):
    handed_on = Drop("before", "key", "reason")
    records = [
        record(folder),
        handed_on,
        record(folder, boxes=()),
        record(folder, boxes=[(5, 5, 5, 9)]),
        record(folder, boxes=[(500, 0, 600, 9)]),
        record(folder, boxes=GRID * 60),
        record(folder, name="broken.png"),
        record(folder, name="missing.png"),
        record(folder, name="../secret.png"),
        record(folder, name="/etc/passwd"),
        record(folder, name="a\0.png"),
        record(folder, name="missing.png", caption="No labels here."),
    ]
    found = list(run(records, AlignConfig()))
    assert isinstance(found[0], AlignedBoxes) and labels_of(found[0].boxes) == list("BADC")
    assert found[1] is handed_on
    assert [one.reason for one in found[2:11]] == [
        *("no_boxes", "bad_box", "bad_box", "too_many_boxes", "no_image", "no_image"),
        *("unsafe_path", "unsafe_path", "unsafe_path"),
    ]
    assert labels_of(found[11].boxes) == [""] * 4  # nothing to be read for


def test_the_command(folder):
    row = {"file_name": "a figure.png", "caption": CAPTION, "boxes": GRID, "more": 1}
    (folder / "in.jsonl").write_text(json.dumps(row))
    output = folder / "out" / "aligned.jsonl"
    arguments = ["kg", "run", "align_captions", "--output", str(output)]
    assert main([*arguments, "--input", str(folder / "in.jsonl")]) == 0
    made = json.loads(output.read_text())
    assert [one["label"] for one in made["boxes"]] == list("BADC")
    assert set(made["boxes"][0]) == {"box", "label", "confidence"} and made["file_name"] == "a figure.png"
    elsewhere = folder / "rows"
    elsewhere.mkdir()
    (elsewhere / "in.jsonl").write_text(json.dumps(row))
    assert main([*arguments, "--input", str(elsewhere / "in.jsonl"), "--images", str(folder)]) == 0
    assert [one["label"] for one in json.loads(output.read_text())["boxes"]] == list("BADC")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_confidence": 1.1}, "`min_confidence` must be from 0 to 1, got 1.1"),
        ({"max_boxes": 0}, "`max_boxes` must be at least 1, got 0"),
        ({"images": "nowhere"}, "`images` must be a folder, got nowhere"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        AlignConfig(**wrong)


def test_hostile_captions_and_pictures_end_soon():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8))
    boxes = [(x, y, x + 90, y + 90) for y in range(0, 300, 100) for x in range(0, 300, 100)]
    assert len(align(noise, boxes, split(*string.ascii_uppercase[:9]))) == 9
    assert len(possible_splits("(a) " * 3000)) >= 1 and len(possible_splits("(" * 20000)) == 1
    tiny = align(Image.new("RGB", (1, 1)), [(0, 0, 1, 1)], split("A"))
    assert labels_of(tiny) == ["A"]


def test_a_caption_of_too_many_labels_is_a_drop():
    many = " ".join(f"({letter}{number}) Eye." for letter in "ABCDEFGHIJKLM" for number in range(1, 10))
    records = [CaptionedBoxes("", "many.png", many, tuple(GRID)), CaptionedBoxes("", "f.png", "", tuple(GRID))]
    drop, made = run(records, AlignConfig(read_labels=False))
    assert (drop.key, drop.reason) == ("many.png", "too_many_labels") and made.file_name == "f.png"
