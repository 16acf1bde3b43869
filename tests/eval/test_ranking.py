"""Ranking metrics against brute force: every order of tied candidates, duplicates, chunks, permutations."""

from itertools import permutations

import numpy as np
import pytest

from phenolip.eval.metrics import ranking
from phenolip.eval.metrics.ranking import (
    counted_hit_and_recall,
    expected_hit_and_recall,
    miss_probability,
    rank_candidates,
)

KS = [1, 2, 3, 5, 9]


def brute_force(scores, relevant, k):
    """Mean hit and recall over every permutation of the candidates, sorted stably by falling score."""
    hits, recalls = [], []
    for order in permutations(range(len(scores))):
        top = sorted(order, key=lambda candidate: -scores[candidate])[:k]
        found = sum(relevant[candidate] for candidate in top)
        hits.append(found > 0)
        recalls.append(found / sum(relevant))
    return np.mean(hits), np.mean(recalls)


@pytest.mark.parametrize("seed", range(12))
def test_ties_equal_the_mean_over_all_permutations(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, size=(1, 6)).astype(np.float32)  # three levels for six candidates: always ties
    relevant = rng.random((1, 6)) < 0.4
    relevant[0, rng.integers(6)] = True
    hits, recalls = expected_hit_and_recall(scores, relevant, KS)
    for column, k in enumerate(KS):
        hit, recall = brute_force(scores[0], relevant[0], k)
        assert hits[0, column] == pytest.approx(hit, abs=1e-12)
        assert recalls[0, column] == pytest.approx(recall, abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_counting_equals_thresholds_and_all_permutations(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(ranking, "_BLOCK_SCORES", 13)
    scores = rng.integers(0, 3, size=(9, 6)).astype(np.float32)
    sizes = rng.integers(1, 5, size=9)
    answers = [rng.choice(6, size, replace=False) for size in sizes]
    columns, mask = np.full((9, 4), -1), np.zeros((9, 6), bool)
    for row, chosen in enumerate(answers):
        columns[row, : len(chosen)], mask[row, chosen] = chosen, True
    hits, recalls = counted_hit_and_recall(scores, columns, KS)
    for got, wanted in zip((hits, recalls), expected_hit_and_recall(scores, mask, KS), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert (hits[0, 1], recalls[0, 1]) == pytest.approx(brute_force(scores[0], mask[0], 2), abs=1e-12)


def test_few_and_many_answers_may_stand_in_one_problem(problem):
    queries, candidates, relevant = problem
    mixed = [np.arange(12) if row % 3 == 0 else columns for row, columns in enumerate(relevant)]
    together = rank_candidates(queries, candidates, mixed, KS, chunk_rows=2)
    for row in range(len(queries)):
        alone = rank_candidates(queries[row : row + 1], candidates, [mixed[row]], KS)
        np.testing.assert_allclose(together.hits[row], alone.hits[0], atol=1e-12)
        np.testing.assert_allclose(together.recalls[row], alone.recalls[0], atol=1e-12)


def test_distinct_rows_also_where_hashes_clash(monkeypatch):
    rows = np.array([[1, 0], [0, 1], [1, -0.0], [0, 1], [2, 2]], np.float32)
    for clash in (False, True):
        if clash:

            class Zeros:
                integers = staticmethod(lambda low, high, size, kind: np.full(size, 2**63, kind))

            monkeypatch.setattr(ranking.np.random, "default_rng", lambda seed: Zeros)
        firsts, inverse = ranking._distinct_rows(rows)
        assert sorted(firsts) == [0, 1, 4]
        np.testing.assert_array_equal(rows[firsts][inverse], rows)


def test_constant_scores_give_chance_in_closed_form():
    candidates = np.ones((8, 2), np.float32)
    values = rank_candidates(np.ones((1, 2)), candidates, [np.array([1, 4, 5])], [2])
    assert values.hits[0, 0] == pytest.approx(1 - (5 * 4) / (8 * 7))  # 1 - C(5, 2) / C(8, 2)
    assert values.recalls[0, 0] == pytest.approx(2 / 8)
    assert values.chance_hits[0, 0] == pytest.approx(values.hits[0, 0])
    assert values.chance_recalls[0, 0] == pytest.approx(2 / 8)


def test_without_ties_equals_a_plain_sort():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 30))
    relevant = rng.random((40, 30)) < 0.1
    relevant[np.arange(40), rng.integers(30, size=40)] = True
    hits, recalls = expected_hit_and_recall(scores, relevant, [1, 5, 10])
    order = np.argsort(-scores, axis=1)
    for column, k in enumerate([1, 5, 10]):
        found = np.take_along_axis(relevant, order[:, :k], axis=1).sum(axis=1)
        np.testing.assert_array_equal(hits[:, column], found > 0)
        np.testing.assert_allclose(recalls[:, column], found / relevant.sum(axis=1))


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    candidates = rng.normal(size=(37, 8)).astype(np.float32)
    candidates[20:25] = candidates[3]  # exact duplicates, hence exact ties
    queries = (candidates[:30] + 0.8 * rng.normal(size=(30, 8))).astype(np.float32)
    relevant = [np.unique(rng.integers(37, size=rng.integers(1, 4))) for _ in range(30)]
    return queries, candidates, relevant


@pytest.mark.parametrize("chunk_rows", [1, 7, 29, 30, 1000])
def test_chunks_equal_the_whole(problem, chunk_rows):
    whole = rank_candidates(*problem, KS)
    chunked = rank_candidates(*problem, KS, chunk_rows=chunk_rows)
    np.testing.assert_allclose(chunked.hits, whole.hits, atol=1e-12)
    np.testing.assert_allclose(chunked.recalls, whole.recalls, atol=1e-12)


def test_order_of_rows_does_not_matter(problem):
    queries, candidates, relevant = problem
    rng = np.random.default_rng(9)
    query_order, candidate_order = rng.permutation(len(queries)), rng.permutation(len(candidates))
    place = np.argsort(candidate_order)  # where each old candidate went
    shuffled = rank_candidates(
        queries[query_order], candidates[candidate_order], [place[relevant[row]] for row in query_order], KS
    )
    plain = rank_candidates(queries, candidates, relevant, KS)
    np.testing.assert_allclose(shuffled.hits, plain.hits[query_order], atol=1e-12)
    np.testing.assert_allclose(shuffled.recalls, plain.recalls[query_order], atol=1e-12)


def test_duplicates_tie_exactly():
    rng = np.random.default_rng(1)
    candidates = np.repeat(rng.normal(size=(1, 384)).astype(np.float32), 101, axis=0)
    values = rank_candidates(rng.normal(size=(3, 384)), candidates, [np.array([100])] * 3, [1, 10])
    np.testing.assert_allclose(values.hits, np.tile([1 / 101, 10 / 101], (3, 1)))


def test_a_cutoff_above_the_number_of_candidates_is_defined():
    values = rank_candidates(np.eye(2), np.eye(2), [np.array([0]), np.array([1])], [50])
    assert values.hits.tolist() == values.recalls.tolist() == values.chance_hits.tolist() == [[1.0], [1.0]]


def test_miss_probability_is_zero_when_too_few_are_unmarked():
    assert miss_probability(5, 3, 3) == 0
    assert miss_probability(5, 0, 3) == 1


@pytest.mark.parametrize(
    ("queries", "candidates", "relevant", "ks", "match"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), [[0], [1]], [1], "one width"),
        (np.ones((0, 3)), np.ones((2, 3)), [], [1], "needs a query"),
        (np.ones((1, 3)), np.ones((2, 3)), [[0]], [0], "at least 1"),
        (np.ones((1, 3)), np.ones((2, 3)), [], [1], "one set for each query"),
        (np.ones((1, 3)), np.ones((2, 3)), [[]], [1], "row 0 is empty"),
        (np.full((1, 3), np.nan), np.ones((2, 3)), [[0]], [1], "`queries` must be finite"),
    ],
)
def test_unusable_input_is_named(queries, candidates, relevant, ks, match):
    with pytest.raises(ValueError, match=match):
        rank_candidates(queries, candidates, relevant, ks)
