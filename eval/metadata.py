"""Columns that the data carries beside captions and labels, by which results can be broken down."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from phenolip.datasets_scripts.sources import GROUP_COLUMNS

METADATA_FILES = ("metadata.jsonl", "metadata.csv")
NAMES = ("row_id", "id", "file_name", "image_path")  # columns that can name a row
MAX_VALUES = 30  # a column of more says who a row is, not of which kind it is
RESERVED = {"caption", "text", "phenotypes", "hpo_ids", "findings", "sha256", "split", *GROUP_COLUMNS, *NAMES}


def metadata_columns(data: str | Path | None, row_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Columns of 2 to 30 different short values, for the given rows.

    Read from a folder's metadata.jsonl or metadata.csv, or from a .jsonl, .csv or .parquet file; rows are told by
    `row_ids` as `load_pairs` gives them, an id or the name of the image file, in the order of the file. Other forms of
    data give none, as does a file in which a row is not found.

    Args:
        data: The data as given to `load_pairs`.
        row_ids: The rows that are evaluated.
    """
    path = _metadata_file(data)
    records = _aligned(_records(path) if path is not None else [], row_ids)
    columns = dict.fromkeys(key for record in records for key in record if key not in RESERVED)
    found = {key: tuple(_text(record.get(key)) for record in records) for key in columns}
    return {key: values for key, values in found.items() if 2 <= len(set(values) - {""}) <= MAX_VALUES}


def _aligned(records: Sequence[Mapping[str, Any]], row_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """The record of each row: rows keep the order of the file, from which unusable ones are missing."""
    rest, found = iter(records), []
    for row_id in row_ids:
        record = next((record for record in rest if row_id in _row_names(record)), None)
        if record is None:
            return []
        found.append(record)
    return found


def _metadata_file(data: str | Path | None) -> Path | None:
    path = Path(data) if data is not None else None
    if path is not None and path.is_dir():
        path = next((path / name for name in METADATA_FILES if (path / name).is_file()), None)
    return path if path is not None and path.is_file() else None


def _records(path: Path) -> list[Mapping[str, Any]]:
    try:
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            return [record for line in lines if line.strip() and isinstance(record := json.loads(line), dict)]
        if path.suffix == ".csv":
            return pa_csv.read_csv(path).to_pylist()
        if path.suffix == ".parquet":
            schema = pq.read_schema(path)
            plain = [name for name in schema.names if not pa.types.is_nested(schema.field(name).type)]
            return pq.read_table(path, columns=plain).to_pylist()
    except (OSError, ValueError, RecursionError, pa.ArrowException):
        pass  # what is no table for load_pairs was refused by it; here it carries no columns
    return []


def _row_names(record: Mapping[str, Any]) -> set[str]:
    values: Iterable[Any] = (record.get(key) for key in NAMES)
    texts = {str(value) for value in values if isinstance(value, (str, int)) and value != ""}
    return texts | {PurePath(text).name for text in texts}


def _text(value: Any) -> str:
    if isinstance(value, bool) or (isinstance(value, (str, int)) and len(str(value)) <= 80):
        return str(value).strip()
    return ""
