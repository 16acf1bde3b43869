"""What a source says of a row beside image, caption and labels: licence, article, the places of mentions.

``load_pairs`` leaves these columns out; they are read a second time here and go with the row by its id.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets

from phenolip.datasets_scripts.sources import METADATA_FILES, open_source
from phenolip.exceptions import DataError

#: What a row says of the terms of its image and of whom to name; empty where it says nothing.
ATTRIBUTION = (
    *("license", "license_category", "license_text", "license_url"),
    *("url", "pmcid", "version", "doi", "title", "journal"),
)
# What ``load_pairs`` calls a row: the image's name in a list of files, else an id.
_FILE_COLUMNS = ("image", "file_name", "image_path", "filepath", "path")
_ID_COLUMNS = ("row_id", "source", "__key__", "subfigure_id", "figure_id")


def facts_by_row(data: str | Path, split: str) -> dict[str, dict[str, Any]]:
    """Licence, article and mentions of the rows by their id; a row whose id two unequal ones share has none."""
    facts: dict[str, dict[str, Any]] = {}
    table = _table_file(Path(data), split)
    columns = _ID_COLUMNS if table is None else _FILE_COLUMNS
    for record in _read_table(table) if table is not None else _read_arrow(data, split):
        key = next((record[name] for name in columns if record.get(name) is not None), None)
        own = {name: record[name] for name in (*ATTRIBUTION, "phenotypes") if record.get(name) is not None}
        if key is not None:
            facts[str(key)] = own if facts.setdefault(str(key), own) == own else {}
    return facts


def names_splits(data: str | Path, split: str) -> bool:
    """Whether a source is divided into splits; a list of images need not be, and is then taken as a whole."""
    table = _table_file(Path(data), split)
    return table is None or table.parent.name == split or any("split" in record for record in _read_table(table))


def _read_arrow(data: str | Path, split: str) -> Iterator[Mapping[str, Any]]:
    """Columns of Parquet, shards and Hub data: `datasets` has put them into Arrow files, which hold all of them."""
    for file in open_source(data, split).images.cache_files:
        rows = datasets.Dataset.from_file(file["filename"])
        wanted = {*ATTRIBUTION, *_ID_COLUMNS, "phenotypes"}
        typed = [
            name for name, kind in rows.features.items() if name in wanted and not isinstance(kind, datasets.Image)
        ]
        yield from rows.select_columns(typed)


def _table_file(path: Path, split: str) -> Path | None:
    """The list of image files that ``open_source`` reads for a path; None where it reads something else."""
    if path.is_file():
        return path if path.suffix.lower() in (".jsonl", ".csv", ".tsv") else None
    if not path.is_dir():
        return None
    for folder in (path / split, path):
        for name in METADATA_FILES:
            if (folder / name).is_file():
                return folder / name
    tables = [*path.glob("*.csv"), *path.glob("*.jsonl")]
    return tables[0] if len(tables) == 1 else None


def _read_table(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix.lower() != ".jsonl":
        try:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                yield from csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a CSV file in UTF-8: {error}.") from error
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue  # counted where the rows are checked
            if isinstance(record, dict):
                yield record
