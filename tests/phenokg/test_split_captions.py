"""Split captions against splits made by hand; offsets and time on hostile text; labels of real captions."""

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.records import CaptionedFigure, CaptionSpan, Drop, SplitCaption
from phenolip.phenokg.split_captions import SplitConfig, run, split_caption, subcaptions_from_spans

REAL = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent")) / "compound" / "captions_prostate.jsonl"

#: A caption, its background, and the own text of each label.
CASES = [
    (
        "Chest CT. (A) Normal lung. (B) A nodule (arrow).",
        ["Chest CT."],
        {"A": "Normal lung.", "B": "A nodule (arrow)."},
    ),
    ("Brain MRI. A) T1. B) T2.", ["Brain MRI."], {"A": "T1.", "B": "T2."}),
    ("Brain MRI. A: T1. B: T2.", ["Brain MRI."], {"A": "T1.", "B": "T2."}),
    ("Brain MRI. a. Axial T1. b. Axial T2.", ["Brain MRI."], {"a": "Axial T1.", "b": "Axial T2."}),
    ("Brain MRI.A. Axial T1. B. Axial T2.", ["Brain MRI."], {"A": "Axial T1.", "B": "Axial T2."}),
    ("Brain MRI. A, axial T1; B, axial T2.", ["Brain MRI."], {"A": "axial T1", "B": "axial T2."}),
    ("Brain MRI. A Axial T1. B Axial T2.", ["Brain MRI."], {"A": "Axial T1.", "B": "Axial T2."}),
    ("Brain MRI.aAxial T1.b, cAxial T2.", ["Brain MRI."], {"a": "Axial T1.", "b": "Axial T2.", "c": "Axial T2."}),
    ("(a-c) Controls. (d) Case.", [], {"a": "Controls.", "b": "Controls.", "c": "Controls.", "d": "Case."}),
    ("[A] T1. [B] T2.", [], {"A": "T1.", "B": "T2."}),
    ("(1a) T1. (1b) T2.", [], {"a": "T1.", "b": "T2."}),
    ("Figure 1A: T1. Figure 1B: T2.", [], {"A": "T1.", "B": "T2."}),
    ("Mice. A - Controls. B - A case. C - Another.", ["Mice."], {"A": "Controls.", "B": "A case.", "C": "Another."}),
    ("Mice. A, A case. B, A control.", ["Mice."], {"A": "A case.", "B": "A control."}),
    ("A photograph of a mouse. B Counts of mice.", [], {"A": "photograph of a mouse.", "B": "Counts of mice."}),
    ("A–C Controls. D Case.", [], {"A": "Controls.", "B": "Controls.", "C": "Controls.", "D": "Case."}),
    ("(A, C) Controls. (B and D) Cases.", [], {"A": "Controls.", "C": "Controls.", "B": "Cases.", "D": "Cases."}),
    ("((a), (b)) Controls. ((c), (d)) Cases.", [], {"a": "Controls.", "b": "Controls.", "c": "Cases.", "d": "Cases."}),
    ("(A) and (B): axial. (C) to (E): coronal.", [], dict.fromkeys("AB", "axial.") | dict.fromkeys("CDE", "coronal.")),
    ("(i) Axial view. (ii-iv) Others.", [], {"i": "Axial view."} | dict.fromkeys(["ii", "iii", "iv"], "Others.")),
    ("1) Axial view. 2) Coronal view.", [], {"1": "Axial view.", "2": "Coronal view."}),
    ("(A1) T1. (A2) T2. (B1-B2) CT.", [], {"A1": "T1.", "A2": "T2.", "B1": "CT.", "B2": "CT."}),
    ("(Ai) T1. (Aii) T2. (B) CT.", [], {"Ai": "T1.", "Aii": "T2.", "B": "CT."}),
    ("Panel A: T1. Panels B and C: T2.", [], {"A": "T1.", "B": "T2.", "C": "T2."}),
    ("MRI. Left: axial T2. Right: coronal T1.", ["MRI."], {"left": "axial T2.", "right": "coronal T1."}),
    ("Upper row: mother. Lower row: child.", [], {"upper row": "mother.", "lower row": "child."}),
    (
        "MRI: top left, T1; top right, T2; bottom left, CT; bottom right, PET.",
        ["MRI:"],
        {"top left": "T1", "top right": "T2", "bottom left": "CT", "bottom right": "PET."},
    ),
    ("First row, T1. Second row, T2.", [], {"first row": "T1.", "second row": "T2."}),
    ("Left panel shows CT and the right panel shows MRI.", [], {"left": "shows CT", "right": "shows MRI."}),
    # labels after their text
    ("A normal heart (a) and dilated heart (b).", [], {"a": "A normal heart", "b": "dilated heart"}),
    ("Two hearts. A normal one (a), a dilated one (b).", ["Two hearts."], {"a": "A normal one", "b": "a dilated one"}),
    ("CT (A) shows a cyst. MRI (B) shows a mass.", [], {"A": "CT (A) shows a cyst.", "B": "MRI (B) shows a mass."}),
    ("Positive (C, in red), negative (A) or weak (B).", [], {"C": "Positive", "A": "negative", "B": "weak"}),
    ("MRI (A, T1; B, T2; C, FLAIR).", ["MRI"], {"A": "T1", "B": "T2", "C": "FLAIR)."}),
    ("MRI. A, T1 view; B, T2 view. (C) H&E.", ["MRI."], {"A": "T1 view", "B": "T2 view.", "C": "H&E."}),
    ("(A) Liver. B) Lung. C. Skin. (D) Bone.", [], {"A": "Liver.", "B": "Lung.", "C": "Skin.", "D": "Bone."}),
    ("(A) Liver. (B Lung. (C) Skin.", [], {"A": "Liver.", "B": "Lung.", "C": "Skin."}),
    ("Mice. (A) Liver. (C) Skin.", ["Mice."], {"A": "Liver.", "C": "Skin."}),
    ("A: Liver. B1: Lung. B2: Skin.", [], {"A": "Liver.", "B1": "Lung.", "B2": "Skin."}),
    ("Normal liver (arrow, A) and lung (PAS, B).", [], {"A": "Normal liver (arrow", "B": "lung (PAS"}),
    ("Mice. A shows a liver. B is a lung.", ["Mice."], {"A": "shows a liver.", "B": "is a lung."}),
    ("A = normal liver; B = lung.", [], {"A": "normal liver", "B": "lung."}),
    # the background
    ("Mice. (A) Well. (B) Ill. Scale bars: 5 mm.", ["Mice.", "Scale bars: 5 mm."], {"A": "Well.", "B": "Ill."}),
    (
        "Mice. (A) Control. Scale bar: 5 mm. (B) Treated. Scale bar: 9 mm.",
        ["Mice."],
        {"A": "Control. Scale bar: 5 mm.", "B": "Treated. Scale bar: 9 mm."},
    ),
    # no labels
    ("CT, (A) twice as large as (B). (B) Liver.", ["CT"], {"A": "twice as large as (B).", "B": "Liver."}),
    ("(A) T1 (n = 5). (B) T2. An arrow in B.", [], {"A": "T1 (n = 5).", "B": "T2."}),
    ("(A) T1. (B) T2. (A, inset) Detail.", [], {"A": "T1.", "B": "T2."}),
]  # fmt: skip

WHOLE = [
    "Chest radiograph.",
    "Vitamin A, type B and (A-a gradient) were measured (n = 5), stained (H&E) and (c).",
    "E. coli and C. difficile. Type A: influenza, type B: another.",
    "The cornea (C), anterior chamber (AC), lens (L) and angle (A).",
    "The organs: A = artery; B = bladder; C = colon.",
    "A line: thickness at the pole. B line: thickness at 45 degrees.",
    "A large tumor of the liver. B cells were stained.",
    "A mass of the right kidney (left to right shunt), (right more than left).",
    "Grades from absent (0) over mild (1) to severe (2). Result 2 (right: 2, left: 2).",
    "(1) Ilium. (2) Ischium. (3) Pubis.",
]


def owns(caption):
    background, parts = split_caption(caption)
    assert len({part.label for part in parts}) == len(parts)
    own = {part.label: caption[part.start : part.end] for part in parts}
    return [caption[span.start : span.end] for span in background], own


@pytest.mark.parametrize(("caption", "background", "own"), CASES)
def test_split_by_hand(caption, background, own):
    assert owns(caption) == (background, own)


@pytest.mark.parametrize("caption", WHOLE)
def test_caption_without_labels_stays_whole(caption):
    assert owns(caption) == ([caption], {})


def test_texts_are_background_and_own_in_order_without_markers():
    _, parts = split_caption("Mice. (A) Control (arrow). (B) Case, same as (A). (A, inset) Detail. Scale bar: 5 mm.")
    assert {part.label: part.caption for part in parts} == {
        "A": "Mice. Control (arrow). inset Detail. Scale bar: 5 mm.",
        "B": "Mice. Case, same as (A). Scale bar: 5 mm.",
    }
    _, parts = split_caption("(a-c) H&E of mice at 1 (a), 2 (b) and 3 months (c). (d) Counts.")
    assert [(part.label, part.caption) for part in parts] == [
        ("a", "H&E of mice at 1"), ("b", "2"), ("c", "3 months"), ("d", "Counts."),
    ]  # fmt: skip
    _, parts = split_caption("(a, b) Kidney. (a) Control. (b) Case.")
    assert [(part.label, part.caption) for part in parts] == [("a", "Kidney. Control."), ("b", "Kidney. Case.")]


def test_text_shared_by_the_labels_of_a_sentence():
    _, parts = split_caption("Axial (a) and coronal (b) CT of a cyst. Sagittal (c) MRI of a bone.")
    assert [part.caption for part in parts] == [
        "Axial CT of a cyst.", "coronal CT of a cyst.", "Sagittal MRI of a bone.",
    ]  # fmt: skip
    _, parts = split_caption("Grades: A) one, B) two. Bladders were C) normal, D) ill.")
    assert [part.caption for part in parts] == [
        "Grades: one", "Grades: two.", "Bladders were normal", "Bladders were ill.",
    ]  # fmt: skip


def test_ends_of_captions_that_name_their_labels():
    _, parts = split_caption("(A) T1. (B) T2. (C) CT. Arrow in B: cyst. Bars for A and C: 5 mm. Arrowheads: vein.")
    assert [part.caption for part in parts] == [
        "T1. Bars for A and C: 5 mm. Arrowheads: vein.",
        "T2. Arrow in B: cyst. Arrowheads: vein.",
        "CT. Bars for A and C: 5 mm. Arrowheads: vein.",
    ]


def test_run_gives_records_and_counted_drops():
    given = [
        CaptionedFigure("f", "CT. (A) Liver. (B) Lung."),
        Drop("parse_articles", "x", "no_address"),
        CaptionedFigure("g", "  "),
        CaptionedFigure("h", "a" * 101),
        CaptionedFigure("i", "(A-D) Liver. (E) Lung."),
    ]
    split, handed_on, *drops = run(given, SplitConfig(max_characters=100, max_labels=4))
    assert isinstance(split, SplitCaption) and split.figure == "f" and split.background == (CaptionSpan(0, 3),)
    assert handed_on is given[1]
    assert [(drop.key, drop.reason) for drop in drops] == [
        ("g", "no_caption"), ("h", "too_long"), ("i", "too_many_labels"),
    ]  # fmt: skip
    assert drops[2].detail == "A caption must name 4 subfigures at most, got 5."


def test_text_is_not_multiplied_without_end():
    caption = "".join(f"({letter}1-99) Liver. " for letter in "ABCDEFGHIJ")
    with pytest.raises(DataError, match="must name 100 subfigures at most, got 990"):
        split_caption(caption)
    assert len(split_caption(caption, 990)[1]) == 990


@pytest.mark.parametrize("setting", ["max_characters", "max_labels"])
def test_bounds_must_be_positive(setting):
    with pytest.raises(ConfigurationError, match=f"`{setting}` must be 1 or more, got 0"):
        SplitConfig(**{setting: 0})


def test_spans_of_something_else():
    caption = "CT. (A) Liver. (B, C) Lung. 5 mm."
    spans = [("A", 4, 14), ("B", 15, 27), ("C", 15, 27)]
    split = subcaptions_from_spans(caption, [(0, 3), (28, 33)], spans, "f")
    assert split == SplitCaption("f", *split_caption(caption)) or split.figure == "f"
    assert [(part.label, caption[part.start : part.end], part.caption) for part in split.subcaptions] == [
        ("A", "Liver.", "CT. Liver. 5 mm."), ("B", "Lung.", "CT. Lung. 5 mm."), ("C", "Lung.", "CT. Lung. 5 mm."),
    ]  # fmt: skip
    two = subcaptions_from_spans("a heart (a) and a lung (b)", [], [("a", 0, 11), ("b", 12, 26)]).subcaptions
    assert [part.caption for part in two] == ["a heart", "a lung"]
    none = subcaptions_from_spans("A heart.", [(0, 8)], [])
    assert none.subcaptions == () and none.background == (CaptionSpan(0, 8),)


@pytest.mark.parametrize(
    ("background", "spans", "message"),
    [
        ([(0, 99)], [], "Span of 'background': offsets must rise and lie from 0 to 14, got 0 and 99"),
        ([(-1, 3)], [], "got -1 and 3"),
        ([(3, 3)], [], "got 3 and 3"),
        ([(0, 3.0)], [], "got 0 and 3.0"),
        ([(True, 3)], [], "got True and 3"),
        ([], [("A", 5, 2)], "Span of 'A': offsets must rise"),
        ([], [("A", 3, 4)], "Span of 'A': there are no words from 3 to 4"),
        ([], [(" ", 0, 3)], "A label must be text that is not blank, got ' '"),
        ([], [(None, 0, 3)], "got None"),
        ([(0, 6)], [("A", 4, 14)], r"Label 'A': its text \(4, 14\) overlaps with the background \(0, 6\)"),
    ],
)
def test_spans_that_are_none(background, spans, message):
    with pytest.raises(DataError, match=message):
        subcaptions_from_spans("CT. (A) Liver.", background, spans)


_PIECES = (
    "(A)", "(b)", "a)", "B.", "C:", "(a-c)", "(A, B)", "(", ")", "((c)", "and", " ", ", ", ". ", "; ", "\n",
    "Left panel",
    "(left)", "right:", "Panel D", "(A; image C)", "(ii)", "(1)", "x", "Liver", "shows", "Scale bar.", "in (A)",
    "(A, note",
    "é", "𝒜", "\u2028", "(H&E)", "A–C", "top row", "(Z-A)", "(99)", ".aBc", "and D, ", "-", "'", "\x00",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_offsets_lie_in_the_caption_whatever_it_is(seed):
    draw = random.Random(seed)
    for alphabet in (_PIECES, "aAbBiIvx12()[].,;:- –'=\xa0\n") * 15:
        caption = "".join(draw.choices(alphabet, k=draw.randrange(1, 40)))
        background, parts = split_caption(caption)
        spans = sorted((span.start, span.end) for span in background)
        assert all(0 <= start < end <= len(caption) for start, end in spans)
        assert all(one[1] <= other[0] for one, other in zip(spans, spans[1:], strict=False))
        assert len({part.label for part in parts}) == len(parts)
        for part in parts:
            assert 0 <= part.start <= part.end <= len(caption) and part.label
            assert caption[part.start : part.end] == caption[part.start : part.end].strip()
            # Nothing is made up, and nothing is said twice.
            assert Counter("".join(part.caption.split())) <= Counter("".join(caption.split()))


@pytest.mark.parametrize("unit", ["(a) ", "a)", "a,", "x (a) and y (b) shows ", "((", "A. ", "(left) right: ", "(A, "])
def test_time_is_linear(unit):
    """Eight times the text, at most 30 times the time, other processes considered: a square would be 64."""

    def seconds(length):
        text = (unit * length)[:length]
        start = time.process_time()
        split_caption(text)
        return time.process_time() - start

    assert min(seconds(4_000) for _ in range(2)) < 30 * min(seconds(500) for _ in range(4))


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["(a) ", "a)", "x (a) and y (b) shows ", "((", "Scale bar. ", " "])
def test_a_million_characters(unit):
    start = time.process_time()
    split_caption((unit * 1_000_000)[:1_000_000])
    assert time.process_time() - start < 120


def test_real_captions():
    """Labels of 196 captions; docs/captions.md has the share of those that no rule was written by."""
    if not REAL.is_file():
        pytest.skip("PHENOLIP_TEST_DATA is not set")
    rows = [json.loads(line) for line in REAL.read_text(encoding="utf-8").splitlines()]
    exact = 0
    for row in rows:
        found = {part.label.lower() for part in split_caption(row["caption"])[1]}
        exact += found == {part["label"].lower() for part in row["subcaptions"]}
    assert exact / len(rows) > 0.9
