"""Images with a mask of what they show: folders `images/` and `masks/`, or DRIVE as it is published."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import IMAGE_SUFFIXES, decode_image

MASK_LAYOUTS = {"masks": ("images", "masks"), "drive": ("images", "1st_manual")}
_SPLITS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test",)}
_MASK_ENDINGS = ("", "_mask", "_seg", "_manual1")
VALIDATION_FRACTION = 0.2  # of the training images, where there is no validation folder: masked sets are small
_CUT_SHARES = (("train", 0.7), ("val", 0.15), ("test", 0.15))  # where there are no splits at all


@dataclass(frozen=True)
class MaskedImages:
    """N images and their masks, read when they are asked for.

    Attributes:
        images: N image files.
        masks: N mask files.
        ids: N names, for reports.
        groups: N patients or cases; equal to the ids where names do not say.
        dropped: Reason -> images that were left out.
    """

    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Sequence[int]) -> "MaskedImages":
        """Some of the images, in the order asked."""
        fields = ("images", "masks", "ids", "groups")
        return replace(self, **{name: tuple(getattr(self, name)[row] for row in rows) for name in fields})

    def mask(self, row: int) -> NDArray[np.bool_]:
        """(H, W) where the mask file is above half of its highest value: 0 and 1 read as 0 and 255 do."""
        values = np.asarray(decode_image(self.masks[row]).convert("L"))
        return values > values.max() / 2

    def file_hashes(self) -> list[str]:
        """SHA-256 of each image file."""
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.images]

    def revision(self) -> str:
        """SHA-256 over names, image files and mask files."""
        digest = hashlib.sha256("\n".join(self.ids).encode())
        for path in (*self.images, *self.masks):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def load_masked_splits(
    data: str | Path, *, layout: str = "masks", group_separator: str | None = None
) -> tuple[dict[str, MaskedImages], dict[str, str]]:
    """Train, val and test, and in words how each came about.

    Folders `train/`, `val/` and `test/` (or `training/`, `validation/`) are taken as they are. Validation images that
    are missing are cut from the training images, whole groups by hash; data without any split is cut 70 / 15 / 15.

    Args:
        data: The folder.
        layout: "masks" for `images/` beside `masks/` with equal names (or NAME_mask); "drive" for `images/` beside
            `1st_manual/`, paired by the number before the first "_"; where its test folder has no `1st_manual/`, the
            training images are cut 70 / 15 / 15. `2nd_manual/` and `mask/` (the field of view) are not read.
        group_separator: What ends the patient's name in a file name; None where files stand alone.

    Raises:
        ConfigurationError: The layout is unknown.
        DataError: The folder has no images with masks, or no test images, or a patient stands on two sides.
    """
    if layout not in MASK_LAYOUTS:
        raise ConfigurationError(f"`layout` must be one of {', '.join(MASK_LAYOUTS)}, got {layout!r}.")
    data = Path(data)
    found = {}
    for split, names in _SPLITS.items():
        folder = next((data / name for name in names if (data / name / "images").is_dir()), None)
        # DRIVE's test masks were withheld in later releases: such a test folder can be looked at, not scored
        withheld = layout == "drive" and split == "test" and folder and not (folder / MASK_LAYOUTS[layout][1]).is_dir()
        if folder is not None and not withheld:
            found[split] = _read(folder, layout, group_separator)
    about = {split: f"{len(images)} images of the {split} folder" for split, images in found.items()}
    if layout == "drive" and "test" not in found and "train" in found:
        whole = found.pop("train")
        found = dict(zip(("train", "val", "test"), _cut(whole, _CUT_SHARES), strict=True))
        about = {
            split: f"{len(images)} of {len(whole)} training images, since the test folder has no drawn masks"
            for split, images in found.items()
        }
    if not found:
        whole = _read(data, layout, group_separator)
        found = dict(zip(("train", "val", "test"), _cut(whole, _CUT_SHARES), strict=True))
        about = {split: f"{len(images)} of {len(whole)} images, groups by hash" for split, images in found.items()}
    if "test" not in found or "train" not in found:
        raise DataError(f"{data} must have the folders train and test, got {', '.join(found)} alone.")
    if "val" not in found:
        shares = (("train", 1 - VALIDATION_FRACTION), ("val", VALIDATION_FRACTION))
        found["train"], found["val"] = _cut(found["train"], shares)
        about["train"] = f"{len(found['train'])} images of the train folder"
        about["val"] = f"{len(found['val'])} images of the train folder, groups by hash"
    if group_separator:
        _check_groups(data, found)
    empty = [split for split, images in found.items() if not len(images)]
    if empty:
        raise DataError(f"{data}: the {empty[0]} images are empty; give more images, or folders train, val and test.")
    return found, about


def _check_groups(data: Path, parts: Mapping[str, MaskedImages]) -> None:
    sides: dict[str, str] = {}
    for split, images in parts.items():
        for group in dict.fromkeys(images.groups):
            if sides.setdefault(group, split) != split:
                raise DataError(
                    f"{data}: {group} has images in the {sides[group]} and in the {split} folder: no patient may "
                    "stand on two sides."
                )


def _read(folder: Path, layout: str, group_separator: str | None) -> MaskedImages:
    image_folder, mask_folder = (folder / name for name in MASK_LAYOUTS[layout])
    for part in (image_folder, mask_folder):
        if not part.is_dir():
            wanted = " and ".join(MASK_LAYOUTS[layout])
            raise DataError(f"{folder} must have the folders {wanted}; {part.name} is missing.")
    masks = {_key(path, layout): path for path in _files(mask_folder)}
    dropped: Counter[str] = Counter()
    rows = []
    for path in _files(image_folder):
        mask = masks.get(_key(path, layout))
        if mask is None:
            dropped["no mask"] += 1
            continue
        group = path.stem.split(group_separator)[0] if group_separator else path.name
        rows.append((path, mask, path.name, group))
    if not rows:
        raise DataError(f"{folder}: no image of {image_folder.name}/ has a mask in {mask_folder.name}/.")
    images, masks, ids, groups = zip(*rows, strict=True)
    return MaskedImages(images, masks, ids, groups, dict(dropped))


def _files(folder: Path) -> list[Path]:
    root = folder.resolve()
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.casefold() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
        and path.resolve().is_relative_to(root)
    ]


def _key(path: Path, layout: str) -> str:
    if layout == "drive":  # 21_training.tif, 21_manual1.gif
        return path.stem.split("_")[0]
    return next((path.stem.removesuffix(end) for end in _MASK_ENDINGS[1:] if path.stem.endswith(end)), path.stem)


def _cut(images: MaskedImages, shares: Sequence[tuple[str, float]]) -> list[MaskedImages]:
    """Whole groups in the order of their hash, in parts of about the shares, of one group at least."""
    groups = sorted(set(images.groups), key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    sizes = [max(1, round(share * len(groups))) for _, share in shares[1:]]
    ends = np.cumsum([len(groups) - sum(sizes), *sizes])
    place = {group: int(np.searchsorted(ends, number, side="right")) for number, group in enumerate(groups)}
    places = [place[group] for group in images.groups]
    return [images.select([row for row, at in enumerate(places) if at == part]) for part in range(len(shares))]
