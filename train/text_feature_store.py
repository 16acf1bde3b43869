"""What frozen encoders say about texts, kept on disk: filled once, by any number of processes, and memory-mapped."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from phenolip.whole_files import whole_file

PART_SIZE = 2048  # texts between two writes: what an interrupted run does again at most
MOST_IN_MEMORY = 2**28  # bytes; larger results are memory-mapped, so that processes share them


class TextFeatureStore:
    """Rows of a frozen encoder's output on disk, one per distinct text, keyed by the text's sha256.

    Texts that the store lacks are encoded in parts of 2,048, each written whole. Processes that ask for the same texts
    take parts from each other's way: together they fill the store, and a run that was stopped goes on where it was.

    Args:
        folder: Where the parts are kept; one folder per encoder.
        encode: Distinct texts -> (n, D) float32. Called for each part with the texts that the store lacks.
        part_size: Texts of a part.
    """

    def __init__(
        self, folder: str | Path, encode: Callable[[list[str]], np.ndarray], *, part_size: int = PART_SIZE
    ) -> None:
        self.folder, self.encode, self.part_size = Path(folder), encode, part_size

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), D) float32, in the order given; equal texts share a row of the store.

        Above 256 MB the result is a memory-mapped file of the store.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = np.array([hashlib.sha256(text.encode()).digest()[:16] for text in texts], dtype="V16")
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        self._fill(distinct, first, texts)
        return self._gather(distinct, inverse)

    def _fill(self, distinct: np.ndarray, first: np.ndarray, texts: Sequence[str]) -> None:
        """Encodes what is missing: parts that no other process holds, then waits for those that one does."""
        held_elsewhere = []
        for number, part in enumerate(self._parts(distinct, self._stored_keys())):
            lock = FileLock(self.folder / f".{hashlib.sha256(distinct[part].tobytes()).hexdigest()[:16]}.lock")
            try:
                with lock.acquire(blocking=False):
                    self._encode_part(distinct[part], [texts[place] for place in first[part]])
            except Timeout:
                held_elsewhere.append((number, part, lock))
        for _, part, lock in held_elsewhere:
            with lock:
                self._encode_part(distinct[part], [texts[place] for place in first[part]])

    def _parts(self, distinct: np.ndarray, stored: np.ndarray) -> Iterator[slice]:
        """Equal for every process that asks for these texts, whatever is stored; complete ones are left out."""
        for start in range(0, len(distinct), self.part_size):
            part = slice(start, start + self.part_size)
            if not np.isin(distinct[part], stored).all():
                yield part

    def _encode_part(self, keys: np.ndarray, texts: list[str]) -> None:
        missing = np.flatnonzero(~np.isin(keys, self._stored_keys()))
        if not len(missing):  # another process was here
            return
        rows = np.asarray(self.encode([texts[place] for place in missing]), dtype=np.float32)
        part = np.empty(len(missing), dtype=[("key", "V16"), ("row", "<f4", rows.shape[1:])])
        part["key"], part["row"] = keys[missing], rows
        name = hashlib.sha256(keys[missing].tobytes()).hexdigest()[:16]
        self._write(f"part_{name}.npy", part)

    def _write(self, name: str, array: np.ndarray) -> None:
        with whole_file(self.folder / name) as file:
            np.save(file, array, allow_pickle=False)

    def _stored(self) -> Iterator[np.ndarray]:
        for path in sorted(self.folder.glob("part_*.npy")):
            yield np.load(path, mmap_mode="r", allow_pickle=False)

    def _stored_keys(self) -> np.ndarray:
        keys = [np.array(part["key"]) for part in self._stored()]
        return np.concatenate(keys) if keys else np.empty(0, dtype="V16")

    def _gather(self, distinct: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        rows = None
        for part in self._stored():
            places = np.searchsorted(distinct, part["key"])
            places[places == len(distinct)] = 0
            wanted = np.flatnonzero(distinct[places] == part["key"])
            if rows is None:
                rows = np.empty((len(distinct), *part["row"].shape[1:]), dtype=np.float32)
            rows[places[wanted]] = part["row"][wanted]
        if inverse.size * rows[0].nbytes <= MOST_IN_MEMORY:
            return rows[inverse]
        name = f"rows_{hashlib.sha256(distinct[inverse].tobytes()).hexdigest()[:16]}.npy"
        if not (self.folder / name).exists():
            self._write(name, rows[inverse])
        return np.load(self.folder / name, mmap_mode="c", allow_pickle=False)
