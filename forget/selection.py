"""Which rows are to go: by name, by group, or by the image, whatever the table calls the column."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from phenolip.datasets_scripts.sources import GROUP_COLUMNS
from phenolip.exceptions import ConfigurationError
from phenolip.images import IMAGE_SUFFIXES
from phenolip.phenokg.forgotten import wholes

#: Columns that name a row; a name covers what lies below it, as an article its figures and a folder its files.
NAME_COLUMNS = (
    *("row_id", "query_id", "key", "file_name", "image_path", "filepath", "path", "source", "doc_id", "uid"),
    *("article_id", "pmcid", "doi", "__key__"),
)
HASH_COLUMNS = ("sha256", "figure_sha256")
#: Columns whose texts are looked for afterwards, in lists and records too.
TEXT_COLUMNS = frozenset(
    """caption caption_raw caption_title group_caption subcaption description citing_paragraphs abstract text title
    surface findings txt caption.txt""".split()
)
#: Columns of a row, beside the caption's, that say where it lies: what is enough to choose rows by.
LIGHT_COLUMNS = frozenset((*NAME_COLUMNS, *GROUP_COLUMNS, *HASH_COLUMNS, "figure_id", "figure", "figures"))
_FILE_COLUMNS = ("file_name", "image_path", "filepath")
_ROW_IDS = ("row_id", "file_name", "image_path", "filepath", "__key__")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPEATED = re.compile(r" \(\d+\)$")  # what an evaluation adds to the second of two equal ids


@dataclass
class Selection:
    """Names, groups and image hashes to forget; it grows by what the rows say that they match.

    Attributes:
        names: Row ids, file names, figures as "article/figure", articles.
        groups: Values of the columns `GROUP_COLUMNS`: patients, cases, studies.
        hashes: SHA-256 of image files, hexadecimal.
        learned: Row ids of rows that matched. They count in tables that say nothing of an image, such as predictions:
            elsewhere another row may have the same file name.
        texts: Every text of the rows that matched.
        asked: What the user named, as it was given.
    """

    names: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)
    learned: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    asked: tuple[str, ...] = ()

    @classmethod
    def of(cls, ids: Iterable[str], groups: Iterable[str] = ()) -> "Selection":
        """From what a user gives; 64 hexadecimal digits are the hash of an image.

        Raises:
            ConfigurationError: Nothing was named, or an id is blank.
        """
        ids, groups = [one.strip() for one in ids], [one.strip() for one in groups]
        if not ids and not groups:
            raise ConfigurationError("`--ids` or `--groups` must name at least one row, got none.")
        if not all((*ids, *groups)):
            raise ConfigurationError("`--ids` and `--groups` must not be blank.")
        hashes = {one for one in ids if _SHA256.fullmatch(one)}
        names = {one.rstrip("/") for one in ids} - hashes
        if "" in names:
            raise ConfigurationError("`--ids` must name rows, got '/'.")
        return cls(names, set(groups), hashes, asked=(*ids, *groups))

    def size(self) -> int:
        """Grows while rows still teach something."""
        return len(self.names) + len(self.hashes) + len(self.learned)

    def covers(self, name: Any) -> bool:
        """Whether a name was given, or lies below one that was."""
        if not isinstance(name, str | int) or isinstance(name, bool):
            return False
        return any(whole in self.names for whole in wholes(plain_name(name)))

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether a row goes."""
        hashes = [row[column] for column in HASH_COLUMNS if isinstance(row.get(column), str)]
        names = [row[column] for column in NAME_COLUMNS if isinstance(row.get(column), str | int)]
        return (
            any(one in self.hashes for one in hashes)
            or any(map(self.covers, names))
            or (not hashes and any(plain_name(name) in self.learned for name in names))
            or any(_text(row[column]) in self.groups for column in GROUP_COLUMNS if row.get(column) is not None)
            or self.covers(figure_name(row))
        )

    def gone_figures(self, row: Mapping[str, Any]) -> list[int]:
        """Places of the figures that an article, itself to stay, must lose."""
        figures, article = row.get("figures"), row.get("article_id")
        if not article or not isinstance(figures, list):
            return []
        return [
            place
            for place, one in enumerate(figures)
            if isinstance(one, Mapping) and self.covers(f"{article}/{one.get('id')}")
        ]

    def learn(self, row: Mapping[str, Any]) -> None:
        """Takes from a row that goes what it is called elsewhere: a subfigure stands for its whole figure.

        The image of a row that goes, goes everywhere; an article goes only where it was named.
        """
        self.learned.update(plain_name(row[column]) for column in _ROW_IDS if isinstance(row.get(column), str | int))
        if name := figure_name(row):
            self.names.add(name)
        elif self.covers(row.get("article_id")) and isinstance(row.get("source"), str):
            self.names.add(row["source"])  # the file of an article
        self.hashes.update(row[column] for column in HASH_COLUMNS if isinstance(row.get(column), str))

    def other_names(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Names that a row which stays shares by chance with one that goes: it has texts, and none of that one's."""
        texts = set(texts_of(row))
        if texts and not texts & self.texts:
            names = (plain_name(row[column]) for column in _ROW_IDS if isinstance(row.get(column), str | int))
            yield from (name for name in names if name in self.learned and not self.covers(name))

    def learn_texts(self, row: Mapping[str, Any]) -> None:
        """Remembers the texts of a row that goes."""
        self.texts.update(texts_of(row))


def plain_name(name: str | int) -> str:
    """A name as the data has it, without the number that an evaluation puts behind equal ones."""
    return _REPEATED.sub("", str(name))


def file_names(row: Mapping[str, Any]) -> Iterator[str]:
    """What a row calls its picture's file: a name that rows of other data may have too, unlike one of an article."""
    if row.get("article_id"):
        return
    yield from (row[column] for column in _FILE_COLUMNS if isinstance(row.get(column), str))
    if isinstance(name := row.get("row_id"), str) and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        yield name


def figure_name(row: Mapping[str, Any]) -> str | None:
    """ "article/figure" of a row, where it has both."""
    figure = row.get("figure")
    figure_id = figure.get("id") if isinstance(figure, Mapping) else row.get("figure_id")
    return f"{row['article_id']}/{figure_id}" if row.get("article_id") and figure_id else None


def texts_of(value: Any, *, inside: bool = False) -> Iterator[str]:
    """Texts of the columns `TEXT_COLUMNS`, however deep."""
    if isinstance(value, str):
        if inside and value.strip():
            yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from texts_of(inner, inside=inside or name in TEXT_COLUMNS)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_of(inner, inside=inside)


def hashed(names: Iterable[str]) -> list[str]:
    """SHA-256 of each name, sorted: what a receipt holds in its place."""
    return sorted(hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest() for name in names)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
