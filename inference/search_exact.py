"""Exact nearest rows by inner product, a chunk of rows at a time: memory grows with neither side."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError

_CHUNK_ROWS = 4096  # candidates at a time: their scores stay near the cores, their product is at full speed
_BLOCK_QUERIES = 1024
_PAIRS = 256  # pairs that are scored again at a time: 1 MB at 512 numbers
_CROWD = 4  # times K survivors a query, above which the bounds are raised first


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The K best candidates of Q queries.

    Attributes:
        rows: (Q, K) int64 rows of the candidates, best first; of equal scores the lower row comes first.
        scores: (Q, K) float64 inner products.
    """

    rows: NDArray
    scores: NDArray


def exact_search(queries: NDArray, candidates: NDArray, top: int, *, rows: NDArray | None = None) -> Neighbours:
    """The candidates with the highest inner product of every query; whatever the chunks, the same bits.

    A matrix product in float32 leaves out all that cannot be among the best: a candidate is kept while its score plus
    the rounding error that float32 allows reaches the K-th best so far. What is left, a few rows a chunk, is scored
    again in float64, so that equal candidates tie exactly. Ours; the error bound is Higham's (Accuracy and Stability
    of Numerical Algorithms, 2nd edition, eq. 3.5) and holds for any order of summation.

    Args:
        queries: Query embeddings.
        candidates: Candidate embeddings, float32 or float16; a memory map is read chunk by chunk.
        top: Candidates of each query, K; at most as many as there are.
        rows: Ascending rows to search among; by default all.

    Shapes (Q queries, N candidates, D width): queries (Q, D), candidates (N, D), rows (n,).

    Raises:
        ConfigurationError: ``top`` is below 1.
        DataError: The widths differ, there is nothing to search for or among, or a number is not finite.

    Example:
        >>> found = exact_search(np.eye(2), np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], np.float32), 2)
        >>> found.rows.tolist()
        [[1, 0], [0, 2]]
    """
    queries = np.ascontiguousarray(queries, np.float32)
    _check(queries, candidates, top, rows)
    num = len(candidates) if rows is None else len(rows)
    blocks = [
        _search_block(queries[start : start + _BLOCK_QUERIES], candidates, min(top, num), rows)
        for start in range(0, len(queries), _BLOCK_QUERIES)
    ]
    return Neighbours(np.concatenate([block.rows for block in blocks]), np.concatenate([b.scores for b in blocks]))


def check_top(top: int) -> None:
    """Raises ``ConfigurationError`` unless at least one row is asked for."""
    if top < 1:
        raise ConfigurationError(f"`top` must be at least 1, got {top}.")


def check_finite(chunk: NDArray, numbers: NDArray, what: str) -> NDArray:
    """Squared norms (n,) of some rows, once all are finite; their ``numbers`` and ``what`` are for the message.

    Raises:
        DataError: A row holds NaN or infinity, or is too long for float32.
    """
    squares = np.einsum("nd,nd->n", chunk, chunk)
    if not np.isfinite(squares).all():
        row = numbers[np.isfinite(squares).argmin()]
        raise DataError(f"`{what}` must be finite numbers, got NaN, infinity or a number beyond float32 in row {row}.")
    return squares


def _check(queries: NDArray, candidates: NDArray, top: int, rows: NDArray | None) -> None:
    check_top(top)
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise DataError(f"`queries` must be as wide as the rows, got shapes {queries.shape} and {candidates.shape}.")
    if not len(queries) or not len(candidates) or (rows is not None and not len(rows)):
        raise DataError("A search needs at least one query and one row to search among, got none.")
    check_finite(queries, np.arange(len(queries)), "queries")


def _chunks(candidates: NDArray, rows: NDArray | None, least: int) -> Iterator[tuple[NDArray, NDArray]]:
    """Row numbers and rows in float32, a chunk at a time; the first holds at least ``least`` of them."""
    num, size = len(candidates) if rows is None else len(rows), max(_CHUNK_ROWS, least)
    for start in range(0, num, size):
        stop = min(start + size, num)
        if rows is None:
            yield np.arange(start, stop), np.asarray(candidates[start:stop], np.float32)
        else:
            yield rows[start:stop], np.asarray(candidates[rows[start:stop]], np.float32)


def _search_block(queries: NDArray, candidates: NDArray, top: int, rows: NDArray | None) -> Neighbours:
    errors_at_1 = 2.0 * queries.shape[1] * 2.0**-24 * np.linalg.norm(queries.astype(np.float64), axis=1)
    underflow = 2.0 * queries.shape[1] * float(np.finfo(np.float32).tiny)  # products may be flushed to zero
    best = Neighbours(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0)))
    bounds = np.full(len(queries), -np.inf)  # K candidates are at least as good
    pending: list[tuple[NDArray, NDArray, NDArray]] = []  # owner, row and score of pairs that are not merged yet
    products = marks = np.empty((0, 0))
    for numbers, chunk in _chunks(candidates, rows, top):
        squares = check_finite(chunk, numbers, "embeddings")
        errors = errors_at_1 * np.sqrt(float(squares.max())) + underflow
        if products.shape != (len(queries), len(chunk)):
            products, marks = (np.empty((len(queries), len(chunk)), kind) for kind in (np.float32, bool))
        np.matmul(queries, chunk.T, out=products)
        _mark(products, bounds - errors, marks)
        if np.count_nonzero(marks) > _CROWD * top * len(queries) and len(chunk) >= top:
            bounds = np.maximum(bounds, np.partition(products, -top, axis=1)[:, -top] - errors)
            _mark(products, bounds - errors, marks)
        owners, columns = np.divmod(np.flatnonzero(marks), len(chunk))
        pending.append((owners, numbers[columns], _rescore(queries, chunk, owners, columns)))
        # Rare enough to cost nothing, often enough that the bounds stay close: each time the rows seen have doubled.
        if sum(len(owners) for owners, _, _ in pending) >= top * len(queries):
            best, pending = _merge(best, pending, top), []
            bounds = np.maximum(bounds, best.scores[:, -1])
    return _merge(best, pending, top) if pending else best


def _mark(products: NDArray, bounds: NDArray, marks: NDArray) -> None:
    lower = np.nextafter(bounds.astype(np.float32), np.float32(-np.inf))  # rounding must not raise a bound
    np.greater_equal(products, lower[:, None], out=marks)


def _rescore(queries: NDArray, chunk: NDArray, owners: NDArray, columns: NDArray) -> NDArray:
    """(P,) inner products of pairs in float64; equal rows get equal bits."""
    scores = np.empty(len(owners))
    for start in range(0, len(owners), _PAIRS):
        part = slice(start, start + _PAIRS)
        scores[part] = np.multiply(queries[owners[part]], chunk[columns[part]], dtype=np.float64).sum(axis=1)
    return scores


def _merge(best: Neighbours, pending: list[tuple[NDArray, NDArray, NDArray]], top: int) -> Neighbours:
    """The K best of those so far and some new pairs; where there are not K in all, every query has as many."""
    num, kept = best.rows.shape
    known = (np.repeat(np.arange(num), kept), best.rows.ravel(), best.scores.ravel())
    owners, rows, scores = map(np.concatenate, zip(known, *pending, strict=True))
    order = np.lexsort((rows, -scores, owners))
    places = np.arange(len(order)) - np.searchsorted(owners[order], owners[order])  # within the query
    order = order[places < top].reshape(num, -1)
    return Neighbours(rows[order], scores[order])
