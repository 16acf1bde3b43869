"""Columns that the data carries beside captions and labels, by which results can be broken down."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from phenolip.datasets_scripts.sources import GROUP_COLUMNS

_MAX_HEADER_BYTES = 65_536
METADATA_FILES = ("metadata.jsonl", "metadata.csv")
NAMES = ("row_id", "id", "file_name", "image_path")  # columns that can name a row
MAX_VALUES = 30  # a column of more says who a row is, not of which kind it is
AGES = (("0-17", 18), ("18-39", 40), ("40-59", 60), ("60-79", 80), ("80 and above", 1000))  # years; ours
_AGE_NAME = re.compile(r"(?:^|[\W_])age(?:$|[\W_])", re.IGNORECASE)
_AGE = re.compile(r"(\d{1,3})(?:\.\d+)?\s*([YMWD]?)", re.IGNORECASE)  # 58, 58.0, or 058Y as DICOM writes it
RESERVED = {"caption", "text", "phenotypes", "hpo_ids", "findings", "sha256", "split", *GROUP_COLUMNS, *NAMES}


def metadata_columns(data: str | Path | None, row_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Columns of 2 to 30 different short values, for the given rows; a column of ages comes in five bands.

    Read from a folder's metadata.jsonl or metadata.csv, or from a .jsonl, .csv or .parquet file; rows are told by
    `row_ids` as `load_pairs` gives them, an id or the name of the image file, in the order of the file. Other forms of
    data give none, as does a file in which a row is not found.

    Args:
        data: The data as given to `load_pairs`.
        row_ids: The rows that are evaluated.
    """
    path = _metadata_file(data)
    records = _aligned(_records(path) if path is not None else [], row_ids)
    return _kinds(records, RESERVED)


def item_columns(
    records: Iterable[Mapping[str, Any]],
    ids: Sequence[str],
    names: Sequence[str] = NAMES,
    leave_out: Iterable[str] = (),
) -> dict[str, tuple[str, ...]]:
    """As `metadata_columns`, of a table whose rows are told by their names in any order; empty where an item has none.

    A record names an item by its id, or by the end of its path: "test/a.png" stands for an item "a.png" too, unless
    another record ends so. Of several records of one item (boxes, readers) the first counts.

    Args:
        records: The rows of the table.
        ids: The items.
        names: Columns that name an item.
        leave_out: More columns that are no kinds, such as the label itself.
    """
    whole: dict[str, Mapping[str, Any]] = {}
    by_end: dict[str, Mapping[str, Any] | None] = {}
    for record in records:
        text = next((str(record[name]).strip() for name in names if record.get(name) not in (None, "")), "")
        if not text or text in whole:
            continue
        whole[text] = record
        parts = PurePath(text).parts
        for start in range(1, len(parts)):
            end = "/".join(parts[start:])
            by_end[end] = None if end in by_end else record  # two records end so: neither is meant
    found = [whole.get(name) or by_end.get(name) or {} for name in ids]
    return _kinds(found, {*RESERVED, *names, *leave_out})


def beside_columns(data: str | Path, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`item_columns` of the metadata.jsonl or metadata.csv in a folder of images; {} where there is none."""
    path = _metadata_file(data) if Path(data).is_dir() else None
    return item_columns(_records(path), ids) if path is not None else {}


def _kinds(records: Sequence[Mapping[str, Any]], leave_out: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The columns that say of which kind a row is."""
    left_out = set(leave_out)
    columns = dict.fromkeys(key for record in records for key in record if key is not None and key not in left_out)
    found = {key: tuple(_text(record.get(key)) for record in records) for key in columns}
    found = {key: age_bands(values) if _AGE_NAME.search(key) else values for key, values in found.items()}
    return {key: values for key, values in found.items() if 2 <= len(set(values) - {""}) <= MAX_VALUES}


def age_bands(values: Sequence[str]) -> tuple[str, ...]:
    """Ages as bands of `AGES`, empty where there is none; the values as they are if one is no age.

    Example:
        >>> age_bands(["7", "058Y", "", "11M", "91"])
        ('0-17', '40-59', '', '0-17', '80 and above')
    """
    bands = []
    for value in values:
        match = _AGE.fullmatch(value.strip())
        if value and match is None:
            return tuple(values)
        years = int(match[1]) if match and match[2].upper() in ("", "Y") else 0
        bands.append(next(band for band, end in AGES if years < end) if value else "")
    return tuple(bands)


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
        if path.suffix == ".csv" and _is_narrow(path):
            return pa_csv.read_csv(path).to_pylist()
        if path.suffix == ".parquet":
            schema = pq.read_schema(path)
            plain = [name for name in schema.names if not pa.types.is_nested(schema.field(name).type)]
            return pq.read_table(path, columns=plain).to_pylist()
    except (OSError, ValueError, RecursionError, pa.ArrowException):
        pass  # what is no table for load_pairs was refused by it; here it carries no columns
    return []


def _is_narrow(path: Path) -> bool:
    """Whether a CSV has few enough columns to look at each."""
    with path.open("rb") as file:
        return len(file.readline(_MAX_HEADER_BYTES + 1)) <= _MAX_HEADER_BYTES


def _row_names(record: Mapping[str, Any]) -> set[str]:
    values: Iterable[Any] = (record.get(key) for key in NAMES)
    texts = {str(value) for value in values if isinstance(value, (str, int)) and value != ""}
    return texts | {PurePath(text).name for text in texts}


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a whole number in a column with gaps
    if isinstance(value, (bool, str, int)) and len(str(value)) <= 80:
        return str(value).strip()
    return ""
