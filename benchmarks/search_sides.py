"""One side of `benchmarks/search.py`: ours, plain NumPy, or the flat index of FAISS, over rows mapped from disk."""

from collections.abc import Callable
from typing import Any

import numpy as np
from worker import serve

_CHUNK_ROWS = 16_384  # of the plain NumPy side: its scores of 1,000 queries take 64 MB


def build(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], float]]]:
    """The search of one side; a step gives the checksum of the rows that it found."""
    rows = np.load(settings["rows"], mmap_mode="r")
    queries = np.load(settings["queries"])
    search = {"ours": _ours, "numpy": _numpy, "faiss": _faiss}[settings["side"]](rows, queries, settings)

    def step() -> float:
        return float(np.sort(search(), axis=1).sum())

    return {"side": settings["side"]}, {"step": step}


def _ours(rows: np.ndarray, queries: np.ndarray, settings: dict[str, Any]) -> Callable[[], np.ndarray]:
    from phenolip.inference.search_exact import exact_search

    return lambda: exact_search(queries, rows, settings["top"]).rows


def _numpy(rows: np.ndarray, queries: np.ndarray, settings: dict[str, Any]) -> Callable[[], np.ndarray]:
    def search() -> np.ndarray:
        best, found = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for start in range(0, len(rows), _CHUNK_ROWS):
            scores = queries @ rows[start : start + _CHUNK_ROWS].T
            places = np.argpartition(scores, -settings["top"], axis=1)[:, -settings["top"] :]
            best = np.concatenate([best, np.take_along_axis(scores, places, axis=1)], axis=1)
            found = np.concatenate([found, places + start], axis=1)
            kept = np.argpartition(best, -settings["top"], axis=1)[:, -settings["top"] :]
            best, found = np.take_along_axis(best, kept, axis=1), np.take_along_axis(found, kept, axis=1)
        return found

    return search


def _faiss(rows: np.ndarray, queries: np.ndarray, settings: dict[str, Any]) -> Callable[[], np.ndarray]:
    import faiss

    faiss.omp_set_num_threads(settings["threads"])
    index = faiss.IndexFlatIP(rows.shape[1])
    for start in range(0, len(rows), _CHUNK_ROWS):
        index.add(np.ascontiguousarray(rows[start : start + _CHUNK_ROWS]))
    return lambda: index.search(queries, settings["top"])[1]


if __name__ == "__main__":
    serve(build)
