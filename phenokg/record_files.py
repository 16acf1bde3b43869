"""Records in files that people make and read: JSON lines, Parquet, folders of articles, lists of ids."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import SUFFIXES
from phenolip.phenokg.articles.article_ids import read_article_ids
from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.captions.refined_records import CaptionToRefine
from phenolip.phenokg.findings.finding_records import Document
from phenolip.phenokg.records import (
    ArticleFile,
    ArticleId,
    CaptionedBoxes,
    CaptionedFigure,
    Drop,
    ImageFile,
    from_row,
    to_row,
)

Record = TypeVar("Record")

_ROWS_PER_BATCH = 100
_BESIDE_IMAGES = (CaptionedBoxes,)  # whose file lies in the folder that their file names start from
_OPEN = (CaptionedBoxes, CaptionedFigure, CaptionToRefine, Document)  # that people write, with fields of their own


def read_records(path: str | Path, record_type: type[Record]) -> Iterator[Record | Drop]:
    """Records of a .jsonl or .parquet file, or of a build's folder of parts; articles also of a folder of XML files,
    images of a folder of images, both searched recursively, ids also of a text or CSV file.

    Raises:
        ConfigurationError: If the path is nothing of these.
        DataError: If it cannot be read, or a row is no such record; the message names the row.
    """
    path = Path(path)
    if path.is_dir():
        if record_type is ArticleFile:
            return find_articles(path)
        if record_type is ImageFile:
            return find_images(path)
        if parts := sorted(part for part in path.glob("part-*.parquet") if ".drops." not in part.name):
            return (record for part in parts for record in _read_parquet(part, record_type))
    elif path.suffix == ".jsonl":
        return _read_lines(path, record_type)
    elif path.suffix == ".parquet":
        return _read_parquet(path, record_type)
    elif record_type is ArticleId:
        return read_article_ids(path)
    folders = {ArticleFile: "a folder of XML files", ImageFile: "a folder of images"}
    wanted = folders.get(record_type, "a .jsonl or .parquet file")
    raise ConfigurationError(f"`input` must be {wanted} of {record_type.__name__} records, got {path}.")


def to_line(record: object) -> str:
    """A record as a line of JSON."""
    return json.dumps(to_row(record), ensure_ascii=False) + "\n"


def find_images(root: str | Path) -> Iterator[ImageFile]:
    """Every file below a folder that has the suffix of an image, by name; links to folders are not followed."""
    root = os.path.abspath(root)
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES:
                yield ImageFile(root, Path(folder, name).relative_to(root).as_posix())


def _read_lines(path: Path, record_type: type[Record]) -> Iterator[Record]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _from_row(
                        _decoded(line, f"{path} line {number}"), record_type, f"{path} line {number}", path
                    )
    except OSError as error:
        raise DataError(f"`input` {path} cannot be read: {error.strerror or error}.") from None


def _from_row(row: dict, record_type: type[Record], where: str, path: Path) -> Record:
    if record_type in _OPEN:
        known = {field.name for field in dataclasses.fields(record_type)}
        row = {name: value for name, value in row.items() if name in known}
    if record_type in _BESIDE_IMAGES:
        row = {"root": os.path.abspath(path.parent)} | row
    return from_row(row, record_type, where)


def _decoded(line: bytes, where: str) -> dict:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{where} is no JSON: {error}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} must be a JSON object, got {type(row).__name__}.")
    return row


def _read_parquet(path: Path, record_type: type[Record]) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(_ROWS_PER_BATCH):
                for row in batch.to_pylist():
                    yield _from_row(row, record_type, f"{path} row {number}", path)
                    number += 1
    except (OSError, ArithmeticError, UnicodeDecodeError, pa.ArrowException) as error:
        raise DataError(f"`input` {path} cannot be read: {' '.join(str(error).split())}.") from None
