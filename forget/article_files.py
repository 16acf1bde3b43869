"""Files of articles that were named: by path, by name, or by the ids that they give themselves."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from phenolip.forget.selection import Selection
from phenolip.phenokg.articles.id_types import PMCID_TYPES

ARTICLE_SUFFIXES = (".xml", ".nxml")
_MAX_FRONT = 2**18  # bytes of an article in which its own ids stand
_ARTICLE_ID = re.compile(rb"<article-id\b([^>]*)>([^<]+)<")
_ID_TYPE = re.compile(rb"""\bpub-id-type\s*=\s*["']([^"']*)["']""")


def article_files(files: list[Path], roots: Iterable[Path], selection: Selection) -> Iterator[Path]:
    """Files of the articles that were named, and all that lies beside one that has its folder for itself."""
    for root in roots:
        inside = [path for path in files if path.is_relative_to(root)]
        named = [
            path for path in inside if path.suffix.lower() in ARTICLE_SUFFIXES and _is_named(path, root, selection)
        ]
        yield from named
        texts = Counter(path.parent for path in inside if path.suffix.lower() in ARTICLE_SUFFIXES)
        texts.subtract(path.parent for path in named)
        own = {path.parent for path in named if not texts[path.parent] and path.parent != root}
        yield from (path for path in inside if path.parent in own and path not in named)


def _is_named(path: Path, root: Path, selection: Selection) -> bool:
    """Whether an article was named: by its path, by its file's name, or by one of the ids that it gives itself."""
    if selection.covers(path.relative_to(root).as_posix()) or selection.covers(path.stem):
        return True
    with path.open("rb") as file:
        front = file.read(_MAX_FRONT).partition(b"</article-meta>")[0]
    return any(map(selection.covers, _own_names(front)))


def _own_names(front: bytes) -> Iterator[str]:
    """What an article calls itself: PMC id and DOI. Its other numbers are those of other articles in other lists."""
    for about, text in _ARTICLE_ID.findall(front):
        kind, name = _ID_TYPE.search(about), text.decode("utf-8", "replace").strip()
        match kind[1].decode("utf-8", "replace") if kind else "":
            case "doi":
                yield from (name, name.casefold())
            case one if one in PMCID_TYPES:
                yield from (name, f"PMC{name}")
