"""Rows of Parquet files that are read one row group at a time, from a folder or from the Hub; no table is built.

Only the footers are read beforehand: they say how many rows each group has, which is all that an order of rows needs.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfFileSystem

from phenolip.datasets_scripts.features import LOADED_PAIRS
from phenolip.datasets_scripts.sources import parquet_files
from phenolip.exceptions import DataError
from phenolip.provenance import content_hash

_HUB = "hf://"
_NUM_READERS = 8  # a footer from the Hub is a wait of a tenth of a second, not work


class ParquetShards:
    """Parquet files as `phenolip prepare split` writes them, one after another; rows and row groups count through all.

    Args:
        files: Paths, or addresses that begin with hf://, in the order of the rows.
        name: The data as the user named it.

    Attributes:
        num_rows: Rows of all files.
        starts: (G + 1,) int64, first row of each of the G row groups, and `num_rows`.

    Raises:
        DataError: A file cannot be read, or lacks a column of `LOADED_PAIRS`.
    """

    def __init__(self, files: list[str], name: str) -> None:
        self.files, self.name = files, name
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            self._footers = list(pool.map(self._footer, files))
        sizes = [
            [footer.row_group(group).num_rows for group in range(footer.num_row_groups)] for footer in self._footers
        ]
        self._places = [(file, group) for file, of_file in enumerate(sizes) for group in range(len(of_file))]
        self.starts = np.cumsum([0, *(size for of_file in sizes for size in of_file)], dtype=np.int64)
        self.num_rows = int(self.starts[-1])

    @cached_property
    def revision(self) -> str:
        """Hash of what the rows hold, in their order: one pass over their texts, or the commit of files on the Hub."""
        if all(file.startswith(_HUB) for file in self.files):
            return content_hash(self.files)
        columns = ("sha256", "caption", "hpo_ids", "group_id")
        tables = (self.read(group, columns) for group in range(len(self._places)))
        return content_hash(json.dumps(table.to_pydict(), sort_keys=True) for table in tables)

    def __len__(self) -> int:
        return self.num_rows

    def group_of(self, row: int) -> int:
        """Row group of a row."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def read(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        """Some columns of one row group.

        Raises:
            DataError: The file is damaged, gone, or cannot be reached.
        """
        file, place = self._places[group]
        try:
            with self._open(self.files[file]) as opened:
                shard = pq.ParquetFile(opened, metadata=self._footers[file])
                return shard.read_row_group(place, columns=list(columns), use_threads=False).combine_chunks()
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(file, error) from error

    def labels(self) -> list[str]:
        """Phenotypes that any row has, sorted: one pass over the column `hpo_ids` alone."""
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            tables = pool.map(partial(self.read, columns=("hpo_ids",)), range(len(self._places)))
            return sorted(
                {hpo_id for table in tables for hpo_id in table["hpo_ids"].combine_chunks().flatten().to_pylist()}
            )

    def tables(self, num_rows: int) -> Iterator[datasets.Dataset]:
        """All rows in order as tables of about `num_rows` rows, columns of `LOADED_PAIRS`, images undecoded."""
        waiting: list[pa.Table] = []
        for group in range(len(self._places)):
            waiting.append(self.read(group, tuple(LOADED_PAIRS)))
            if sum(map(len, waiting)) >= num_rows or group == len(self._places) - 1:
                table = pa.concat_tables(waiting).select(list(LOADED_PAIRS)).replace_schema_metadata(None)
                yield datasets.Dataset(table, info=datasets.DatasetInfo(features=LOADED_PAIRS))
                waiting = []

    def _footer(self, file: str) -> pq.FileMetaData:
        try:
            with self._open(file) as opened:
                shard = pq.ParquetFile(opened)
                missing = [column for column in LOADED_PAIRS if column not in shard.schema_arrow.names]
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(self.files.index(file), error) from error
        if missing:
            raise DataError(
                f"Data {self.name}: {Path(file).name} has no column `{missing[0]}`; `streaming` reads what `phenolip "
                "prepare split` writes."
            )
        return shard.metadata

    def _open(self, file: str) -> Any:
        return HfFileSystem().open(file.removeprefix(_HUB)) if file.startswith(_HUB) else open(file, "rb")

    def _unreadable(self, file: int, error: Exception) -> DataError:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        return DataError(f"Data {self.name}: {self.files[file]} cannot be read as Parquet: {reason}.")


def find_shards(data: str, split: str | None = None) -> list[str]:
    """The Parquet files of a folder, of one file, or of a data set on the Hub at its present commit, in order.

    Args:
        data: Path or Hub id.
        split: Which split, where there are several.

    Raises:
        DataError: There is no such data, it holds no Parquet files, or several splits and none is named.
    """
    path = Path(data).expanduser()
    if path.is_file():
        return [str(path)]
    if path.is_dir() and split and (path / split).is_dir():
        path, split = path / split, None
    elif not path.is_dir() and not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", data):
        raise DataError(f"Data {data} must be a folder of Parquet files or a Hub id where `streaming` is true.")
    found = parquet_files(str(path) if path.is_dir() else data, data)
    if not found:
        raise DataError(
            f"Data {data} holds no Parquet files, which `streaming` reads; `phenolip prepare split` writes them."
        )
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split not in found:
        asked = f"no split {split!r}" if split else "several splits"
        raise DataError(f"Data {data} has {asked}; name one of {', '.join(found)}.")
    return found[split]
