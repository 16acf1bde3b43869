"""Hit rate and fractional recall at k, with ties in the expected order and the score matrix never held whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SCORES = 2**24  # scores held at a time: 64 MiB of float32


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
        distinct, inverse = np.unique(candidates, axis=0, return_inverse=True)
        has_duplicates = len(distinct) < num_candidates
        candidates = distinct if has_duplicates else candidates
    chunk_rows = chunk_rows or max(1, CHUNK_SCORES // num_candidates)
    hits, recalls = np.empty((num_queries, len(ks))), np.empty((num_queries, len(ks)))
    for start in range(0, num_queries, chunk_rows):
        rows = slice(start, start + chunk_rows)
        scores = queries[rows] @ candidates.T
        if _is_sparse(scores):
            scores = scores.toarray()
        if has_duplicates:
            scores = scores[:, inverse.ravel()]
        mask = np.zeros(scores.shape, bool)
        for row, columns in enumerate(relevant[rows]):
            mask[row, columns] = True
        hits[rows], recalls[rows] = expected_hit_and_recall(scores, mask, ks)
    num_relevant = np.array([len(columns) for columns in relevant])[:, None]
    depths = np.minimum(np.asarray(ks), num_candidates)[None, :]
    chance_hits = 1.0 - miss_probability(num_candidates, num_relevant, depths)
    return RankingValues(hits, recalls, chance_hits, np.broadcast_to(depths / num_candidates, hits.shape))


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
