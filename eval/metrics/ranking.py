"""Hit rate and fractional recall at k, with ties in the expected order and the score matrix never held whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SCORES = 2**24  # scores held at a time: 64 MiB of float32
_COUNTED = 4  # up to so many answers a query, counting what is above each is cheaper than finding thresholds
_BLOCK_SCORES = 2**18  # scores compared at a time: 1 MiB, which a core's cache holds


@dataclass(frozen=True, slots=True)
class RankingValues:
    """Per-query values of one retrieval direction (Q queries, K cutoffs); every field is (Q, K), float64, in [0, 1].

    ``chance_hits`` and ``chance_recalls`` are what a uniformly random order of the candidates gives, in closed form.
    """

    hits: NDArray
    recalls: NDArray
    chance_hits: NDArray
    chance_recalls: NDArray


def miss_probability(num_items: NDArray, num_marked: NDArray, num_drawn: NDArray) -> NDArray:
    """Probability that a draw without replacement holds none of the marked items.

    With e items, m of them marked and s drawn this is ``C(e - m, s) / C(e, s)``. Cancelling factorials leaves
    ``prod_{j < m} (e - s - j) / (e - j)``, a product of m numbers in [0, 1] that cannot overflow; a factor that would
    be negative means that fewer than s unmarked items exist, so the probability is 0.

    Args:
        num_items: e, at least 1.
        num_marked: m, at most e.
        num_drawn: s, at most e.

    Shapes (any one shape, broadcast together): returns float64.

    Example:
        >>> float(miss_probability(4, 1, 1))
        0.75
    """
    num_items, num_marked, num_drawn = np.broadcast_arrays(num_items, num_marked, num_drawn)
    probability = np.ones(num_items.shape)
    for j in range(int(num_marked.max(initial=0))):
        factor = np.maximum(num_items - num_drawn - j, 0) / np.maximum(num_items - j, 1)
        probability = np.where(j < num_marked, probability * factor, probability)
    return probability


def expected_hit_and_recall(scores: NDArray, relevant: NDArray, ks: Sequence[int]) -> tuple[NDArray, NDArray]:
    """Expected hit and fractional recall at k, over a uniformly random order inside each group of equal scores.

    Only the group that straddles rank k is in doubt. Let t be the k-th largest score, a the number of candidates above
    t, e the number equal to t, and s = k - a the places left for them (1 <= s <= e). Of the r relevant candidates, let
    r_a be above t and r_e equal to t. In a random order of the e tied candidates each takes one of the s places with
    probability s / e, and none of the r_e takes one with probability C(e - r_e, s) / C(e, s). Hence

        E[recall@k] = (r_a + r_e * s / e) / r
        E[hit@k]    = 1 if r_a > 0, else 1 - C(e - r_e, s) / C(e, s)

    A cutoff above the number of candidates M reads as M. Without ties these are the usual metrics. The formulas are
    plain counting and ours; the tests compare them with every permutation of small cases.

    Args:
        scores: Larger is better; no NaN.
        relevant: True where the candidate answers the query; at least one in each row.
        ks: Cutoffs, each at least 1.

    Shapes (Q queries, M candidates, K cutoffs):
        scores, relevant: (Q, M). returns: two of (Q, K), float64.

    Example:
        >>> hit, recall = expected_hit_and_recall(np.array([[0.5, 0.5, 0.1]]), np.array([[True, False, True]]), [1, 2])
        >>> hit.tolist(), recall.tolist()
        ([[0.5, 1.0]], [[0.25, 0.5]])
    """
    num_candidates = scores.shape[1]
    depths = np.minimum(np.asarray(ks), num_candidates)
    positions = num_candidates - depths  # of the k-th largest in ascending order
    thresholds = np.partition(scores, np.unique(positions), axis=1)[:, positions]  # (Q, K)
    num_relevant = relevant.sum(axis=1)
    hits, recalls = np.empty(thresholds.shape), np.empty(thresholds.shape)
    for column, depth in enumerate(depths):
        threshold = thresholds[:, column, None]
        above, tied = scores > threshold, scores == threshold
        num_tied, num_places = tied.sum(axis=1), depth - above.sum(axis=1)
        relevant_above, relevant_tied = (above & relevant).sum(axis=1), (tied & relevant).sum(axis=1)
        recalls[:, column] = (relevant_above + relevant_tied * num_places / num_tied) / num_relevant
        misses = miss_probability(num_tied, relevant_tied, num_places)
        hits[:, column] = np.where(relevant_above > 0, 1.0, 1.0 - misses)
    return hits, recalls


def counted_hit_and_recall(scores: NDArray, relevant: NDArray, ks: Sequence[int]) -> tuple[NDArray, NDArray]:
    """`expected_hit_and_recall` for few answers a query, from the rank of each answer; no score is sorted.

    Let g be the number of scores above that of an answer, and e of those equal to it, its own included. A random order
    of the e puts it within the first k with probability min(max((k - g) / e, 0), 1); the recall is the mean over the
    answers. At most one group of equal scores straddles rank k, and the hit follows from its answers as there.

    Args:
        scores: Larger is better; no NaN.
        relevant: Distinct columns of the answers; -1 fills up rows with fewer than R, and no row is all -1.
        ks: Cutoffs, each at least 1.

    Shapes (Q queries, M candidates, R answers, K cutoffs):
        scores: (Q, M). relevant: (Q, R). returns: two of (Q, K), float64.

    Example:
        >>> hit, recall = counted_hit_and_recall(np.array([[0.5, 0.5, 0.1]]), np.array([[0, 2]]), [1, 2])
        >>> hit.tolist(), recall.tolist()
        ([[0.5, 1.0]], [[0.25, 0.5]])
    """
    known = relevant >= 0
    found = np.take_along_axis(scores, np.maximum(relevant, 0), axis=1)  # (Q, R)
    above, tied = np.empty(relevant.shape, np.int64), np.empty(relevant.shape, np.int64)
    block = max(1, _BLOCK_SCORES // scores.shape[1])
    for start in range(0, len(scores), block):
        rows = slice(start, start + block)
        for column in range(relevant.shape[1]):
            own = found[rows, column, None]
            above[rows, column] = np.count_nonzero(scores[rows] > own, axis=1)
            tied[rows, column] = np.count_nonzero(scores[rows] == own, axis=1)
    depths = np.minimum(np.asarray(ks), scores.shape[1])[:, None]  # (K, 1)
    places = np.clip(depths - above[:, None, :], 0, tied[:, None, :])  # (Q, K, R): of its group within the first k
    inside = known[:, None, :] * places / tied[:, None, :]
    recalls = inside.sum(axis=2) / known.sum(axis=1)[:, None]
    straddles = (inside > 0) & (inside < 1)
    # The group that straddles rank k is the same for all its answers: the largest stands for it.
    num_tied = np.where(straddles, tied[:, None, :], 1).max(axis=2)
    num_places = np.where(straddles, places, 0).max(axis=2)
    misses = miss_probability(num_tied, straddles.sum(axis=2), num_places)
    return np.where((inside == 1).any(axis=2), 1.0, 1.0 - misses), recalls


def rank_candidates(
    queries: Any,
    candidates: Any,
    relevant: Sequence[NDArray],
    ks: Sequence[int],
    *,
    chunk_rows: int | None = None,
) -> RankingValues:
    """Hit and recall of every query, its candidates ordered by inner product in float32.

    Equal candidates are scored once, so that they tie exactly: a matrix product may round equal columns differently.
    A sparse product adds up equal columns in the same order, and needs no such care.

    Args:
        queries: Query embeddings, an array or a SciPy sparse array in CSR form.
        candidates: Candidate embeddings, of the same kind.
        relevant: For each query the distinct rows of the candidates that answer it; none may be empty.
        ks: Cutoffs, each at least 1; one above the number of candidates reads as that number.
        chunk_rows: Queries scored at a time; by default as many as keep 2**24 scores in memory.

    Shapes (Q queries, M candidates, D width): queries (Q, D), candidates (M, D).

    Raises:
        ValueError: A shape, cutoff, embedding or set of relevant rows is not usable.
    """
    queries, candidates = _float32(queries), _float32(candidates)
    _check(queries, candidates, relevant, ks)
    num_queries, num_candidates = queries.shape[0], candidates.shape[0]
    has_duplicates = False
    if not _is_sparse(candidates):
        firsts, inverse = _distinct_rows(candidates)
        has_duplicates = len(firsts) < num_candidates
        candidates = candidates[firsts] if has_duplicates else candidates
    chunk_rows = chunk_rows or max(1, CHUNK_SCORES // num_candidates)
    hits, recalls = np.empty((num_queries, len(ks))), np.empty((num_queries, len(ks)))
    for start in range(0, num_queries, chunk_rows):
        rows = slice(start, start + chunk_rows)
        scores = queries[rows] @ candidates.T
        if _is_sparse(scores):
            scores = scores.toarray()
        if has_duplicates:
            scores = scores[:, inverse]
        hits[rows], recalls[rows] = _hit_and_recall(scores, relevant[rows], ks)
    num_relevant = np.array([len(columns) for columns in relevant])[:, None]
    depths = np.minimum(np.asarray(ks), num_candidates)[None, :]
    chance_hits = 1.0 - miss_probability(num_candidates, num_relevant, depths)
    return RankingValues(hits, recalls, chance_hits, np.broadcast_to(depths / num_candidates, hits.shape))


def _hit_and_recall(scores: NDArray, relevant: Sequence[NDArray], ks: Sequence[int]) -> tuple[NDArray, NDArray]:
    """By whichever way is cheaper; both are exact."""
    most = max(map(len, relevant))
    if most <= _COUNTED:
        columns = np.full((len(relevant), most), -1)
        for row, answers in enumerate(relevant):
            columns[row, : len(answers)] = answers
        return counted_hit_and_recall(scores, columns, ks)
    mask = np.zeros(scores.shape, bool)
    for row, answers in enumerate(relevant):
        mask[row, answers] = True
    return expected_hit_and_recall(scores, mask, ks)


def _distinct_rows(embeds: NDArray) -> tuple[NDArray, NDArray]:
    """Row where each distinct row first occurs, and for each row its place among those (N,).

    Rows are told apart by a 64-bit hash; should two that differ share one, all rows are compared in full.
    """
    embeds = np.ascontiguousarray(embeds) + np.float32(0)  # minus zero becomes zero
    bits = embeds.view(np.uint32)
    weights = np.random.default_rng(0).integers(1, 2**63, embeds.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = np.empty(len(embeds), np.uint64)
    for start in range(0, len(embeds), 4096):
        hashes[start : start + 4096] = (bits[start : start + 4096] * weights).sum(axis=1)  # wraps, as it should
    _, firsts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    if len(firsts) < len(embeds) and not np.array_equal(embeds[firsts][inverse].view(np.uint32), bits):
        _, firsts, inverse = np.unique(embeds, axis=0, return_index=True, return_inverse=True)
    return firsts, inverse.ravel()


def _is_sparse(embeds: Any) -> bool:
    return hasattr(embeds, "tocsr")  # SciPy, which is not needed otherwise


def _float32(embeds: Any) -> Any:
    return embeds.tocsr().astype(np.float32) if _is_sparse(embeds) else np.asarray(embeds, np.float32)


def _check(queries: Any, candidates: Any, relevant: Sequence[NDArray], ks: Sequence[int]) -> None:
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(
            f"`queries` and `candidates` must be 2-D of one width, got {queries.shape} and {candidates.shape}."
        )
    num_queries, num_candidates = queries.shape[0], candidates.shape[0]
    if num_queries == 0 or num_candidates == 0:
        raise ValueError(
            f"Retrieval needs a query and a candidate, got {num_queries} queries and {num_candidates} candidates."
        )
    if not len(ks) or min(ks) < 1:
        raise ValueError(f"`ks` must hold cutoffs of at least 1, got {list(ks)}.")
    if len(relevant) != num_queries:
        raise ValueError(
            f"`relevant` must hold one set for each query, got {len(relevant)} for {num_queries} queries."
        )
    empty = next((row for row, columns in enumerate(relevant) if not len(columns)), None)
    if empty is not None:
        raise ValueError(f"`relevant` row {empty} is empty: leave a query without an answer out.")
    for name, embeds in (("queries", queries), ("candidates", candidates)):
        if not np.isfinite(embeds.data if _is_sparse(embeds) else embeds).all():
            raise ValueError(f"`{name}` must be finite, got NaN or infinity: the model's weights may have diverged.")
