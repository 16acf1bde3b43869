"""Ranking metrics from the ranks of the right answers: each the expectation over a random order of equal scores.

All but the precision at k, the recall and the hit rate look at the whole ranking. Expectations are exact; the tests
compare them with every order of small cases and, where scikit-learn has the metric, with scikit-learn.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.answer_ranks import AnswerRanks
from phenolip.eval.metrics.ranking import miss_probability


def chance_ranks(ranks: AnswerRanks) -> AnswerRanks:
    """The same answers where all candidates are equal: every metric of it is that of a uniformly random order."""
    zeros = np.zeros_like(ranks.above)
    return AnswerRanks(
        ranks.owners,
        ranks.columns,
        zeros,
        np.full_like(zeros, ranks.num_candidates),
        ranks.num_queries,
        ranks.num_candidates,
    )


def at_k(ranks: AnswerRanks, k: int) -> tuple[NDArray, NDArray, NDArray]:
    """(Q,) hit, precision and recall at k; a k above the number of candidates reads as that number.

    Precision at k is the share of right answers among the best k, recall at k the share of the right answers that
    are among the best k.
    """
    depth = min(k, ranks.num_candidates)
    places = np.clip(depth - ranks.above, 0, ranks.tied)
    inside = places / ranks.tied
    found = _sum(ranks, inside)
    whole = _sum(ranks, inside == 1) > 0
    straddles = (inside > 0) & (inside < 1)  # one group of equal scores a query at most
    num_tied, num_places = np.ones(ranks.num_queries, np.int64), np.zeros(ranks.num_queries, np.int64)
    num_tied[ranks.owners[straddles]] = ranks.tied[straddles]
    num_places[ranks.owners[straddles]] = places[straddles]
    misses = miss_probability(num_tied, _sum(ranks, straddles).astype(np.int64), num_places)
    return np.where(whole, 1.0, 1.0 - misses), found / depth, found / _num_relevant(ranks)


def average_precision(ranks: AnswerRanks) -> NDArray:
    """(Q,) mean over the right answers of the precision at the rank of each.

    Of a group of e equal scores below g others, with m right answers, and a right answers above it, each right answer
    stands at the s-th place with probability 1 / e, and then (s - 1)(m - 1) / (e - 1) others of the group are
    expected above it (McSherry and Najork 2008, ECIR).
    """
    order = np.lexsort((ranks.above, ranks.owners))
    owners, above, tied = ranks.owners[order], ranks.above[order], ranks.tied[order]
    begins = np.ones(len(owners), bool)
    begins[1:] = (owners[1:] != owners[:-1]) | (above[1:] != above[:-1])
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, len(owners)))  # m
    first_of_query = np.searchsorted(owners, owners[starts])
    better = starts - first_of_query  # a
    above, tied = above[starts], tied[starts]
    values = sizes * (better + 1.0) / (above + 1.0)  # right where e = 1, and so m = 1
    for group in np.flatnonzero(tied > 1):
        size, num_tied = int(sizes[group]), int(tied[group])
        inverses, steps = _tied_sums(int(above[group]), num_tied)
        values[group] = size / num_tied * ((better[group] + 1) * inverses + steps * (size - 1) / (num_tied - 1))
    sums = np.bincount(owners[starts], weights=values, minlength=ranks.num_queries)
    return sums / _num_relevant(ranks)


def ndcg(ranks: AnswerRanks, k: int | None = None) -> NDArray:
    """(Q,) normalised discounted cumulative gain, gains 0 or 1, discount log2(rank + 1) (Järvelin, Kekäläinen 2002).

    Args:
        ranks: The ranks.
        k: Best candidates that count; all by default.
    """
    depth = min(k or ranks.num_candidates, ranks.num_candidates)
    gains = 1.0 / np.log2(np.arange(2, depth + 2))
    total = np.concatenate([[0.0], np.cumsum(gains)])
    last = np.minimum(ranks.above + ranks.tied, depth)
    shares = (total[last] - total[np.minimum(ranks.above, depth)]) / ranks.tied
    alone = (ranks.tied == 1) & (ranks.above < depth)
    shares[alone] = gains[ranks.above[alone]]  # without the rounding of the sums
    return _sum(ranks, shares) / total[np.minimum(_num_relevant(ranks), depth)]


def reciprocal_rank(ranks: AnswerRanks) -> NDArray:
    """(Q,) one over the rank of the first right answer."""
    above, tied, sizes = _best_groups(ranks)
    values = 1.0 / (above + 1.0)
    for query in np.flatnonzero(tied > 1):
        values[query] = _expected_inverse(int(above[query]), int(tied[query]), int(sizes[query]))
    return values


def first_rank(ranks: AnswerRanks) -> NDArray:
    """(Q,) rank of the first right answer, from 1; m right ones among e equal scores begin at (e + 1) / (m + 1)."""
    above, tied, sizes = _best_groups(ranks)
    return above + (tied + 1.0) / (sizes + 1.0)


def _best_groups(ranks: AnswerRanks) -> tuple[NDArray, NDArray, NDArray]:
    """(Q,) above, tied and number of right answers of the highest scores that hold a right answer."""
    above = np.full(ranks.num_queries, ranks.num_candidates)
    np.minimum.at(above, ranks.owners, ranks.above)
    best = ranks.above == above[ranks.owners]
    tied = np.ones(ranks.num_queries, np.int64)
    tied[ranks.owners[best]] = ranks.tied[best]
    return above, tied, _sum(ranks, best)


def _sum(ranks: AnswerRanks, values: NDArray) -> NDArray:
    return np.bincount(ranks.owners, weights=values, minlength=ranks.num_queries)


def _num_relevant(ranks: AnswerRanks) -> NDArray:
    return np.bincount(ranks.owners, minlength=ranks.num_queries)


@lru_cache(maxsize=4096)
def _tied_sums(above: int, tied: int) -> tuple[float, float]:
    """Sums over s = 1 ... e of 1 / (g + s) and of (s - 1) / (g + s)."""
    places = np.arange(1, tied + 1, dtype=np.float64)
    return float((1 / (above + places)).sum()), float(((places - 1) / (above + places)).sum())


@lru_cache(maxsize=4096)
def _expected_inverse(above: int, tied: int, marked: int) -> float:
    """Mean of 1 / (g + s), s the first of m marked places in a random order of e."""
    places = np.arange(1, tied - marked + 2, dtype=np.float64)
    # The first is at s + 1 rather than s with the ratio (e - s - m + 1) / (e - s) of probabilities; at 1 with m / e.
    ratios = (tied - places[:-1] - marked + 1) / (tied - places[:-1])
    probabilities = marked / tied * np.concatenate([[1.0], np.cumprod(ratios)])
    return float((probabilities / (above + places)).sum())
