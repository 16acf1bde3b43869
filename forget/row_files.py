"""Rows of a table in any form that the project writes: read without pictures, written again without some of them."""

import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from phenolip.exceptions import DataError
from phenolip.whole_files import whole_file

TABLE_SUFFIXES = (".parquet", ".jsonl", ".csv", ".tsv")
_ROWS_PER_BATCH = 512
_MAX_FIELD_CHARS = 10_000_000


def read_rows(path: Path, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a .parquet, .jsonl, .csv, .tsv or .arrow file, in their order, without bytes.

    Args:
        path: The file.
        columns: Names of the columns to read; None reads every one that holds no bytes or embeddings.

    Raises:
        DataError: The file is damaged: nobody can say whether it holds a row.
    """
    with _reading(path):
        match path.suffix.lower():
            case ".parquet":
                with pq.ParquetFile(path) as file:
                    names = list(_leaves(file.schema_arrow, columns))
                    for batch in file.iter_batches(_ROWS_PER_BATCH, columns=names):
                        yield from batch.to_pylist() if names else [{} for _ in range(batch.num_rows)]
            case ".arrow":
                for batch in _arrow_batches(path):
                    names = [name.split(".")[0] for name in _leaves(batch.schema, columns)]
                    yield from batch.select(list(dict.fromkeys(names))).to_pylist()
            case ".jsonl":
                with path.open(encoding="utf-8", errors="surrogateescape") as lines:
                    yield from map(_json_row, lines)
            case _:
                with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
                    csv.field_size_limit(_MAX_FIELD_CHARS)
                    yield from csv.DictReader(lines, delimiter=_delimiter(path))


def column_names(path: Path) -> list[str]:
    """Of a Parquet file.

    Raises:
        DataError: The file is damaged.
    """
    with _reading(path):
        return pq.read_schema(path).names


def image_hashes(path: Path) -> list[str | None]:
    """SHA-256 of the picture that each row of a Parquet file embeds; None where it embeds none.

    Raises:
        DataError: The file is damaged.
    """
    found: list[str | None] = []
    with _reading(path), pq.ParquetFile(path) as file:
        if "image" not in file.schema_arrow.names:
            return [None] * file.metadata.num_rows
        for batch in file.iter_batches(_ROWS_PER_BATCH, columns=["image"]):
            for image in batch.column(0).to_pylist():
                data = image.get("bytes") if isinstance(image, dict) else image
                found.append(hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else None)
    return found


def without_rows(
    path: Path, gone: Collection[int], gone_figures: Mapping[int, Collection[int]] | None = None
) -> bytes:
    """What a .jsonl, .csv or .tsv file holds without some rows.

    Args:
        path: The file.
        gone: Numbers of the rows to leave out.
        gone_figures: Row -> places in its list `figures` to leave out.
    """
    gone, gone_figures = set(gone), gone_figures or {}
    if path.suffix.lower() == ".jsonl":
        lines = path.read_bytes().splitlines(keepends=True)
        for row, places in gone_figures.items():
            record = json.loads(lines[row])
            record["figures"] = [one for place, one in enumerate(record["figures"]) if place not in places]
            lines[row] = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
        return b"".join(line for row, line in enumerate(lines) if row not in gone)
    text = path.read_bytes()
    mark = b"\xef\xbb\xbf" if text.startswith(b"\xef\xbb\xbf") else b""
    written = io.StringIO(newline="")
    reader = csv.reader(
        io.StringIO(text.decode("utf-8-sig", "surrogateescape"), newline=""), delimiter=_delimiter(path)
    )
    ending = "\r\n" if b"\r\n" in text else "\n"
    table = csv.writer(written, delimiter=_delimiter(path), lineterminator=ending)
    row = -1  # the header
    for cells in reader:
        if row not in gone or not cells:
            table.writerow(cells)
        row += bool(cells)
    return mark + written.getvalue().encode("utf-8", "surrogateescape")


def rewrite(path: Path, gone: Collection[int], gone_figures: Mapping[int, Collection[int]] | None = None) -> None:
    """Puts a file without some rows in its place, whole or not at all; a Parquet file keeps its schema and codecs."""
    if path.suffix.lower() != ".parquet":
        data = without_rows(path, gone, gone_figures)
        with whole_file(path) as file:
            file.write(data)
        return
    with pq.ParquetFile(path) as old:
        about, schema = old.metadata, old.schema_arrow
        codecs, rows_per_group = {}, 1024
        if about.num_row_groups:
            group = about.row_group(0)
            rows_per_group = max(1, group.num_rows)
            columns = [group.column(place) for place in range(group.num_columns)]
            codecs = {one.path_in_schema: one.compression.lower().replace("uncompressed", "none") for one in columns}
    with whole_file(path) as file, pq.ParquetWriter(file, schema, compression=codecs or "snappy") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in kept_batches(path, gone, gone_figures or {}):
            waiting.append(batch)
            if sum(map(len, waiting)) >= rows_per_group:
                writer.write_table(pa.Table.from_batches(waiting, schema), rows_per_group)
                waiting = []
        writer.write_table(pa.Table.from_batches(waiting, schema), rows_per_group)


def kept_batches(
    path: Path, gone: Collection[int], gone_figures: Mapping[int, Collection[int]]
) -> Iterator[pa.RecordBatch]:
    """Rows of a Parquet file that stay; the arguments are those of `rewrite`."""
    first, gone = 0, set(gone)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_PER_BATCH):
            numbers = range(first, first + batch.num_rows)
            first += batch.num_rows
            if touched := [row for row in numbers if row in gone_figures and row not in gone]:
                batch = _without_figures(batch, {row - numbers[0]: gone_figures[row] for row in touched})
            kept = [row - numbers[0] for row in numbers if row not in gone]
            yield batch if len(kept) == len(numbers) else batch.take(pa.array(kept, pa.int64()))


def _without_figures(batch: pa.RecordBatch, gone: Mapping[int, Collection[int]]) -> pa.RecordBatch:
    place = batch.schema.get_field_index("figures")
    values = batch.column(place).to_pylist()
    for row, places in gone.items():
        values[row] = [figure for number, figure in enumerate(values[row]) if number not in places]
    return batch.set_column(place, batch.schema.field(place), pa.array(values, batch.schema.field(place).type))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, csv.Error, ValueError, OverflowError) as error:  # also text that is no UTF-8
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}): repair or delete it, and run again."
        ) from error


def _leaves(schema: pa.Schema, columns: Collection[str] | None) -> Iterator[str]:
    """Names of the columns to read, those in records with a dot; of `figure` and `figures` alone the id, if asked."""
    for column in schema:
        if columns is None:
            yield from _plain_leaves(column.name, column.type)
        elif column.name in columns:
            match column.name:
                case "figure" if pa.types.is_struct(column.type):
                    yield "figure.id"
                case "figures":
                    yield "figures.list.element.id"
                case _:
                    yield column.name


def _plain_leaves(name: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from _plain_leaves(f"{name}.{kind.field(number).name}", kind.field(number).type)
    elif pa.types.is_fixed_size_list(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return
    else:
        yield name


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as file:
        try:
            yield from pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


def _json_row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","
