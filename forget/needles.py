"""Bytes that must be nowhere once a row is forgotten, and the search for them, within compressed tables too."""

import hashlib
import html
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from phenolip.forget.row_files import image_hashes, read_rows
from phenolip.forget.selection import Selection

MIN_ID, MIN_TEXT = 4, 16  # characters; shorter ones stand everywhere for other reasons
MAX_BYTES = 2**26  # of a file that are looked through at once
_OVERLAP = 2**16
_ROWS = 512  # of a table that are looked through at once
_AFTER = {bytes([byte]) for byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"}
_BEFORE = _AFTER | {b"."}


@dataclass(frozen=True, slots=True)
class Needles:
    """Names and texts as bytes, in every spelling.

    Attributes:
        names: Count where they stand alone: "PMC12" is not in "PMC123".
        texts: Count anywhere.
    """

    names: tuple[bytes, ...] = ()
    texts: tuple[bytes, ...] = ()

    def kind_in(self, data: bytes) -> str | None:
        """ "name" or "text", whichever some bytes hold; None for neither."""
        if any(_stands_alone(data, name) for name in self.names):
            return "name"
        return "text" if any(text in data for text in self.texts) else None


def needles_of(selection: Selection, texts_kept: Collection[str] = (), names_kept: Collection[str] = ()) -> Needles:
    """Names and texts of the rows that go, as UTF-8, JSON, CSV and HTML write them; without short ones, and without
    those that rows that stay hold too."""
    names = {name for name in (*selection.names, *selection.learned, *selection.groups) if len(name) >= MIN_ID}
    names -= set(names_kept)
    texts = {text for text in selection.texts if len(text) >= MIN_TEXT} - set(texts_kept)
    return Needles(_spelt(names), _spelt(texts))


def find_bytes(root: Path, paths: Iterable[Path], needles: Needles, hashes: Collection[str]) -> dict[Path, str]:
    """Files below a folder that hold a name, text or picture of a row that is gone, and which of these.

    Tables are read as tables, since their bytes are compressed; so are the names of the files looked at.
    """
    found = {}
    for path in paths:
        if kind := _file_name_kind(path.relative_to(root), needles) or _kind_in(path, needles, hashes):
            found[path] = kind
    return found


def page_holds(path: Path, needles: Needles) -> bool:
    """Whether the bytes of a file hold a name or text."""
    return _in_raw(path, needles) is not None


def _stands_alone(data: bytes, name: bytes) -> bool:
    place = data.find(name)
    while place >= 0:
        end = place + len(name)
        if data[max(place - 1, 0) : place] not in _BEFORE and data[end : end + 1] not in _AFTER:
            return True
        place = data.find(name, place + 1)
    return False


def _spelt(strings: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(sorted({spelt for string in strings for spelt in _spellings(string)}))


def _spellings(string: str) -> set[bytes]:
    texts = {string, html.escape(string), html.escape(string, quote=False), json.dumps(string)[1:-1]}
    texts |= {json.dumps(string, ensure_ascii=False)[1:-1], string.replace('"', '""')}
    return {text.encode("utf-8", "surrogatepass") for text in texts}


def _file_name_kind(path: Path, needles: Needles) -> str | None:
    own = Needles(needles.names).kind_in(path.as_posix().encode("utf-8", "surrogateescape"))
    return "name as its own" if own else None


def _kind_in(path: Path, needles: Needles, hashes: Collection[str]) -> str | None:
    if path.suffix != ".arrow" and (found := _in_raw(path, needles)):  # its strings touch one another
        return found
    if path.suffix in (".parquet", ".arrow"):
        rows = iter(read_rows(path))
        while block := list(islice(rows, _ROWS)):
            lines = "\n".join(json.dumps(row, ensure_ascii=False, default=str) for row in block)
            if found := needles.kind_in(lines.encode("utf-8", "surrogatepass")):
                return found
    return _picture_in(path, hashes) if hashes else None


def _picture_in(path: Path, hashes: Collection[str]) -> str | None:
    if path.suffix == ".parquet":
        return "picture" if set(hashes).intersection(filter(None, image_hashes(path))) else None
    with path.open("rb") as file:
        return "picture" if hashlib.file_digest(file, "sha256").hexdigest() in hashes else None


def _in_raw(path: Path, needles: Needles) -> str | None:
    with path.open("rb") as file:
        kept = b""
        while block := file.read(MAX_BYTES):
            if found := needles.kind_in(kept + block):
                return found
            kept = block[-_OVERLAP:]
    return None
