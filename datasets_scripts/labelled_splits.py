"""Labelled images for training, validation and test, with what the data lacks cut from what it has."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

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
            ``file``, and the fields of `TableLayout`.
        train: Whether training images are needed.

    Raises:
        ConfigurationError: The layout cannot be used.
        DataError: The data cannot be read, or a split that is needed is missing.
    """
    splits = _readers(Path(data), classes, dict(layout))
    about: dict[str, str] = {}
    if "test" in splits:
        test, about["test"] = splits["test"](), "test split"
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
    for name, images in (("train", training if train else None), ("validation", validation), ("test", test)):
        if images is not None and not len(images):
            raise DataError(f"{data}: the {name} images are empty.")
    return LabelledSplits(training if train else None, validation, test, about)


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
) -> dict[str, Callable[[], LabelledImages]]:
    kind = layout.pop("kind", None)
    if kind not in LAYOUTS:
        raise ConfigurationError(f"`layout.kind` must be one of {', '.join(LAYOUTS)}, got {kind!r}.")
    if kind == "table":
        return _table_readers(data, classes, layout)
    if layout:
        raise ConfigurationError(f"`layout` of the kind '{kind}' takes no '{next(iter(layout))}'.")
    if kind == "medmnist":
        return {split: lambda split=split: read_medmnist(data, split, classes) for split in medmnist_splits(data)}
    return {
        split: lambda folder=folder: read_class_folders(folder, classes)
        for split, folder in folder_splits(data).items()
    }


def _table_readers(
    data: Path, classes: Sequence[ImageClass], settings: dict[str, Any]
) -> dict[str, Callable[[], LabelledImages]]:
    files, file = settings.pop("files", None), settings.pop("file", None)
    known = [entry.name for entry in fields(TableLayout)]
    for name in settings:
        if name not in known:
            raise ConfigurationError(f"Unknown field '{name}' of `layout`.{near_matches(str(name), known)}")
    settings["folders"] = tuple(settings.get("folders", (".",)))
    layout = TableLayout(**settings)
    root = data if data.is_dir() else data.parent
    if files and data.is_dir():
        rows = {split: read_rows(root / name) for split, name in files.items() if (root / name).is_file()}
        if not rows:
            raise DataError(f"{data} must hold {' or '.join(files.values())}, got neither.")
    else:
        if data.is_dir() and not file:
            raise ConfigurationError("`layout` must name `file` or `files` for a folder, got neither.")
        rows = _split_rows(read_rows(root / file if data.is_dir() else data), layout)
    return {split: lambda rows=part: read_image_table(rows, root, classes, layout) for split, part in rows.items()}


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
