"""The tables of a build: written aside, there by one rename; the manifest beside them says that they are whole."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phenolip.phenokg.parts import write_whole
from phenolip.phenokg.records import Drop, FigurePair, arrow_schema
from phenolip.phenokg.split_pairs import SPLITS

TABLES, MANIFEST = "tables", "manifest.json"
_ROWS_PER_GROUP, _ROWS_PER_FILE = 1_000, 50_000


class TableFiles:
    """Writes `pairs-00000.parquet` and so on, of 50,000 rows each, and `drops.parquet`; vanishes if not published.

    Args:
        output: Folder that `tables/` comes to lie in.
    """

    def __init__(self, output: Path) -> None:
        self._output, self._partial = output, output / f".{TABLES}.partial"
        self._pairs = _Rows(self._partial, "pairs-{:05d}", arrow_schema(FigurePair), _ROWS_PER_FILE)
        self._drops = _Rows(self._partial, "drops", arrow_schema(Drop), None)

    def __enter__(self) -> Self:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        shutil.rmtree(self._partial, ignore_errors=True)

    def add_pairs(self, pairs: pa.Table, splits: NDArray[np.int8]) -> None:
        """Adds pairs with their split, a place in `SPLITS`; those below 0 are left out."""
        kept = pairs.filter(pa.array(splits >= 0))
        names = pa.array([SPLITS[split] for split in splits if split >= 0], pa.string())
        self._pairs.add(kept.set_column(kept.schema.get_field_index("split"), "split", names))

    def add_drops(self, drops: pa.Table) -> None:
        """Adds Drops."""
        self._drops.add(drops)

    def publish(self) -> dict[str, dict[str, Any]]:
        """Puts the tables in the place of earlier ones; gives rows, size and SHA-256 of each file.

        The manifest of earlier tables goes first: from then until its successor is written, nothing says that the
        tables are whole.
        """
        num_rows = self._pairs.close() | self._drops.close()
        files = {name: {"num_rows": rows, **file_facts(self._partial / name)} for name, rows in num_rows.items()}
        (self._output / MANIFEST).unlink(missing_ok=True)
        if (self._output / TABLES).exists():
            os.replace(self._output / TABLES, self._partial.with_name(f".{TABLES}-before.partial"))
        os.replace(self._partial, self._output / TABLES)
        return files


class _Rows:
    """Rows of one table, in files of so many rows, of which one row group is in memory."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema, rows_per_file: int | None) -> None:
        self._folder, self._name, self._schema, self._rows_per_file = folder, name, schema, rows_per_file
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self._num_rows: dict[str, int] = {}

    def add(self, rows: pa.Table) -> None:
        self._waiting.append(rows.cast(self._schema))
        if sum(map(len, self._waiting)) >= _ROWS_PER_GROUP:
            self._write()

    def close(self) -> dict[str, int]:
        """Rows by file; there is one file at least."""
        if self._waiting or not self._num_rows:
            self._write()
        self._end_file()
        return self._num_rows

    def _write(self) -> None:
        if self._writer is None:
            self._file = f"{self._name.format(len(self._num_rows))}.parquet"
            self._num_rows[self._file] = 0
            self._writer = pq.ParquetWriter(self._folder / self._file, self._schema, compression="zstd")
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        self._writer.write_table(table.combine_chunks())
        self._num_rows[self._file] += len(table)
        self._waiting = []
        if self._rows_per_file is not None and self._num_rows[self._file] >= self._rows_per_file:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_manifest(output: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest, whole."""
    write_whole(output / MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest, if there is one and the tables that it names are there in their size."""
    try:
        manifest = json.loads((output / MANIFEST).read_bytes())
        sizes = {name: file["num_bytes"] for name, file in manifest["tables"].items()}
        is_whole = all((output / TABLES / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return manifest if is_whole and "identity" in manifest else None


def file_facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, which is on the disk afterwards."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return {
            "num_bytes": os.fstat(file.fileno()).st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
