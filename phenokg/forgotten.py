"""What a build must not bring back: hashes of the articles and figures that were removed, in `OUT/forgotten.json`.

The file holds no name, only SHA-256 of names; still, who tries all ids of a kind finds those that are in it.
`phenolip forget` adds to it before it touches anything else, and every step of a later build leaves such records out.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phenolip.exceptions import DataError
from phenolip.provenance import write_json

FORGOTTEN = "forgotten.json"
MARKER = ".phenolip-kg"  # in a folder that builds may write into


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Names that are left out.

    Attributes:
        hashes: SHA-256 of each name: an article, a figure as "article/figure", the path of an article's file.
    """

    hashes: frozenset[str] = frozenset()

    def covers(self, name: str | None) -> bool:
        """Whether a name, or what it is a part of, was forgotten."""
        return bool(self.hashes) and any(name_hash(whole) in self.hashes for whole in wholes(name or ""))

    def without(self, records: Iterable[Any]) -> list[Any]:
        """Records of a step but for the forgotten ones; an article stays without its forgotten figures."""
        if not self.hashes:
            return list(records)
        return [kept for record in records if (kept := self._kept(record)) is not None]

    def _kept(self, record: Any) -> Any:
        article_id = getattr(record, "article_id", None)
        if self.covers(article_id) or self.covers(getattr(record, "key", None)):
            return None
        figure = getattr(record, "figure", None)
        figure_id = getattr(figure, "id", None) or getattr(record, "figure_id", None)
        if article_id and figure_id and self.covers(f"{article_id}/{figure_id}"):
            return None
        if figures := getattr(record, "figures", ()):
            kept = tuple(figure for figure in figures if not self.covers(f"{article_id}/{figure.id}"))
            return record if len(kept) == len(figures) else replace(record, figures=kept)
        return record


def name_hash(name: str) -> str:
    """SHA-256 of a name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def wholes(name: str) -> Iterator[str]:
    """A name and all that it lies in: folders, an article for its figure, every version for one of them.

    Example:
        >>> list(wholes("PMC12.3/fig1"))
        ['PMC12.3/fig1', 'PMC12.3', 'PMC12']
    """
    parts = name.split("/")
    for number in range(len(parts), 0, -1):
        yield "/".join(parts[:number])
    first, dot, version = parts[0].partition(".")
    if dot and version.isdigit() and first.startswith("PMC"):
        yield first


def read_forgotten(output: Path) -> Forgotten:
    """What the file in a build's folder says; nothing where there is none.

    Raises:
        DataError: The file is damaged: a build that ignored it would bring rows back.
    """
    try:
        return Forgotten(frozenset(json.loads((output / FORGOTTEN).read_text(encoding="utf-8"))["sha256"]))
    except FileNotFoundError:
        return Forgotten()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{output / FORGOTTEN} cannot be read ({type(error).__name__}); restore it.") from error


def add_forgotten(output: Path, names: Sequence[str]) -> None:
    """Adds names, as hashes."""
    hashes = read_forgotten(output).hashes | {name_hash(name) for name in names}
    write_json(output / FORGOTTEN, {"sha256": sorted(hashes)})
