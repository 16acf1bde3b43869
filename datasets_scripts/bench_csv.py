"""Tables for people's spreadsheets, in which no text of others can become a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from phenolip.whole_files import whole_file

# With these a spreadsheet starts a formula or, before one, skips; the wide forms are read like the narrow ones.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# Blanks, controls, marks of direction and characters of no width.
_SKIPPED = re.compile("[\\s\x00-\x20\x7f-\xa0\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*")


def safe_cell(text: str) -> str:
    """The text as a cell that is only shown: an apostrophe stands before what a spreadsheet would work out.

    Example:
        >>> safe_cell("=1+1"), safe_cell("CT of the chest")
        ("'=1+1", 'CT of the chest')
    """
    begins = text.startswith(_FORMULA_STARTS) or text[_SKIPPED.match(text).end() :].startswith(_FORMULA_STARTS)
    return f"'{text}" if begins else text


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV that Excel takes for UTF-8; every cell is made safe."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_ALL)  # where ";" parts cells too
    writer.writerow(header)
    for row in rows:
        writer.writerow([safe_cell(str(cell)) for cell in row])
    with whole_file(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))
