"""Ids of articles in files: one a line, or somewhere in the rows of a CSV such as the file lists of PubMed Central."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from phenolip.exceptions import DataError
from phenolip.phenokg.records import ArticleId, Drop

STEP = "fetch_articles"
_MAX_LINE_CHARACTERS = 100_000
_ID = re.compile(r"(PMC[0-9]+)(?:\.([0-9]+))?", re.IGNORECASE)
_KEY = re.compile(r"(?:metadata/)?(PMC[0-9]+\.[0-9]+)(?:/.*|\.json)")  # how an inventory of the bucket names objects


def parse_article_id(text: str) -> ArticleId:
    """An id from "PMC123" or "PMC123.2", whatever its case.

    Raises:
        DataError: If it is no such id. Bare digits are none: they could be of PubMed.

    Example:
        >>> parse_article_id("pmc123.10")
        ArticleId(pmcid='PMC123', version=10)
    """
    match = _ID.fullmatch(text.strip())
    if match is None or len(text) > 40:
        raise DataError(f"An article id must look like 'PMC123' or 'PMC123.2', got {text[:40]!r}.")
    return ArticleId(match[1].upper(), int(match[2]) if match[2] else None)


def read_article_ids(path: str | Path) -> Iterator[ArticleId | Drop]:
    """Ids of a text or CSV file, plain or gzipped, in its order; a line without one is a Drop.

    In a row, the first cell counts that is an id, or a key of the bucket. Blank lines, lines that begin with "#" and
    a header (a first line without any digit) are skipped.

    Raises:
        DataError: If the file cannot be read.
    """
    path = Path(path)
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            for number, line in _lines(file):
                line = line.strip()
                if not line or line.startswith("#") or number == 1 and not re.search("[0-9]", line):
                    continue
                yield _find_id(line) or Drop(STEP, f"{path.name} line {number}", "bad_id", f"No id in {line[:80]!r}.")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"List of ids {path} cannot be read: {error}.") from None


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(_MAX_LINE_CHARACTERS):
        number += 1
        yield number, line
        while not line.endswith("\n") and (line := file.readline(_MAX_LINE_CHARACTERS)):
            continue  # the rest of a line that no list of ids has


def _find_id(line: str) -> ArticleId | None:
    try:
        cells = next(csv.reader([line], delimiter="\t" if "\t" in line else ","))
    except csv.Error:
        return None
    for cell in cells:
        key = _KEY.fullmatch(cell.strip())
        try:
            return parse_article_id(key[1] if key else cell)
        except DataError:
            continue
    return None
