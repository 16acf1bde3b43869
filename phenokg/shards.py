"""A corpus cut into shards of consecutive articles, each with an identity that changes when one of its files does.

A file counts as changed when its name, size or time of change differ, as for `make`; so does every file that lies
beside an article, since its figures do. A file that is rewritten in place in a folder further below goes unnoticed.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phenolip.phenokg.parts import Part, part_numbers
from phenolip.phenokg.records import ArticleFile, Drop
from phenolip.provenance import content_hash

SOURCE = "00-articles"
_WRAP = 2**256


@dataclass(frozen=True, slots=True)
class Shard:
    """Some articles that are worked on together.

    Attributes:
        number: From 0; likewise the number of its part in the folder `SOURCE`, which lists the articles.
        identity: Of the articles and what lies beside them.
        num_articles: How many.
    """

    number: int
    identity: str
    num_articles: int


def write_shards(output: Path, articles: Iterable[ArticleFile | Drop], size: int, step: str) -> list[Shard]:
    """Lists the articles in the folder `SOURCE`, at most `size` a part; their Drops become those of `step`."""
    folder, states, shards = output / SOURCE, _FolderStates(), []
    files: list[ArticleFile] = []
    drops: list[Drop] = []
    start = time.perf_counter()

    def finish() -> None:
        nonlocal start
        identity = _identity(files, drops, states)
        seconds = time.perf_counter() - start
        num_in = len(files) + len(drops)
        Part(folder, len(shards)).write(identity, files, ArticleFile, drops, num_in=num_in, seconds=seconds)
        shards.append(Shard(len(shards), identity, len(files)))
        files.clear()
        drops.clear()
        start = time.perf_counter()

    for article in articles:
        if len(files) == size or len(drops) >= 10 * size:
            finish()
        if isinstance(article, Drop):
            drops.append(replace(article, step=step))
        else:
            files.append(article)
    finish()
    for number in part_numbers(folder):
        if number >= len(shards):
            Part(folder, number).remove()
    return shards


def _identity(files: Sequence[ArticleFile], drops: Sequence[Drop], states: "_FolderStates") -> str:
    parts = [f"{drop.key}\t{drop.reason}" for drop in drops]
    for file in files:
        path = Path(file.root, file.path)
        parts += [file.path, _state(path), states.of(path.parent)]
    return content_hash(parts)


class _FolderStates:
    """What lies in a folder, as one number; kept for the folder of the last article, since articles come in order."""

    def __init__(self) -> None:
        self._last: tuple[Path | None, str] = (None, "")

    def of(self, folder: Path) -> str:
        """Independent of the order of the listing, so that no list of names is held or sorted."""
        if self._last[0] != folder:
            total = 0
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        state = f"{entry.name}\t{_state(Path(entry.path))}".encode("utf-8", "surrogateescape")
                        total = (total + int.from_bytes(hashlib.sha256(state).digest())) % _WRAP
            except OSError:
                total = -1  # what the steps then find is theirs to say
            self._last = folder, str(total)
        return self._last[1]


def _state(path: Path) -> str:
    try:
        found = os.lstat(path)
    except OSError as error:
        return f"{error.errno}"
    return f"{found.st_size} {found.st_mtime_ns}"
