"""Folders named as classes -> labelled images: ``ROOT/split/class/*.png``, or ``ROOT/class/*.png`` without splits."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from phenolip.datasets_scripts.labelled_images import ImageClass, LabelledImages, one_hot, value_columns
from phenolip.exceptions import DataError
from phenolip.images import IMAGE_SUFFIXES

#: Names that folders of splits go by -> the split.
SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def folder_splits(root: str | Path) -> dict[str, Path]:
    """Split -> its folder; the root itself as "test" where no folder is named as a split.

    Raises:
        DataError: The root is no folder, or two folders are the same split.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root} must be a folder of class-named folders; it is none.")
    found: dict[str, Path] = {}
    for folder in sorted(root.iterdir()):
        split = SPLIT_FOLDERS.get(folder.name.casefold()) if folder.is_dir() else None
        if split in found:
            raise DataError(f"{root} must have one folder a split, got {found[split].name} and {folder.name}.")
        if split:
            found[split] = folder
    return found or {"test": root}


def read_class_folders(folder: str | Path, classes: Sequence[ImageClass]) -> LabelledImages:
    """The images of one split; hidden files and links that lead out are not followed.

    Folders that no class is named as are counted, one reason for all; so are files that are no images by their name.

    Raises:
        DataError: A class has no folder, or no image was found.
    """
    folder = Path(folder)
    columns = value_columns(classes)
    dropped: Counter[str] = Counter()
    paths: list[Path] = []
    codes: list[int] = []
    for child in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        column = columns.get(child.name.strip().casefold())
        for path in sorted(child.rglob("*")):
            if not path.is_file():
                continue
            if column is None:
                dropped["folder is no class"] += 1
            elif path.suffix.casefold() not in IMAGE_SUFFIXES or path.name.startswith("."):
                dropped["not an image"] += 1
            elif not path.resolve().is_relative_to(folder.resolve()):
                dropped["link out of the folder"] += 1
            else:
                paths.append(path)
                codes.append(column)
    if not paths:
        raise DataError(f"{folder} must have folders named as classes ({', '.join(columns)}), got no image of any.")
    missing = [image_class.name for column, image_class in enumerate(classes) if column not in set(codes)]
    if missing:
        raise DataError(f"{folder}: the classes {', '.join(missing)} have no image.")
    ids = tuple(path.relative_to(folder).as_posix() for path in paths)
    return LabelledImages(
        images=paths,
        labels=one_hot(codes, len(classes)),
        class_names=tuple(image_class.name for image_class in classes),
        ids=ids,
        groups=ids,
        exclusive=True,
        dropped=dict(dropped),
    )
