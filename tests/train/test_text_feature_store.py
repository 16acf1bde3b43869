"""The store of text features: each text once, over parts, stops and processes."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from phenolip.train import text_feature_store
from phenolip.train.text_feature_store import TextFeatureStore

TEXTS = [f"text {number}" for number in range(40)]


def row_of(text: str) -> list[float]:
    return [len(text), sum(text.encode())]


def encode(texts: list[str]) -> np.ndarray:
    return np.array([row_of(text) for text in texts], dtype=np.float32)


def test_each_text_is_encoded_once_and_order_is_kept(tmp_path):
    asked = []

    def noted(texts):
        asked.extend(texts)
        return encode(texts)

    store = TextFeatureStore(tmp_path, noted, part_size=2)
    assert store.features(["bb", "a", "bb"]).tolist() == [row_of("bb"), row_of("a"), row_of("bb")]
    assert TextFeatureStore(tmp_path, noted).features(["ccc", "a"]).tolist() == [row_of("ccc"), row_of("a")]
    assert sorted(asked) == ["a", "bb", "ccc"]


def test_a_stopped_run_goes_on(tmp_path):
    num_encoded = []

    def stops(texts):
        if sum(num_encoded) >= 16:
            raise KeyboardInterrupt
        num_encoded.append(len(texts))
        return encode(texts)

    with pytest.raises(KeyboardInterrupt):
        TextFeatureStore(tmp_path, stops, part_size=8).features(TEXTS)
    before = sum(num_encoded)

    def counted(texts):
        num_encoded.append(len(texts))
        return encode(texts)

    rows = TextFeatureStore(tmp_path, counted, part_size=8).features(TEXTS)
    assert rows.tolist() == encode(TEXTS).tolist()
    assert before == 16 and sum(num_encoded) == len(TEXTS)


def _fill(folder: Path, counts) -> None:
    def slow(texts):
        time.sleep(0.05)
        counts.put(len(texts))
        return encode(texts)

    assert TextFeatureStore(folder, slow, part_size=4).features(TEXTS).tolist() == encode(TEXTS).tolist()


def test_processes_fill_it_together(tmp_path):
    context = multiprocessing.get_context("fork")
    counts = context.Queue()
    processes = [context.Process(target=_fill, args=(tmp_path, counts)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sum(counts.get(timeout=5) for _ in range(10)) == len(TEXTS) and counts.empty()


def test_large_results_are_memory_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(text_feature_store, "MOST_IN_MEMORY", 100)
    rows = TextFeatureStore(tmp_path, encode).features(TEXTS)
    assert isinstance(rows, np.memmap) and rows.tolist() == encode(TEXTS).tolist()
