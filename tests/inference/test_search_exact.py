import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference import search_exact
from phenolip.inference.search_exact import exact_search


def brute_force(queries, candidates, top):
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return rows, np.take_along_axis(scores, rows, axis=1)


@pytest.mark.parametrize("seed", range(12))
def test_equals_a_stable_sort_with_many_ties_and_uneven_chunks(seed, monkeypatch):
    monkeypatch.setattr(search_exact, "_CHUNK_ROWS", 64)
    monkeypatch.setattr(search_exact, "_BLOCK_QUERIES", 5)
    rng = np.random.default_rng(seed)
    num, num_queries, top, width = rng.integers(1, (700, 14, 90, 24))
    candidates = rng.integers(-2, 3, (num, width)).astype(np.float32)
    queries = rng.integers(-2, 3, (num_queries, width)).astype(np.float32)
    rows, scores = brute_force(queries, candidates, top)
    found = exact_search(queries, candidates, int(top))
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)


@pytest.mark.parametrize("order", ["rising", "falling", "equal"])
def test_rows_in_the_worst_order_are_found_too(order, monkeypatch):
    monkeypatch.setattr(search_exact, "_CHUNK_ROWS", 32)
    rng = np.random.default_rng(0)
    candidates = rng.standard_normal((500, 16)).astype(np.float32)
    query = rng.standard_normal((1, 16)).astype(np.float32)
    places = np.argsort((candidates @ query.T).ravel())
    candidates = candidates[{"rising": places, "falling": places[::-1], "equal": np.zeros(500, int)}[order]]
    rows = brute_force(query, candidates, 7)[0] if order != "equal" else [range(7)]
    np.testing.assert_array_equal(exact_search(query, candidates, 7).rows, rows)


def test_equal_rows_tie_whatever_the_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    distinct = rng.standard_normal((40, 512)).astype(np.float32)
    candidates, queries = np.tile(distinct, (9, 1)), rng.standard_normal((6, 512)).astype(np.float32)
    results = []
    for size in (17, 64, 4096):
        monkeypatch.setattr(search_exact, "_CHUNK_ROWS", size)
        results.append(exact_search(queries, candidates, 20))
    for found in results:
        np.testing.assert_array_equal(found.rows, results[0].rows)
        np.testing.assert_array_equal(found.scores, results[0].scores)
    np.testing.assert_array_equal(np.diff(results[0].rows[:, :9]), 40)  # the nine copies of the best, in their order


def test_half_precision_a_memory_map_and_chosen_rows(tmp_path):
    rng = np.random.default_rng(2)
    np.save(tmp_path / "rows.npy", rng.standard_normal((300, 8)).astype(np.float16))
    candidates = np.load(tmp_path / "rows.npy", mmap_mode="r")
    queries, rows = rng.standard_normal((3, 8)).astype(np.float32), np.arange(5, 300, 7)
    expected, _ = brute_force(queries, candidates[rows], 4)
    np.testing.assert_array_equal(exact_search(queries, candidates, 4, rows=rows).rows, rows[expected])
    assert exact_search(queries, candidates, 1000).rows.shape == (3, 300)


def test_what_cannot_be_searched_is_refused():
    good, bad = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    bad[1, 2] = np.nan
    with pytest.raises(DataError, match="`embeddings` must be finite numbers, got NaN.* in row 1"):
        exact_search(good, bad, 1)
    with pytest.raises(DataError, match="`queries` must be finite numbers.* in row 1"):
        exact_search(bad, good, 1)
    with pytest.raises(DataError, match="in row 2"):
        exact_search(good, good * np.float32([[1], [1], [3e38]]), 1)
    with pytest.raises(DataError, match="`queries` must be as wide as the rows"):
        exact_search(good[:, :2], good, 1)
    with pytest.raises(DataError, match="at least one query"):
        exact_search(good, good, 1, rows=np.array([], int))
    with pytest.raises(ConfigurationError, match="`top` must be at least 1, got 0"):
        exact_search(good, good, 0)
