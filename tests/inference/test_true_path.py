"""The true-path rule against brute force over all pairs of ancestor and descendant."""

from itertools import product

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError, DataError, UnknownTermError
from phenolip.inference import true_path
from phenolip.inference.true_path import TermHierarchy, true_path_consistent

MODE, EYE, LENS, CATARACT, NUCLEAR = "HP:0000005", "HP:0000478", "HP:0000517", "HP:0000518", "HP:0100018"
OPACITY, HEAD, EARS, LOW_EARS = "HP:0000001", "HP:0000152", "HP:0000598", "HP:0000369"
SUBSETS = [
    [NUCLEAR, EYE, LOW_EARS, LENS, MODE, CATARACT, OPACITY, HEAD, EARS],
    [NUCLEAR, EYE, EARS],  # the links between are missing, the relation stays
    [LOW_EARS],
]


def pairs(ontology, ids):
    """(descendant, ancestor) places, a term with itself too."""
    return [
        (low, high)
        for (low, a), (high, b) in product(enumerate(ids), enumerate(ids))
        if b in ontology.ancestors(a, include_self=True)
    ]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(true_path, "CHUNK_VALUES", 50)


@pytest.mark.parametrize("ids", SUBSETS)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_propagation_equals_brute_force_and_never_breaks_the_rule(diamond, ids, direction):
    scores = np.random.default_rng(0).normal(size=(20, len(ids)))
    result = true_path_consistent(diamond, ids, scores, direction=direction)
    related = pairs(diamond, ids)
    for image in range(len(scores)):
        for place in range(len(ids)):
            if direction == "up":
                expected = max(scores[image, low] for low, high in related if high == place)
            else:
                expected = min(scores[image, high] for low, high in related if low == place)
            assert result[image, place] == expected
        assert all(result[image, low] <= result[image, high] for low, high in related)
    np.testing.assert_array_equal(true_path_consistent(diamond, ids, result, direction=direction), result)


@pytest.mark.parametrize("ids", SUBSETS)
def test_roll_up_sums_each_descendant_once(diamond, ids):
    probabilities = np.random.default_rng(1).dirichlet(np.ones(len(ids)), size=7)
    rolled = TermHierarchy(diamond, ids).roll_up(probabilities)
    related = pairs(diamond, ids)
    for place in range(len(ids)):
        below = [low for low, high in related if high == place]
        np.testing.assert_allclose(rolled[:, place], probabilities[:, below].sum(axis=1))
    assert all((rolled[:, low] <= rolled[:, high]).all() for low, high in related)


@pytest.mark.parametrize("k", [1, 2, 4, 20])
def test_violations_equal_brute_force(diamond, k):
    ids = SUBSETS[0]
    hierarchy = TermHierarchy(diamond, ids)
    scores = np.random.default_rng(2).permuted(np.tile(np.arange(9.0), (30, 1)), axis=1)  # no ties
    related = pairs(diamond, ids)
    expected = []
    for row in scores:
        chosen = set(np.argsort(-row)[:k].tolist())
        expected.append(any(low in chosen and high not in chosen for low, high in related))
    assert hierarchy.violates(scores, k).tolist() == expected
    assert any(expected) == (k < 9)
    assert not hierarchy.violates(hierarchy.propagate_up(scores), k).any()
    assert not hierarchy.violates(hierarchy.propagate_down(scores), k).any()
    assert not hierarchy.violates(np.zeros((1, 9)), k).any()  # all equal: ancestors first


def test_wrong_calls_are_named(diamond):
    hierarchy = TermHierarchy(diamond, [EYE, LENS])
    with pytest.raises(DataError, match="a column for each of 2 terms"):
        hierarchy.propagate_up(np.zeros((1, 3)))
    with pytest.raises(DataError, match="got NaN"):
        hierarchy.propagate_down(np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match="got a negative one"):
        hierarchy.roll_up(np.array([[0.5, -0.5]]))
    with pytest.raises(ConfigurationError, match="`k` must be at least 1"):
        hierarchy.violates(np.zeros((1, 2)), 0)
    with pytest.raises(ConfigurationError, match="'up' or 'down'"):
        true_path_consistent(diamond, [EYE], np.zeros((1, 1)), direction="both")
    with pytest.raises(DataError, match="once, got HP:0000517"):
        TermHierarchy(diamond, [LENS, "HP:9000000"])
    with pytest.raises(UnknownTermError, match="HP:1234567"):
        TermHierarchy(diamond, ["HP:1234567"])
    assert hierarchy.propagate_up(np.zeros((0, 2))).shape == (0, 2)
