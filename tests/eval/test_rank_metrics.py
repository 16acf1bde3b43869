"""Metrics of whole rankings against every order of ties, scikit-learn and the vector of the specification."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from phenolip.eval.metrics import answer_ranks as module
from phenolip.eval.metrics.answer_ranks import answer_ranks
from phenolip.eval.metrics.rank_metrics import (
    at_k,
    average_precision,
    chance_ranks,
    first_rank,
    ndcg,
    reciprocal_rank,
)
from phenolip.eval.metrics.ranking import rank_candidates

CLOSE = {"rtol": 0, "atol": 1e-9}


def ranks_of(scores, relevant, **options):
    """Ranks of a score matrix: the candidates are the axes."""
    scores = np.asarray(scores, np.float32)
    return answer_ranks(scores, np.eye(scores.shape[1], dtype=np.float32), relevant, **options)


def in_every_order(scores, answers, k):
    """Means over all permutations of the candidates, sorted stably by falling score, of one query's metrics."""
    found = []
    for order in permutations(range(len(scores))):
        ranked = sorted(order, key=lambda candidate: -scores[candidate])
        places = [place for place, candidate in enumerate(ranked, 1) if candidate in answers]
        best = [place for place in places if place <= k]
        ideal = sum(1 / np.log2(place + 1) for place in range(1, len(places) + 1))
        found.append(
            [
                len(best) > 0,
                len(best) / k,
                len(best) / len(places),
                np.mean([number / place for number, place in enumerate(places, 1)]),
                sum(1 / np.log2(place + 1) for place in places) / ideal,
                1 / places[0],
                places[0],
            ]
        )
    return np.mean(found, axis=0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("counted", [0, 8])
def test_every_metric_is_the_mean_over_all_orders_of_ties(seed, counted, monkeypatch):
    monkeypatch.setattr(module, "_COUNTED", counted)  # once by sorting, once by counting
    monkeypatch.setattr(module, "_BLOCK_SCORES", 11)
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, size=(3, 6)).astype(np.float32)
    relevant = [rng.choice(6, size, replace=False) for size in rng.integers(1, 5, size=3)]
    ranks = ranks_of(scores, relevant, chunk_rows=2)
    values = np.stack(
        [*at_k(ranks, 2), average_precision(ranks), ndcg(ranks), reciprocal_rank(ranks), first_rank(ranks)]
    )
    for query, answers in enumerate(relevant):
        np.testing.assert_allclose(values[:, query], in_every_order(scores[query], set(answers), 2), **CLOSE)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    distinct, tied = rng.permutation(40 * 300).reshape(40, 300), rng.integers(0, 9, (40, 300))
    relevant = [rng.choice(300, size, replace=False) for size in rng.integers(1, 30, size=40)]
    truth = np.zeros((40, 300), bool)
    for row, answers in enumerate(relevant):
        truth[row, answers] = True
    precision = [average_precision_score(truth[row], distinct[row]) for row in range(40)]
    np.testing.assert_allclose(average_precision(ranks_of(distinct, relevant)), precision, **CLOSE)
    for k in (None, 10):
        wanted = [ndcg_score(truth[row : row + 1], tied[row : row + 1], k=k) for row in range(40)]
        np.testing.assert_allclose(ndcg(ranks_of(tied, relevant), k), wanted, **CLOSE)


@pytest.mark.parametrize("width", [1, 7, 300, 5000])
def test_hits_and_recalls_equal_the_plain_ranking(width):
    rng = np.random.default_rng(width)
    queries, candidates = rng.integers(-1, 2, (30, 3)), rng.integers(-1, 2, (width, 3))
    relevant = [rng.choice(width, min(width, size), replace=False) for size in rng.integers(1, 20, size=30)]
    values, ranks = (
        rank_candidates(queries, candidates, relevant, [1, 5, 50]),
        answer_ranks(queries, candidates, relevant),
    )
    chance = chance_ranks(ranks)
    for column, k in enumerate((1, 5, 50)):
        hits, precisions, recalls = at_k(ranks, k)
        np.testing.assert_allclose(hits, values.hits[:, column], **CLOSE)
        np.testing.assert_allclose(recalls, values.recalls[:, column], **CLOSE)
        np.testing.assert_allclose(at_k(chance, k)[0], values.chance_hits[:, column], **CLOSE)
        sizes = np.array([len(answers) for answers in relevant])
        np.testing.assert_allclose(precisions * min(k, width), recalls * sizes, **CLOSE)


def test_the_vector_of_the_specification():
    scores = [[0.9, 0.8, 0.1, 0.2], [0.3, 0.9, 0.8, 0.1], [0.2, 0.7, 0.6, 0.9], [0.1, 0.2, 0.3, 0.4]]
    groups = np.array([0, 0, 1, 2])
    ranks = ranks_of(scores, [np.flatnonzero(groups == group) for group in groups])
    assert [values.mean() for values in at_k(ranks, 1)] == [0.75, 0.75, 0.5]  # hit, precision, recall
    assert [values.mean() for values in at_k(ranks, 3)] == pytest.approx([1.0, 0.5, 1.0], abs=1e-12)


def test_one_query_and_one_candidate_and_a_collapsed_model():
    one = ranks_of([[0.3]], [np.array([0])])
    for metric in (average_precision, ndcg, reciprocal_rank, first_rank):
        assert metric(one).tolist() == [1.0]
    collapsed = answer_ranks(np.ones((50, 4)), np.ones((50, 4)), [np.array([row]) for row in range(50)])
    assert set(collapsed.tied) == {50} and set(first_rank(collapsed)) == {25.5}
    np.testing.assert_allclose(reciprocal_rank(collapsed), np.mean(1 / np.arange(1, 51)), **CLOSE)
    np.testing.assert_allclose(average_precision(collapsed), np.mean(1 / np.arange(1, 51)), **CLOSE)


def test_strict_answers_keep_the_others_in_the_ranking():
    ranks = ranks_of([[0.9, 0.8, 0.1]], [np.array([0, 1])])
    assert first_rank(ranks.only(ranks.columns == 1)).tolist() == [2.0]


@pytest.mark.parametrize(
    ("queries", "relevant", "match"),
    [
        (np.full((1, 2), np.nan), [np.array([0])], "must be finite"),
        (np.ones((1, 3)), [np.array([0])], "of one width"),
        (np.ones((1, 2)), [np.array([], int)], "row 0 is empty"),
    ],
)
def test_wrong_input_is_named(queries, relevant, match):
    with pytest.raises(ValueError, match=match):
        answer_ranks(queries, np.eye(2), relevant)
