"""Where the rows that are to go occur below some folders: every table, picture, cache and page that holds one."""

import hashlib
import os
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError
from phenolip.forget.needles import needles_of, page_holds
from phenolip.forget.row_files import TABLE_SUFFIXES, column_names, image_hashes, read_rows
from phenolip.forget.selection import LIGHT_COLUMNS, NAME_COLUMNS, Selection, file_names, plain_name, texts_of
from phenolip.images import IMAGE_SUFFIXES
from phenolip.phenokg.articles.id_types import PMCID_TYPES

PAGE_SUFFIXES = (".html", ".htm")
_OUR_PAGE = re.compile(rb"""<meta name=["']?generator["']? content=["']?phenolip\b""")
_MAX_HEAD = 2**10  # bytes of a page in which it says who wrote it
ARTICLE_SUFFIXES = (".xml", ".nxml")
ANSWER_SUFFIXES = (".sqlite", ".sqlite3", ".db")
KGX_FOLDER = "kgx"
MAX_ROUNDS = 8  # of rows that teach the names of further rows
_PARTIAL = re.compile(r"\..+\.(\d+)-\d+\.partial")
_MAX_FRONT = 2**18  # bytes of an article in which its own ids stand
_ARTICLE_ID = re.compile(rb"<article-id\b([^>]*)>([^<]+)<")
_ID_TYPE = re.compile(rb"""\bpub-id-type\s*=\s*["']([^"']*)["']""")
_RUN_OF_WORDS = 6  # that an answer of a language model must share with a text


@dataclass
class Findings:
    """What is to go, by the kind of place.

    Attributes:
        rows: Table -> numbers of its rows.
        figures: Table of articles -> row -> places of its figures.
        num_rows: Table -> rows that it has.
        images: Picture files.
        articles: Files of articles that were named.
        arrow: Folders in the cache of `datasets` that hold a row.
        text_features: Files of stored text features -> numbers of their rows.
        gathered: Files of features in the order of a run's rows, which name none: they go where a row went.
        answers: Files of a language model's answers -> keys.
        pages: HTML pages and pictures of a report.
        partials: What a killed writer left.
        kgx: Files of a graph, which are written anew.
        models: Model folders that were trained on a row.
        texts_kept: Texts of the rows that go which rows that stay hold too.
        names_kept: Names of the rows that go which other rows, that stay, have too.
        named_pictures: File name that was given -> SHA-256 of a picture of that name -> where it was found first.
    """

    rows: dict[Path, list[int]] = field(default_factory=dict)
    figures: dict[Path, dict[int, list[int]]] = field(default_factory=dict)
    num_rows: dict[Path, int] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)
    articles: list[Path] = field(default_factory=list)
    arrow: list[Path] = field(default_factory=list)
    text_features: dict[Path, list[int]] = field(default_factory=dict)
    gathered: list[Path] = field(default_factory=list)
    answers: dict[Path, list[str]] = field(default_factory=dict)
    pages: list[Path] = field(default_factory=list)
    partials: list[Path] = field(default_factory=list)
    kgx: list[Path] = field(default_factory=list)
    models: list[Path] = field(default_factory=list)
    texts_kept: set[str] = field(default_factory=set)
    names_kept: set[str] = field(default_factory=set)
    named_pictures: dict[str, dict[str, Path]] = field(default_factory=lambda: defaultdict(dict))

    def places(self) -> dict[str, int]:
        """Kind of place -> how many rows or files of it go."""
        counts = {
            "rows of tables": sum(map(len, self.rows.values())),
            "figures of articles": sum(len(places) for rows in self.figures.values() for places in rows.values()),
            "pictures": len(self.images),
            "files of articles": len(self.articles),
            "tables in the cache of datasets": len(self.arrow),
            "stored text features": sum(map(len, self.text_features.values())),
            "files of features by row": len(self.gathered),
            "answers of a language model": sum(map(len, self.answers.values())),
            "pages of reports": len(self.pages),
            "graph files": len(self.kgx),
            "unfinished files": len(self.partials),
        }
        return {name: number for name, number in counts.items() if number}


def survey(roots: Iterable[Path], selection: Selection, caches: Iterable[Path] = ()) -> Findings:
    """Finds everything; the selection learns the other names, hashes and texts of the rows that match.

    Args:
        roots: Folders of the user.
        selection: What is to go.
        caches: Folders of `datasets`, in which copies of tables lie as Arrow files.

    Raises:
        ConfigurationError: A folder is not there, or a file name is that of different pictures.
        DataError: A table is damaged.
    """
    roots = list(roots)
    files = list(files_below(roots))
    cached = [path for root in caches if root.is_dir() for path in files_below([root])]
    tables = [
        path for path in (*files, *cached) if path.suffix.lower() in TABLE_SUFFIXES and KGX_FOLDER not in path.parts
    ]
    arrow = [path for path in cached if path.suffix == ".arrow"]
    copies = set(cached)
    hashes = {path: _sha256(path) for path in files if path.suffix.lower() in IMAGE_SUFFIXES}
    by_name = _pictures_by_name(hashes, roots, selection)
    before = -1
    for _ in range(MAX_ROUNDS):
        if selection.size() == before:
            break
        before = selection.size()
        found = Findings()
        for path, name in by_name.items():
            if name in selection.names:
                found.named_pictures[name].setdefault(hashes[path], path)
                selection.hashes.add(hashes[path])
        for path in (*tables, *arrow):
            _choose_rows(path, selection, found, hashes, is_copy=path in copies)
    _refuse_ambiguous(found)
    _read_texts(found, [*tables, *arrow], selection)
    found.arrow = sorted({path.parent for path in arrow if path in found.rows})
    for path in arrow:
        found.rows.pop(path, None)
    found.images = [path for path, sha256 in hashes.items() if sha256 in selection.hashes or path in by_name]
    found.articles = sorted(_articles(files, roots, selection))
    for path in files:
        _look_into(path, selection, found)
    _derived(files, roots, selection, found)
    return found


def _pictures_by_name(hashes: Iterable[Path], roots: list[Path], selection: Selection) -> dict[Path, str]:
    """Pictures that were named, whether a table lists them or not: file -> its path in the folder."""
    names = {}
    for path in hashes:
        root = next(root for root in roots if path.is_relative_to(root))
        if selection.covers(name := path.relative_to(root).as_posix()):
            names[path] = name
    return names


def _refuse_ambiguous(found: Findings) -> None:
    for name, pictures in found.named_pictures.items():
        if len(pictures) > 1:
            which = ", ".join(f"{sha256} ({path})" for sha256, path in sorted(pictures.items()))
            raise ConfigurationError(
                f"`--ids` {name} is the file name of {len(pictures)} different pictures: name those that are to "
                f"go by their SHA-256, of {which}."
            )


def files_below(roots: Iterable[Path]) -> Iterator[Path]:
    """Every plain file, by name; links are not followed."""
    for root in roots:
        if not root.is_dir():
            raise ConfigurationError(f"`dir` must be a folder, got {root}.")
        for folder, folders, names in os.walk(root, followlinks=False):
            folders.sort()
            yield from (path for name in sorted(names) if not (path := Path(folder, name)).is_symlink())


def _choose_rows(path: Path, selection: Selection, found: Findings, hashes: dict[Path, str], *, is_copy: bool) -> None:
    """Rows of a table that go. A copy in a cache may be of other data: what it calls a row teaches nothing."""
    is_list = path.suffix.lower() in (".jsonl", ".csv", ".tsv")
    embedded = _embedded_hashes(path) if path.suffix.lower() == ".parquet" else None
    gone, gone_figures, number = [], {}, -1
    for number, row in enumerate(read_rows(path, None if is_list else LIGHT_COLUMNS)):
        if is_list and (own := _listed_hash(row, path.parent, hashes)):
            row = {**row, "sha256": own}
        elif embedded is not None:
            row = {**row, "sha256": embedded[number]}
        if selection.matches(row):
            gone.append(number)
            if is_copy:
                continue
            selection.learn(row)
            if isinstance(own := row.get("sha256"), str):
                for name in filter(selection.covers, file_names(row)):
                    found.named_pictures[plain_name(name)].setdefault(own, path)
        elif places := selection.gone_figures(row):
            gone_figures[number] = places
    found.num_rows[path] = number + 1
    if gone:
        found.rows[path] = gone
    if gone_figures:
        found.figures[path] = gone_figures


def _listed_hash(row: dict[str, Any], folder: Path, hashes: dict[Path, str]) -> str | None:
    """Hash of the picture that a row of a list names, relative to the list."""
    names = (row[column] for column in (*NAME_COLUMNS, "image") if isinstance(row.get(column), str))
    return next((hashes[path] for name in names if (path := folder / name) in hashes), None)


def _embedded_hashes(path: Path) -> list[str | None] | None:
    """Of a Parquet file of somebody else, that embeds pictures and has no column of their hashes."""
    names = column_names(path)
    return image_hashes(path) if "image" in names and "sha256" not in names else None


def _read_texts(found: Findings, tables: list[Path], selection: Selection) -> None:
    """Texts of rows that go, then those of them, and the names, that rows that stay hold too."""
    for path in {**found.rows, **found.figures}:
        gone, figures = set(found.rows.get(path, ())), found.figures.get(path, {})
        for number, row in enumerate(read_rows(path)):
            if number in gone:
                selection.learn_texts(row)
            for place in figures.get(number, ()):
                selection.learn_texts(row["figures"][place])
    for path in tables if selection.texts or selection.learned else ():
        gone, figures = set(found.rows.get(path, ())), found.figures.get(path, {})
        for number, row in enumerate(read_rows(path)):
            if number not in gone:
                row = row if number not in figures else _without(row, figures[number])
                found.texts_kept.update(selection.texts.intersection(texts_of(row)))
                found.names_kept.update(selection.other_names(row))


def _without(row: dict[str, Any], places: list[int]) -> dict[str, Any]:
    return {**row, "figures": [one for place, one in enumerate(row["figures"]) if place not in places]}


def _articles(files: list[Path], roots: Iterable[Path], selection: Selection) -> Iterator[Path]:
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


def _look_into(path: Path, selection: Selection, found: Findings) -> None:
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


def _derived(files: list[Path], roots: list[Path], selection: Selection, found: Findings) -> None:
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
