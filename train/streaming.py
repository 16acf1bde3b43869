"""Stage 2 over Parquet shards that are never a table: an order of rows by windows, and a reader that runs ahead of it.

As in `phenolip.train.data` the order is a pure function of (seed, epoch): a run goes on from any step by seeking, and
nothing but the step is saved.
"""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from torch.utils.data import Sampler

from phenolip.datasets_scripts.parquet_shards import ParquetShards
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.train.data import EpochPlan, ImageTextPairs, Key

COLUMNS = ("image", "caption", "hpo_ids", "sha256", "group_id")  # that a sample is made of
SHUFFLE_BUFFER = 4096  # rows: 64 MB at 256 pixels a side
MAX_LANES = 8  # so many processes read no row group twice
_NUM_READERS = 4

Record = dict[str, Any]


class WindowedOrder:
    """Every row once; row groups are shuffled, and rows only within a window of some row groups.

    The shuffled row groups are cut into `lanes` stretches of equal length, and each batch takes an equal part of its
    rows from each: processes, which take consecutive parts of a batch, then read different row groups, and yet the
    batches are the same for any number of them. With one window over all rows the order is that of a plain shuffle.

    Args:
        starts: (G + 1,) first row of each row group, and the number of rows.
        batch_size: Rows of one batch over all processes.
        buffer: Most rows of the windows of all lanes together.
        seed: With the epoch, fixes the order.

    Attributes:
        lanes: How many stretches, 8 or as many fewer as `batch_size` and `buffer` allow.

    Raises:
        ConfigurationError: One row group does not fit into `buffer`.
    """

    def __init__(self, starts: np.ndarray, batch_size: int, *, buffer: int, seed: int) -> None:
        self.starts, self.seed, self.num_rows = np.asarray(starts), seed, int(starts[-1])
        self.batch_size = min(batch_size, self.num_rows)
        largest = int(np.diff(self.starts).max())
        if largest > buffer:
            raise ConfigurationError(
                f"`shuffle_buffer` must be at least {largest}, the rows of the largest row group, got {buffer}; "
                "`phenolip prepare split` writes groups of 128."
            )
        sizes = (2**power for power in range(MAX_LANES.bit_length() - 1, -1, -1))
        self.lanes = next(size for size in sizes if self.batch_size % size == 0 and size * largest <= buffer)
        self.groups_per_window = buffer // (self.lanes * largest)

    def __call__(self, epoch: int) -> np.ndarray:
        """(num_rows,) row numbers."""
        rng = np.random.default_rng([self.seed, epoch])
        groups = rng.permutation(len(self.starts) - 1)
        rows = np.concatenate([np.arange(self.starts[group], self.starts[group + 1]) for group in groups])
        ends = np.cumsum(np.diff(self.starts)[groups])
        num_batches = self.num_rows // self.batch_size
        length = num_batches * self.batch_size // self.lanes
        for first in range(0, length * self.lanes, length):
            inside = ends[(ends > first) & (ends < first + length)]
            edges = [first, *inside[self.groups_per_window - 1 :: self.groups_per_window], first + length]
            for start, stop in zip(edges[:-1], edges[1:], strict=True):
                rows[start:stop] = rng.permutation(rows[start:stop])
        used, rest = np.split(rows, [length * self.lanes])
        batches = used.reshape(self.lanes, num_batches, self.batch_size // self.lanes).transpose(1, 0, 2)
        return np.concatenate([batches.ravel(), rest])


class StreamPlan(EpochPlan):
    """Batches of rows that are read as they are needed: `loader` wants `StreamedPairs`.

    Args:
        shards: The rows.
        buffer: Rows that are shuffled together; up to twice as many are in memory, over all processes.
        batch_size, seed, rank, world_size: As for `EpochPlan`.
    """

    def __init__(
        self, shards: ParquetShards, batch_size: int, *, buffer: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if shards.num_rows < 2:
            raise DataError(f"Contrastive training needs at least 2 rows, got {shards.num_rows}.")
        order = WindowedOrder(shards.starts, batch_size, buffer=buffer, seed=seed)
        super().__init__(shards.num_rows, batch_size, seed=seed, rank=rank, world_size=world_size, order=order)
        self.shards, self.buffer = shards, buffer

    def sampler(self, first_batch: int, num_batches: int, micro_batch_size: int) -> "ReadAhead":
        """Batches with their records, for the workers to decode."""
        turns = 2 if micro_batch_size else 1  # a batch comes twice
        ahead_rows = turns * (self.buffer + self.batch_size) // self.world_size
        return ReadAhead(self.shards, super().sampler(first_batch, num_batches, micro_batch_size), ahead_rows)


class ReadAhead(Sampler):
    """Keys -> keys with their records, whose row groups threads of this process read before they are needed.

    Workers get the bytes of their samples with the keys: else each would read every row group. A row group
    is kept until none of the batches that are looked ahead to needs it.

    Args:
        shards: The rows.
        batches: Keys of each batch.
        ahead_rows: How far to look ahead; below the rows of a window, row groups are read more than once.
    """

    def __init__(self, shards: ParquetShards, batches: Sampler, ahead_rows: int) -> None:
        self.shards, self.batches, self.ahead_rows = shards, batches, ahead_rows

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[Key, Record]]]:
        coming = iter(self.batches)
        waiting: deque[tuple[list[Key], list[int]]] = deque()
        num_waiting = 0
        held: dict[int, Future[pa.Table]] = {}
        needs: Counter[int] = Counter()  # batches in `waiting`, by row group
        pool = ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="read-ahead")
        try:
            while True:
                while num_waiting < self.ahead_rows and (keys := next(coming, None)) is not None:
                    groups = [self.shards.group_of(row) for _, row in keys]
                    waiting.append((keys, groups))
                    num_waiting += len(keys)
                    for group in set(groups):
                        needs[group] += 1
                        if group not in held:
                            held[group] = pool.submit(self.shards.read, group, COLUMNS)
                if not waiting:
                    return
                keys, groups = waiting.popleft()
                num_waiting -= len(keys)
                yield [
                    (key, _record(held[group].result(), key[1] - int(self.shards.starts[group])))
                    for key, group in zip(keys, groups, strict=True)
                ]
                for group in set(groups):
                    needs[group] -= 1
                    if not needs[group]:
                        del needs[group], held[group]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _record(table: pa.Table, place: int) -> Record:
    return {name: table.column(name)[place].as_py() for name in COLUMNS}


class StreamedPairs(ImageTextPairs):
    """Samples of `ImageTextPairs` with their texts, from records instead of a table.

    Args:
        settings: As for `ImageTextPairs`.
    """

    def __init__(self, num_rows: int, **settings: Any) -> None:
        super().__init__(range(num_rows), **settings)

    def __getitem__(self, item: tuple[Key, Record]) -> dict[str, Any]:
        """The augmented image, row, epoch and what else the record holds.

        Raises:
            DataError: The image is not in the file, or cannot be decoded.
        """
        (epoch, row), record = item
        image = record["image"]
        if not image or image["bytes"] is None:  # a path could name any file of this machine
            raise DataError(
                f"Row {row} of the stream has no image; `phenolip prepare split` writes images into the files."
            )
        try:
            sample = self.sample(epoch, row, image)
        except DataError as error:
            raise DataError(f"Row {row} of the stream: {error}") from error
        return {**sample, **{name: record[name] for name in COLUMNS if name != "image"}}
