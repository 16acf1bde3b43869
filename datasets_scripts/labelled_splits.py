"""Labelled images for training, validation and test, with what the data lacks cut from what it has."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from phenolip.datasets_scripts.class_folders import SPLIT_FOLDERS, folder_splits, read_class_folders
from phenolip.datasets_scripts.image_tables import TableLayout, read_image_table, read_rows
from phenolip.datasets_scripts.labelled_images import ImageClass, LabelledImages
from phenolip.datasets_scripts.medmnist_file import medmnist_splits, read_medmnist
from phenolip.exceptions import ConfigurationError, DataError, near_matches

LAYOUTS = ("medmnist", "folders", "table")
VALIDATION_FRACTION = 0.1  # of the training images, where validation data is missing or has to stand for test data
HASHED_SHARES = (("train", 0.7), ("val", 0.15), ("test", 0.15))  # as of RSNA in the paper: 70 / 15 / 15
MAX_VALIDATION = 1000  # images that thresholds are fitted on, where nothing is trained


@dataclass(frozen=True)
class LabelledSplits:
    """What a class task reads.

    Attributes:
        train: None where the data has no such images, or none are needed.
        validation: None where there are no images to fit a threshold on.
        test: What is reported on.
        about: How each came about, in words, for results.json.
    """

    train: LabelledImages | None
    validation: LabelledImages | None
    test: LabelledImages
    about: dict[str, str]


def load_splits(
    data: str | Path, classes: Sequence[ImageClass], layout: Mapping[str, Any], *, train: bool
) -> LabelledSplits:
    """Reads a local copy of a set in its published layout.

    Data with a test split is taken as it is. Where there is none, the validation split stands for it, and other
    validation images are taken from the training split, whole groups at a time: nothing is fitted on what is reported.

    Args:
        data: File or folder.
        classes: The classes to keep.
        layout: ``kind`` ("medmnist", "folders" or "table") and, for a table, ``files`` (split -> file name) or
            ``file``, ``lists`` (split -> file of image names, which is followed where the copy holds it), and the
            fields of `TableLayout`.
        train: Whether training images are needed.

    Raises:
        ConfigurationError: The layout cannot be used.
        DataError: The data cannot be read, a split that is needed is missing, a class has no image at all, or a
            group (patient, case, lesion) stands on two sides of a split.
    """
    splits, origin = _readers(Path(data), classes, dict(layout))
    about: dict[str, str] = {}
    if "test" in splits:
        test, about["test"] = splits["test"](), f"test split{origin}"
        spare, about_validation = ("val", "validation split") if "val" in splits else ("train", "")
    elif "val" in splits:
        test, about["test"] = splits["val"](), "validation split, since the data has no test split"
        spare, about_validation = "train", ""
    else:
        raise DataError(f"{data} must have a test or validation split, got {', '.join(splits) or 'none'}.")
    if train and "train" not in splits:
        raise DataError(f"{data} must have a train split to fit a probe on, got {', '.join(splits)}.")
    training = splits["train"]() if train or (spare == "train" and "train" in splits) else None
    validation = splits["val"]() if spare == "val" else None
    if spare == "train" and training is not None:
        limit = VALIDATION_FRACTION * len(training) if train else MAX_VALIDATION
        rest, validation = cut_groups(training, limit)
        training = rest if train else None
        about_validation = f"{len(validation)} images of the training split, whole groups by hash"
    about["validation"] = about_validation if validation is not None else "none"
    about["train"] = f"{len(training)} images of the training split" if train else "not used"
    parts = {"train": training if train else None, "validation": validation, "test": test}
    for name, images in parts.items():
        if images is not None and not len(images):
            raise DataError(f"{data}: the {name} images are empty.")
    _check_classes(data, classes, [images for images in (*parts.values(), training) if images is not None], splits)
    return LabelledSplits(training if train else None, validation, test, about)


def _check_classes(
    data: str | Path,
    classes: Sequence[ImageClass],
    parts: Sequence[LabelledImages],
    splits: Mapping[str, Callable[[], LabelledImages]],
) -> None:
    """Sees that some image shows every class, if one of a split that is not used: another name would go unnoticed."""

    def missing(images: Sequence[LabelledImages]) -> list[ImageClass]:
        shown = np.any([(part.labels == 1).any(axis=0) for part in images], axis=0)
        return [entry for entry, found in zip(classes, shown, strict=True) if not found]

    if missing(parts) and (lost := missing([read() for read in splits.values()])):
        named = "; ".join(f"{entry.name} ({', '.join(entry.values)})" for entry in lost)
        raise DataError(f"{data}: no image shows the classes {named}: correct `classes`, or leave them out.")


def cut_groups(images: LabelledImages, num_images: float) -> tuple[LabelledImages, LabelledImages]:
    """Whole groups in the order of their hash until about ``num_images`` are cut off: what is left, what was cut."""
    sizes: dict[str, int] = {}
    for group in images.groups:
        sizes[group] = sizes.get(group, 0) + 1
    taken: set[str] = set()
    total = 0
    for group in sorted(sizes, key=_hash):
        if total >= num_images:
            break
        taken.add(group)
        total += sizes[group]
    inside = [group in taken for group in images.groups]
    rest = [row for row, cut in enumerate(inside) if not cut]
    return images.select(rest), images.select([row for row, cut in enumerate(inside) if cut])


def hashed_split(group: str) -> str:
    """The split of a group in data that has none: 70 % train, 15 % val, 15 % test, the same on every machine."""
    place = int(_hash(group)[:13], 16) / 16**13
    for split, share in HASHED_SHARES:
        if place < share:
            return split
        place -= share
    return HASHED_SHARES[-1][0]


def _readers(
    data: Path, classes: Sequence[ImageClass], layout: dict[str, Any]
) -> tuple[dict[str, Callable[[], LabelledImages]], str]:
    """Split -> what reads it, and in words what else says how the splits came about."""
    kind = layout.pop("kind", None)
    if kind not in LAYOUTS:
        raise ConfigurationError(f"`layout.kind` must be one of {', '.join(LAYOUTS)}, got {kind!r}.")
    if kind == "table":
        return _table_readers(data, classes, layout)
    if layout:
        raise ConfigurationError(f"`layout` of the kind '{kind}' takes no '{next(iter(layout))}'.")
    if kind == "medmnist":
        return {split: lambda split=split: read_medmnist(data, split, classes) for split in medmnist_splits(data)}, ""
    return {
        split: lambda folder=folder: read_class_folders(folder, classes)
        for split, folder in folder_splits(data).items()
    }, ""


def _table_readers(
    data: Path, classes: Sequence[ImageClass], settings: dict[str, Any]
) -> tuple[dict[str, Callable[[], LabelledImages]], str]:
    files, file, lists = (settings.pop(name, None) for name in ("files", "file", "lists"))
    known = [entry.name for entry in fields(TableLayout)]
    for name in settings:
        if name not in known:
            raise ConfigurationError(f"Unknown field '{name}' of `layout`.{near_matches(str(name), known)}")
    settings["folders"] = tuple(settings.get("folders", (".",)))
    layout = TableLayout(**settings)
    root, origin = data if data.is_dir() else data.parent, ""
    if files and data.is_dir():
        rows = {split: read_rows(root / name) for split, name in files.items() if (root / name).is_file()}
        if not rows:
            raise DataError(f"{data} must hold {' or '.join(files.values())}, got neither.")
    else:
        if data.is_dir() and not file:
            raise ConfigurationError("`layout` must name `file` or `files` for a folder, got neither.")
        rows = read_rows(root / file if data.is_dir() else data)
        names = _read_lists(root, lists or {})
        if names:
            listed = _listed_rows(rows, layout, names)
            num_left_out = len(rows) - sum(map(len, listed.values()))
            origin = f" by {' and '.join(lists.values())}; {num_left_out:,} rows of the table are in no list"
        else:
            listed = _split_rows(rows, layout)
            origin = "" if layout.split else ", by hash"
        rows = listed
    _check_groups(data, rows, layout)
    return {
        split: lambda rows=part: read_image_table(rows, root, classes, layout) for split, part in rows.items()
    }, origin


def _read_lists(root: Path, lists: Mapping[str, str]) -> dict[str, str]:
    """Name of an image -> its split, of lists that the copy holds; {} where it holds none."""
    there = {split: root / name for split, name in lists.items() if (root / name).is_file()}
    missing = [name for split, name in lists.items() if split not in there]
    if there and missing:
        raise DataError(f"{root} must hold all of {', '.join(lists.values())} or none, {missing[0]} is missing.")
    names: dict[str, str] = {}
    for split, path in there.items():
        try:
            listed = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read: {str(error).rstrip('.')}.") from error
        for name in filter(None, map(str.strip, listed)):
            if names.setdefault(name, split) != split:
                raise DataError(f"{path.name}: {name} is in the list of the {names[name]} split too.")
    if there and not names:
        raise DataError(f"{root}: {' and '.join(lists.values())} are empty.")
    return names


def _listed_rows(
    rows: Sequence[dict[str, Any]], layout: TableLayout, names: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """The rows by the split that lists give their images; images in no list are left out."""
    parts: dict[str, list[dict[str, Any]]] = {split: [] for split in dict.fromkeys(names.values())}
    for row in rows:
        split = names.get(str(row.get(layout.image)).strip())
        if split is not None:
            parts[split].append(row)
    return parts


def _check_groups(data: Path, parts: Mapping[str, Sequence[Mapping[str, Any]]], layout: TableLayout) -> None:
    """Sees that no patient, case or lesion is on two sides of a split."""
    if layout.group is None:
        return
    sides: dict[str, str] = {}
    for split, rows in parts.items():
        for group in {str(row[layout.group]) for row in rows if row.get(layout.group) not in (None, "")}:
            if sides.setdefault(group, split) != split:
                raise DataError(
                    f"{data}: the {layout.group} {group} has images in the {sides[group]} and in the {split} split: "
                    "nobody may stand on two sides."
                )


def _split_rows(rows: Sequence[dict[str, Any]], layout: TableLayout) -> dict[str, list[dict[str, Any]]]:
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if layout.split:
            split = SPLIT_FOLDERS.get(str(row.get(layout.split)).strip().casefold())
        else:
            split = hashed_split(str(row.get(layout.group or layout.image)))
        if split is not None:
            parts.setdefault(split, []).append(row)
    return parts


def _hash(group: str) -> str:
    return hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()
