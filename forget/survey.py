"""Where the rows that are to go occur below some folders: in tables, as pictures, and in what was made of them."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from phenolip.exceptions import ConfigurationError
from phenolip.forget.article_files import article_files
from phenolip.forget.findings import Findings
from phenolip.forget.made_files import KGX_FOLDER, find_derived, look_into
from phenolip.forget.row_files import TABLE_SUFFIXES, column_names, image_hashes, read_rows
from phenolip.forget.selection import LIGHT_COLUMNS, NAME_COLUMNS, Selection, file_names, plain_name, texts_of
from phenolip.images import IMAGE_SUFFIXES

MAX_ROUNDS = 8  # of rows that teach the names of further rows


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
    found.articles = sorted(article_files(files, roots, selection))
    for path in files:
        look_into(path, selection, found)
    find_derived(files, roots, selection, found)
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
