"""Bytes that must be nowhere once a row is forgotten, and the search for them, within compressed tables too."""

import hashlib
import html
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from phenolip.forget.row_files import image_hashes, read_rows
from phenolip.forget.selection import Selection

MIN_ID, MIN_TEXT = 4, 16  # characters; shorter ones stand everywhere for other reasons
MAX_BYTES = 2**26  # of a file that are looked through at once
_OVERLAP = 2**16


def needles_of(selection: Selection, texts_kept: Collection[str] = ()) -> dict[str, re.Pattern[bytes]]:
    """Kind -> pattern of the names and texts of the rows that go, as UTF-8, JSON and HTML write them.

    A name counts where it stands alone: "PMC12" is not in "PMC123". Texts that rows that stay hold too are left out.
    """
    names = {name for name in (*selection.names, *selection.learned, *selection.groups) if len(name) >= MIN_ID}
    texts = {text for text in selection.texts if len(text) >= MIN_TEXT} - set(texts_kept)
    kinds = {"name": _pattern(names, rb"(?<![\w.-])", rb"(?![\w-])"), "text": _pattern(texts, b"", b"")}
    return {kind: pattern for kind, pattern in kinds.items() if pattern is not None}


def find_bytes(
    root: Path, paths: Iterable[Path], needles: dict[str, re.Pattern[bytes]], hashes: Collection[str]
) -> dict[Path, str]:
    """Files below a folder that hold a name, text or picture of a row that is gone, and which of these.

    Tables are read as tables, since their bytes are compressed; so are the names of the files looked at.
    """
    found = {}
    for path in paths:
        if kind := _file_name_kind(path.relative_to(root), needles) or _kind_in(path, needles, hashes):
            found[path] = kind
    return found


def page_holds(path: Path, needles: dict[str, re.Pattern[bytes]]) -> bool:
    """Whether the bytes of a file hold a name or text."""
    return _in_raw(path, needles) is not None


def _pattern(strings: Collection[str], before: bytes, after: bytes) -> re.Pattern[bytes] | None:
    spellings = {spelt for string in strings for spelt in _spellings(string)}
    if not spellings:
        return None
    return re.compile(before + b"(?:" + b"|".join(map(re.escape, sorted(spellings))) + b")" + after)


def _spellings(string: str) -> set[bytes]:
    texts = {string, html.escape(string), html.escape(string, quote=False), json.dumps(string)[1:-1]}
    texts |= {json.dumps(string, ensure_ascii=False)[1:-1], string.replace('"', '""')}
    return {text.encode("utf-8", "surrogatepass") for text in texts}


def _file_name_kind(path: Path, needles: dict[str, re.Pattern[bytes]]) -> str | None:
    place = path.as_posix().encode("utf-8", "surrogateescape")
    return "name, as the file's own" if "name" in needles and needles["name"].search(place) else None


def _kind_in(path: Path, needles: dict[str, re.Pattern[bytes]], hashes: Collection[str]) -> str | None:
    if found := _in_raw(path, needles):
        return found
    if path.suffix in (".parquet", ".arrow"):
        for row in read_rows(path):
            line = json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
            for kind, pattern in needles.items():
                if pattern.search(line):
                    return kind
    return _picture_in(path, hashes) if hashes else None


def _picture_in(path: Path, hashes: Collection[str]) -> str | None:
    if path.suffix == ".parquet":
        return "picture" if set(hashes).intersection(filter(None, image_hashes(path))) else None
    with path.open("rb") as file:
        return "picture" if hashlib.file_digest(file, "sha256").hexdigest() in hashes else None


def _in_raw(path: Path, needles: dict[str, re.Pattern[bytes]]) -> str | None:
    with path.open("rb") as file:
        kept = b""
        while block := file.read(MAX_BYTES):
            block = kept + block
            for kind, pattern in needles.items():
                if pattern.search(block):
                    return kind
            kept = block[-_OVERLAP:]
    return None
