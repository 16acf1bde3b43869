"""Layouts of real figures: order, small overlaps, and rows that cannot be used."""

import itertools
import json
import os
from pathlib import Path

import pytest

from phenolip.exceptions import DataError
from phenolip.phenokg.subfigures.layouts import read_layouts

REAL = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent")) / "compound" / "layouts_train.jsonl"
GOOD = [[0, 0, 100, 100], [110, 0, 200, 100]]


def row(boxes, labels=None):
    labels = labels or [""] * len(boxes)
    parts = [{"box_xyxy": box, "label": label} for box, label in zip(boxes, labels, strict=True)]
    return json.dumps({"figure": "f", "subfigures": parts})


def write(path, *rows):
    path.write_text("\n".join(rows) + "\n")
    return path


def test_boxes_follow_their_labels_or_else_the_page(tmp_path):
    columns = [[110, 0, 200, 90], [0, 0, 100, 90], [0, 100, 100, 190], [110, 100, 200, 190]]
    file = write(
        tmp_path / "l.jsonl", row(columns, ["C", "A", "B", "D"]), row(columns), row(columns, ["A", "A", "", ""])
    )
    (labelled, unlabelled, twice), bad = read_layouts(file)
    assert bad == {}
    assert labelled.boxes_xyxy == tuple(tuple(columns[n]) for n in (1, 2, 0, 3))
    by_page = tuple(tuple(columns[n]) for n in (1, 0, 2, 3))
    assert unlabelled.boxes_xyxy == twice.boxes_xyxy == by_page
    assert labelled.extent_xyxy == (0, 0, 200, 190)


def test_small_overlaps_are_cut_in_the_middle(tmp_path):
    side = row([[0, 0, 102, 100], [100, 0, 200, 100]])
    stacked = row([[0, 0, 100, 102], [0, 100, 100, 200]])
    (one, other), _ = read_layouts(write(tmp_path / "l.jsonl", side, stacked))
    assert one.boxes_xyxy == ((0, 0, 101, 100), (101, 0, 200, 100))
    assert other.boxes_xyxy == ((0, 0, 100, 101), (0, 101, 100, 200))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row([[0, 0, 100, 100], [50, 0, 150, 100]]), "boxes overlap"),
        (row([[0, 0, 100, 100], [20, 20, 40, 40]]), "boxes overlap"),
        (row([[-1, 0, 100, 100], [110, 0, 150, 100]]), "box lies outside the figure"),
        (row([[0, 0, float("nan"), 100]]), "box lies outside the figure"),
        (row([[0, 0, float("inf"), 100]]), "box lies outside the figure"),
        (row([[100, 0, 0, 100], [110, 0, 150, 100]]), "box is empty"),
        (row([[0, 0, 0, 100]]), "box is empty"),
        (row([[0, 0, 100, 100], [99_000, 0, 100_000, 1000]]), "box is too small"),
        (row([]), "row is not a layout"),
        (row([[0, 0, 100]]), "row is not a layout"),
        (row([["a", 0, 100, 100]]), "row is not a layout"),
        (row([None]), "row is not a layout"),
        ("{", "row is not a layout"),
        ("[1]", "row is not a layout"),
        ('{"figure": "f"}', "row is not a layout"),
        ('{"subfigures": ["x"]}', "row is not a layout"),
        ('{"subfigures": 5}', "row is not a layout"),
    ],
)
def test_unusable_rows_are_counted_by_reason(tmp_path, line, reason):
    file = write(tmp_path / "l.jsonl", *[row(GOOD)] * 9, line)
    layouts, bad = read_layouts(file)
    assert len(layouts) == 9 and bad == {reason: 1}
    with pytest.raises(DataError, match=rf"1 of 10 rows are bad \({reason}: 1\), of which 5% may be"):
        read_layouts(file, max_bad_fraction=0.05)


def test_files_that_give_no_layout(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_layouts(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="the file is empty"):
        read_layouts(write(tmp_path / "l.jsonl", ""))
    with pytest.raises(DataError, match="1 of 1 rows are bad"):
        read_layouts(write(tmp_path / "l.jsonl", "{"), max_bad_fraction=1)
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        read_layouts(tmp_path / "b.jsonl")


@pytest.mark.skipif(not REAL.is_file(), reason="layouts of real figures do not lie beside the repository")
def test_layouts_of_real_figures():
    layouts, bad = read_layouts(REAL)
    assert len(layouts) + sum(bad.values()) == 1954 and len(layouts) > 1900
    for layout in layouts:
        for one, other in itertools.combinations(layout.boxes_xyxy, 2):
            assert min(one[2], other[2]) <= max(one[0], other[0]) or min(one[3], other[3]) <= max(one[1], other[1])
