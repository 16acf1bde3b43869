"""Files that were made of rows and are no tables of them: features, answers, pages, graphs, trained models."""

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phenolip.forget.findings import Findings
from phenolip.forget.needles import needles_of, page_holds
from phenolip.forget.selection import Selection

PAGE_SUFFIXES = (".html", ".htm")
ANSWER_SUFFIXES = (".sqlite", ".sqlite3", ".db")
KGX_FOLDER = "kgx"
_OUR_PAGE = re.compile(rb"""<meta name=["']?generator["']? content=["']?phenolip\b""")
_MAX_HEAD = 2**10  # bytes of a page in which it says who wrote it
_PARTIAL = re.compile(r"\..+\.(\d+)-\d+\.partial")
_RUN_OF_WORDS = 6  # that an answer of a language model must share with a text


def look_into(path: Path, selection: Selection, found: Findings) -> None:
    """Stored features, answers of language models, and what a killed writer left."""
    if path.name.startswith("part_") and path.suffix == ".npy":
        keys = _stored_keys(path)
        texts = (selection.texts - found.texts_kept) | selection.hashes  # pictures are stored under their hash
        gone = np.isin(
            keys,
            np.array([hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16] for text in texts], "V16"),
        )
        if gone.any():
            found.text_features[path] = np.flatnonzero(gone).tolist()
    elif path.suffix in ANSWER_SUFFIXES:
        if keys := _answers(path, selection.texts - found.texts_kept):
            found.answers[path] = keys
    elif (match := _PARTIAL.fullmatch(path.name)) and not _is_alive(int(match[1])):
        found.partials.append(path)


def _stored_keys(path: Path) -> NDArray[np.void]:
    """Of stored text features; none of an array of somebody else."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return np.empty(0, "V16")
    is_ours = stored.ndim == 1 and "key" in (stored.dtype.names or ()) and stored.dtype["key"] == np.dtype("V16")
    return stored["key"] if is_ours else np.empty(0, "V16")


def _answers(path: Path, texts: set[str]) -> list[str]:
    """Keys of the answers that share six words in a row with a text; an answer in other words stays."""
    wanted = {run for text in texts for run in _runs(text)}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT key, answer FROM answers").fetchall()
    except sqlite3.Error:  # a file of somebody else
        return []
    texts = [(key, answer) for key, answer in rows if isinstance(key, str) and isinstance(answer, str)]
    return [key for key, answer in texts if wanted.intersection(_runs(answer))]


def _runs(text: str) -> Iterator[str]:
    words = re.findall(r"\w+", text.casefold())
    for place in range(max(1, len(words) - _RUN_OF_WORDS + 1)):
        yield " ".join(words[place : place + _RUN_OF_WORDS])


def find_derived(files: list[Path], roots: list[Path], selection: Selection, found: Findings) -> None:
    """What names no rows, or may show them: where we wrote it, it goes if a table beside or below it lost one."""
    touched = {folder for path in (*found.rows, *found.figures) for folder in path.parents}
    touched &= {
        folder for path in files for folder in path.parents if any(folder.is_relative_to(root) for root in roots)
    }
    if not touched and not found.text_features:
        return
    needles = needles_of(selection, found.texts_kept, found.names_kept)
    stores = {path.parent for path in found.text_features}
    for path in files:
        if path.suffix.lower() in PAGE_SUFFIXES:
            if (path.parent in touched and _is_our_page(path)) or page_holds(path, needles):
                found.pages.append(path)
        elif path.name == "overlay.png":  # of a measurement on masks, beside its rows
            if path.with_name("per_query.parquet") in found.rows:
                found.pages.append(path)
        elif path.suffix == ".npy" and (path.parent in stores and path.name.startswith("rows_") or _is_by_row(path)):
            found.gathered.append(path)
        elif path.parent.name == KGX_FOLDER and path.suffix == ".tsv" and path.parent.parent in touched:
            found.kgx.append(path)
        elif path.name == "training_index.parquet" and path in found.rows:
            found.models.append(path.parent)


def _is_our_page(path: Path) -> bool:
    with path.open("rb") as file:
        return _OUR_PAGE.search(file.read(_MAX_HEAD)) is not None


def _is_by_row(path: Path) -> bool:
    """Stored views of a frozen image tower: a row of each image, in an order that nothing beside them says."""
    return path.name.startswith("view_") and path.parent.name.startswith("image-")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
