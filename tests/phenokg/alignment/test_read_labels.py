"""Printed labels: letters are found where they were drawn, read in several looks, and told from what images bring."""

import string

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from phenolip.phenokg.alignment.glyph_candidates import PATCH_PX, find_glyphs
from phenolip.phenokg.alignment.glyph_reader import CHARACTERS, load_weights, read_glyphs
from phenolip.phenokg.alignment.read_labels import LabelReader


def drawn(text, *, ink="white", page="black", size=30, at=(20, 15)):
    canvas = Image.new("RGB", (400, 100), page)
    ImageDraw.Draw(canvas).text(at, text, fill=ink, font=ImageFont.load_default(size))
    return np.asarray(canvas)


def glyphs_of(pixels):
    return find_glyphs(pixels, np.ones(pixels.shape[:2], dtype=bool))


@pytest.mark.parametrize(
    ("ink", "page"), [("white", "black"), ("black", "white"), ("red", "white"), ("yellow", "black"), ("#222", "#999")]
)
def test_a_letter_is_found_where_it_is(ink, page):
    pixels = drawn("H", ink=ink, page=page)
    rows, columns = np.nonzero(np.abs(pixels.astype(int) - pixels[0, 0]).max(axis=2) > 60)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    found = glyphs_of(pixels)
    assert np.abs(found.boxes - box).max(axis=1).min() <= 1
    assert found.patches.shape[1] == PATCH_PX**2 and found.patches.min() >= 0 and found.patches.max() <= 1


def test_an_i_has_its_dot_and_nothing_is_found_where_it_is_not_allowed():
    pixels = drawn("i")
    rows = np.nonzero(pixels.max(axis=(1, 2)) > 128)[0]
    heights = glyphs_of(pixels).boxes[:, 3] - glyphs_of(pixels).boxes[:, 1]
    assert heights.max() >= rows.max() - rows.min()
    assert len(find_glyphs(pixels, np.zeros(pixels.shape[:2], dtype=bool)).boxes) == 0


@pytest.mark.parametrize("size", [22, 40])
@pytest.mark.parametrize("letters", [string.ascii_uppercase, string.ascii_lowercase])
def test_letters_are_read(letters, size):
    """At least nine in ten, case aside, in a font that is no more than one of those of the training."""
    right = 0
    for letter in letters:
        found = glyphs_of(drawn(letter, size=size))
        log_p = read_glyphs(found.patches)
        assert np.exp(log_p).sum(axis=1) == pytest.approx(1, abs=1e-4)
        surest = log_p[:, :-1].max(axis=1).argmax()
        right += CHARACTERS[log_p[surest, :-1].argmax()].lower() == letter.lower()
    assert right >= 0.9 * len(letters)


def test_weights_are_plain_arrays_and_small():
    weights = load_weights()
    assert weights["hidden"].shape[0] == PATCH_PX**2 and weights["last"].shape[1] == len(CHARACTERS) + 1
    assert read_glyphs(np.zeros((0, PATCH_PX**2), np.float32)).shape == (0, len(CHARACTERS) + 1)


BOXES = [(10, 10, 190, 190), (210, 10, 390, 190)]


def page(*texts):
    """Two dark images with texts, each with place, on a white page."""
    canvas = Image.new("RGB", (400, 200), "white")
    draw = ImageDraw.Draw(canvas)
    for box in BOXES:
        draw.rectangle(box, fill=(40, 40, 40))
    for text, place, size in texts:
        draw.text(place, text, fill="white", font=ImageFont.load_default(size))
    return canvas


def test_scores_speak_for_the_box_where_a_label_stands():
    (best, *_) = LabelReader(page(("B", (16, 12), 24), ("A", (216, 12), 24)), BOXES).scores(["A", "B"])
    assert best[0, 1] > 3 > best[0, 0] and best[1, 0] > 3 > best[1, 1]


def test_a_letter_of_an_older_figure_does_not_share_the_style():
    """The small "A" in another corner belongs to what the image came from."""
    texts = [("B", (16, 12), 24), ("A", (216, 12), 24), ("A", (170, 172), 14), ("B", (370, 172), 14)]
    (best, *_) = LabelReader(page(*texts), BOXES).scores(["A", "B"])
    assert best[0, 1] > best[0, 0] + 2 and best[1, 0] > best[1, 1] + 2


def test_a_letter_of_a_word_is_no_label():
    reader = LabelReader(page(("CAB", (16, 12), 30), ("B", (216, 12), 30)), BOXES)
    (best, *_) = reader.scores(["A", "B"])
    assert best[0].max() < 2 < best[1, 1]
    (whole, *_) = LabelReader(page(("A1", (16, 12), 24)), BOXES).scores(["A1", "A2"])
    assert whole[0, 0] > 2 > whole[0, 1]


def test_case_is_told_only_where_it_matters():
    reader = LabelReader(page(("b", (16, 12), 24), ("a", (216, 12), 24)), BOXES)
    assert reader.scores(["A", "B"])[0][0, 1] > 3
    assert max(one[0, 1] for one in reader.scores(["A", "B"], is_case_told=True) or [np.zeros((2, 2))]) < 3
    both = reader.scores(["A", "B", "a", "b"])[0]
    assert both[0].argmax() == 3 and both[1].argmax() == 2


def test_nothing_is_read_in_an_empty_picture():
    assert LabelReader(page(), BOXES).scores(["A", "B"]) == []
    assert LabelReader(page(("A", (16, 12), 24)), BOXES).scores(["top left", "é"]) == []
