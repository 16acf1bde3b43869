"""Where the right answers of every query stand in the whole ranking, ties counted apart; no ranking is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics import ranking

_COUNTED = 8  # up to so many answers a query, counting what is above each is cheaper than sorting the scores
_BLOCK_SCORES = 2**18  # scores compared at a time: 1 MiB, which a core's cache holds
_LANE = 255  # bytes of 0 or 1 that may be added before a byte overflows


@dataclass(frozen=True, slots=True)
class AnswerRanks:
    """The right answers of Q queries among M candidates, one entry an answer (A in all), grouped by query.

    In a uniformly random order of equal scores an answer stands at each rank from ``above + 1`` to ``above + tied``
    with the same probability.

    Attributes:
        owners: (A,) row of the query, ascending.
        columns: (A,) row of the candidate that is the answer.
        above: (A,) candidates with a higher score.
        tied: (A,) candidates with the same score, the answer included.
        num_queries: Q.
        num_candidates: M.
    """

    owners: NDArray
    columns: NDArray
    above: NDArray
    tied: NDArray
    num_queries: int
    num_candidates: int

    def only(self, chosen: NDArray) -> "AnswerRanks":
        """The same ranking, of whose answers only the chosen ones, (A,) bool, count as right; the others stay in."""
        parts = (array[chosen] for array in (self.owners, self.columns, self.above, self.tied))
        return AnswerRanks(*parts, self.num_queries, self.num_candidates)


def answer_ranks(
    queries: Any, candidates: Any, relevant: Sequence[NDArray], *, chunk_rows: int | None = None
) -> AnswerRanks:
    """Ranks of all right answers, candidates ordered by inner product in float32.

    Needs chunks of the score matrix alone: memory grows with Q + M, time with Q x M. Equal candidates are scored once
    so that they tie exactly, as in `rank_candidates`.

    Args:
        queries: Query embeddings, float32.
        candidates: Candidate embeddings, float32.
        relevant: For each query the distinct rows of the candidates that answer it; none may be empty.
        chunk_rows: Queries scored at a time; by default as many as keep 2**24 scores in memory.

    Shapes (Q queries, M candidates, D width): queries (Q, D), candidates (M, D).

    Raises:
        ValueError: A shape, embedding or set of relevant rows is not usable.

    Example:
        >>> ranks = answer_ranks(np.eye(2), np.eye(2), [np.array([0]), np.array([0, 1])])
        >>> ranks.above.tolist(), ranks.tied.tolist()
        ([0, 1, 0], [1, 1, 1])
    """
    queries, candidates = np.asarray(queries, np.float32), np.asarray(candidates, np.float32)
    ranking._check(queries, candidates, relevant, [1])
    num_queries, num_candidates = len(queries), len(candidates)
    bounds = np.concatenate([[0], np.cumsum([len(columns) for columns in relevant])])
    owners = np.repeat(np.arange(num_queries), np.diff(bounds))
    columns = np.concatenate(relevant).astype(np.int64)
    above, tied = np.empty(len(columns), np.int64), np.empty(len(columns), np.int64)
    for start, scores in score_chunks(queries, candidates, chunk_rows=chunk_rows):
        stop = start + len(scores)
        part = slice(bounds[start], bounds[stop])
        above[part], tied[part] = _places(scores, bounds[start : stop + 1] - bounds[start], columns[part])
    return AnswerRanks(owners, columns, above, tied, num_queries, num_candidates)


def score_ranks(scores: Any, relevant: Sequence[NDArray]) -> AnswerRanks:
    """`answer_ranks` from scores that are there already.

    Args:
        scores: (Q, M) the higher, the better; finite.
        relevant: For each query the distinct columns that answer it; none may be empty.

    Raises:
        ValueError: A shape, score or set of relevant columns is not usable.

    Example:
        >>> score_ranks([[0.9, 0.1, 0.9]], [[0, 1]]).above.tolist()
        [0, 2]
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"`scores` must be a finite table of queries by candidates, got shape {scores.shape}.")
    if len(relevant) != len(scores):
        raise ValueError(
            f"`relevant` must hold one set for each query, got {len(relevant)} for {len(scores)} queries."
        )
    for row, columns in enumerate(relevant):
        inside = [0 <= column < scores.shape[1] for column in columns]
        if not inside or not all(inside) or len(set(columns)) < len(columns):
            raise ValueError(
                f"`relevant` row {row} must hold distinct columns below {scores.shape[1]}, got {list(columns)}."
            )
    bounds = np.concatenate([[0], np.cumsum([len(columns) for columns in relevant])])
    columns = np.concatenate([np.asarray(row, np.int64) for row in relevant])
    above, tied = _places(scores, bounds, columns)
    return AnswerRanks(np.repeat(np.arange(len(scores)), np.diff(bounds)), columns, above, tied, *scores.shape)


def score_chunks(
    queries: NDArray, candidates: NDArray, *, chunk_rows: int | None = None
) -> Iterator[tuple[int, NDArray]]:
    """Rows of the score matrix, a chunk at a time: where the chunk begins, and its scores (rows, M) in float32.

    Equal candidates are scored once: a matrix product may round equal columns differently.
    """
    firsts, inverse = ranking._distinct_rows(candidates)
    has_duplicates = len(firsts) < len(candidates)
    distinct = candidates[firsts] if has_duplicates else candidates
    chunk_rows = chunk_rows or max(1, ranking.CHUNK_SCORES // len(candidates))
    for start in range(0, len(queries), chunk_rows):
        scores = queries[start : start + chunk_rows] @ distinct.T
        yield start, scores[:, inverse] if has_duplicates else scores


def _places(scores: NDArray, bounds: NDArray, columns: NDArray) -> tuple[NDArray, NDArray]:
    """Above and tied of the answers of a chunk; bounds are those of its queries in `columns`."""
    numbers = np.diff(bounds)
    owners = np.repeat(np.arange(len(scores)), numbers)
    own = scores[owners, columns]
    above, tied = np.empty(len(columns), np.int64), np.empty(len(columns), np.int64)
    few = numbers <= _COUNTED
    for slot in range(int(numbers[few].max(initial=0))):
        rows = np.flatnonzero(few & (numbers > slot))
        answers = bounds[rows] + slot
        above[answers], tied[answers] = _count(scores, rows, own[answers])
    for row in np.flatnonzero(~few):
        answers = slice(bounds[row], bounds[row + 1])
        ordered = np.sort(scores[row])
        right = np.searchsorted(ordered, own[answers], "right")
        above[answers] = len(ordered) - right
        tied[answers] = right - np.searchsorted(ordered, own[answers], "left")
    return above, tied


def _count(scores: NDArray, rows: NDArray, own: NDArray) -> tuple[NDArray, NDArray]:
    """How many scores of each of the rows are above its own value, and how many equal it."""
    width = scores.shape[1]
    size = max(1, _BLOCK_SCORES // width)
    marks = np.zeros((min(size, len(rows)), -(-width // 8) * 8), bool)  # whole words; the rest stays False
    above, tied = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    every = len(rows) == len(scores)
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        block = scores[part] if every else scores[rows[part]]
        marked = marks[: len(block)]
        for compare, counts in ((np.greater, above), (np.equal, tied)):
            compare(block, own[part, None], out=marked[:, :width])
            counts[part] = _row_sums(marked)
    return above, tied


def _row_sums(marks: NDArray) -> NDArray:
    """Number of True in each row, eight at a time: the bytes of a word are added side by side."""
    words = marks.view(np.uint64)
    total = np.zeros(len(words), np.int64)
    for start in range(0, words.shape[1], _LANE):
        lanes = np.add.reduce(words[:, start : start + _LANE], axis=1)
        total += lanes.view(np.uint8).reshape(len(words), 8).sum(axis=1, dtype=np.int64)
    return total
