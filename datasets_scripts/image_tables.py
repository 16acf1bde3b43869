"""A table (CSV or JSON Lines) and a folder of images -> labelled images, as most public sets are published.

Labels are one column with one value (HAM10000's ``dx``), one column with several (NIH's ``Finding Labels``, parted by
"|"), or a column of 1, 0 and -1 a class (CheXpert, ChestX-ray tables).
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from phenolip.datasets_scripts.labelled_images import UNCERTAIN, ImageClass, LabelledImages, value_columns
from phenolip.exceptions import ConfigurationError, DataError

_MAX_FIELD_CHARS = 10_000_000
_NUMBERS = {"1": 1, "0": 0, "-1": UNCERTAIN, "": 0, "true": 1, "false": 0}


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """Where a table says what.

    Attributes:
        image: Column of the image's file name, relative to one of `folders`.
        label: Column of the label; None where every class has a column named as one of its values.
        separator: What parts several labels of one field; None where a field is one label.
        group: Column of the patient, case or lesion; None where rows stand alone.
        split: Column of the split; None where splits are files, or there are none.
        folders: Folders of images beside the table, searched in this order.
        suffix: What is added to the name of an image, such as ".jpg"; of several the first that exists.
    """

    image: str = "file_name"
    label: str | None = None
    separator: str | None = None
    group: str | None = None
    split: str | None = None
    folders: tuple[str, ...] = (".",)
    suffix: str | Sequence[str] = ""


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a .csv, .tsv or .jsonl file.

    Raises:
        DataError: The file is missing or a line cannot be read; the message names it.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.casefold() == ".jsonl":
                return list(_json_rows(file, path.name))
            csv.field_size_limit(_MAX_FIELD_CHARS)
            delimiter = "\t" if path.suffix.casefold() == ".tsv" else ","
            return list(csv.DictReader(file, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).rstrip('.')}.") from error


def read_image_table(
    rows: Sequence[Mapping[str, Any]], root: str | Path, classes: Sequence[ImageClass], layout: TableLayout
) -> LabelledImages:
    """Labelled images of some rows of a table; rows that cannot be used are counted by reason.

    Rows of one image are taken together where classes may occur together (RSNA has one a box); where an image has one
    class, the first row counts and another class after it is dropped.

    Args:
        rows: As `read_rows` gives them.
        root: Folder that `layout.folders` are relative to; no image outside it is opened.
        classes: The classes to keep.
        layout: Where the table says what.

    Raises:
        ConfigurationError: The table lacks a column that the layout names.
        DataError: No row is left.
    """
    root = Path(root)
    _check_columns(rows, classes, layout)
    columns = value_columns(classes)
    exclusive = layout.label is not None and layout.separator is None
    dropped: Counter[str] = Counter()
    labels: dict[str, np.ndarray] = {}
    groups: dict[str, str] = {}
    for row in rows:
        name = str(row[layout.image] or "").strip()
        found = _labels(row, columns, layout, len(classes))
        if not name or found is None:
            dropped["no image" if not name else "label is no class"] += 1
            continue
        if name in labels and exclusive and not np.array_equal(labels[name], found):
            dropped["two classes for one image"] += 1
            continue
        labels[name] = np.maximum(labels[name], found) if name in labels else found
        groups[name] = str(row[layout.group] or name) if layout.group else name
    paths = {name: find_image(root, layout, name) for name in labels}
    kept = [name for name, path in paths.items() if path is not None]
    if len(kept) < len(labels):
        dropped["image not found"] += len(labels) - len(kept)
    if not kept:
        raise DataError(f"{root}: no row of the table can be used: {dict(dropped)}.")
    return LabelledImages(
        images=[paths[name] for name in kept],
        labels=np.stack([labels[name] for name in kept]),
        class_names=tuple(image_class.name for image_class in classes),
        ids=tuple(kept),
        groups=tuple(groups[name] for name in kept),
        exclusive=exclusive,
        dropped=dict(dropped),
    )


def _json_rows(file: Iterator[str], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} line {number} is not JSON.") from error
        if not isinstance(row, dict):
            raise DataError(f"{name} line {number} must be an object, got {type(row).__name__}.")
        yield row


def _check_columns(rows: Sequence[Mapping[str, Any]], classes: Sequence[ImageClass], layout: TableLayout) -> None:
    if not rows:
        raise DataError("The table has no rows.")
    wanted = [layout.image, *filter(None, (layout.label, layout.group))]
    present = set().union(*(row.keys() for row in rows[:100]))
    if layout.label is None:
        wanted += [value for image_class in classes for value in image_class.values]
    missing = [column for column in wanted if column not in present]
    if missing:
        have = ", ".join(sorted(str(column) for column in present if column is not None))
        raise ConfigurationError(f"The table must have the column '{missing[0]}'; it has {have}.")


def _labels(
    row: Mapping[str, Any], columns: Mapping[str, int], layout: TableLayout, num_classes: int
) -> np.ndarray | None:
    labels = np.zeros(num_classes, np.int8)
    if layout.label is None:
        folded = {str(column).strip().casefold(): value for column, value in row.items()}
        for value, column in columns.items():
            number = _NUMBERS.get(
                str(folded.get(value) if folded.get(value) is not None else "").removesuffix(".0").casefold()
            )
            if number is None:
                return None
            labels[column] = number
        return labels
    text = str(row[layout.label] if row[layout.label] is not None else "")
    values = [text] if layout.separator is None else text.split(layout.separator)
    for value in values:
        column = columns.get(value.strip().casefold())
        if column is not None:
            labels[column] = 1
        elif layout.separator is None:
            return None
    return labels


def find_image(root: Path, layout: TableLayout, name: str) -> Path | None:
    """The file of an image that a table names; None where there is none inside the root."""
    suffixes = [layout.suffix] if isinstance(layout.suffix, str) else layout.suffix
    for relative in (PurePosixPath(name + suffix) for suffix in suffixes):
        if relative.is_absolute() or ".." in relative.parts or "\\" in name or "\0" in name:
            return None
        for folder in layout.folders:
            path = root / folder / relative
            try:
                if path.is_file() and path.resolve().is_relative_to(root.resolve()):
                    return path
            except OSError:  # a name too long for the file system
                return None
    return None
