"""What the network learns from: right and wrong places of composites whose boxes are known."""

import json

import numpy as np
import pytest
from PIL import Image

from phenolip.phenokg.subfigures.fit_separators import Oracle, fit, intervals_between, judge, main, read_examples
from phenolip.phenokg.subfigures.separator_features import Places
from phenolip.phenokg.subfigures.separator_scores import load_scorer

BOXES = np.array([[0, 0, 90, 80], [100, 0, 190, 80], [0, 80, 190, 160]])


def places(*spans):
    """Gutters where a span has a width, seams elsewhere."""
    starts, ends = np.array(spans).T
    return Places(starts, ends, np.where(ends > starts, 0, -1), np.zeros((len(starts), 1), np.float32))


def figure():
    canvas = np.full((160, 190), 255, np.uint8)
    rng = np.random.default_rng(0)
    for number, (x0, y0, x1, y1) in enumerate(BOXES):
        canvas[y0:y1, x0:x1] = rng.integers(20, 60, (y1 - y0, x1 - x0)) + 60 * number
    return canvas


def test_intervals_lie_between_boxes_and_cross_none():
    assert intervals_between(BOXES[:2], 0) == [(90, 100)]
    assert intervals_between(BOXES, 0) == []
    assert intervals_between(BOXES, 1) == [(80, 80)]
    assert intervals_between(BOXES[:1], 0) == []


def test_a_gap_is_its_gutter_and_not_the_ends():
    assert judge(places((90, 100), (90, 90), (100, 100), (50, 50)), [(90, 100)]).tolist() == [1, 0, 0, 0]


def test_ends_of_a_gap_that_shows_no_gutter_are_left_out():
    assert judge(places((90, 90), (100, 100), (95, 95), (50, 50)), [(90, 100)]).tolist() == [-1, -1, -1, 0]


def test_images_that_abut_meet_at_a_seam_and_not_in_a_margin():
    assert judge(places((80, 80), (82, 82), (60, 80), (120, 130)), [(80, 80)]).tolist() == [1, -1, -1, 0]
    assert judge(places((60, 100), (76, 82)), [(80, 80)]).tolist() == [1, 1]  # margins on both sides; a thin gutter


def test_the_oracle_cuts_down_to_single_boxes():
    oracle = Oracle(figure(), BOXES, np.random.default_rng(0))
    features, right = zip(*oracle.examples(), strict=True)
    assert len(oracle._figure.cuts) == 2
    assert {(cut.axis, cut.start, cut.end) for cut in oracle._figure.cuts} == {(1, 80, 80), (0, 90, 100)}
    assert np.concatenate(right).sum() == 2 and set(np.concatenate(right)) == {0, 1}
    assert np.isfinite(np.concatenate(features)).all()


@pytest.fixture
def composites(tmp_path):
    folder = tmp_path / "composites"
    folder.mkdir()
    Image.fromarray(figure()).save(folder / "a.png")
    row = {"file_name": "a.png", "boxes": BOXES.tolist()}
    (folder / "boxes.jsonl").write_text((json.dumps(row) + "\n") * 4)
    return folder


def test_the_same_seed_gives_the_same_examples(composites):
    first, again = read_examples([composites], 3), read_examples([composites], 3)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert 0 < first[1].sum() < len(first[1])


def test_fitting_tells_right_from_wrong():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 5)).astype(np.float32)
    right = (features[:, 0] * features[:, 1] > 0).astype(np.int64)
    scores = fit(features, right, seed=0)(features)
    assert ((scores > 0) == right).mean() > 0.95


def test_the_command_writes_weights(composites, tmp_path):
    output = tmp_path / "weights.json"
    assert main(["--composites", str(composites), "--output", str(output)]) == 0
    assert load_scorer(output).mean.shape == load_scorer().mean.shape
