"""Images with their captions, as people have them, to be pasted into compound figures."""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image, verify_image
from phenolip.phenokg.composites import SourceImage
from phenolip.phenokg.record_files import find_images

logger = logging.getLogger(__name__)

_LICENSES = ("license", "license_url")
_GROUPS = ("group_id", "case_id", "pmcid", "caption")  # the first that a row has keeps its kin in other figures


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image file and its text, still unread.

    Attributes:
        path: Of the file.
        row_id: The list that has it, and its name there.
        caption: Of the image; its file name in words where a folder has no captions.
        group: Images of one group are kept out of each other's figures.
        license: As the list gives it.
    """

    path: Path
    row_id: str
    caption: str
    group: str
    license: str | None = None


def list_images(sources: Iterable[str | Path]) -> tuple[list[ListedImage], dict[str, int]]:
    """The images of folders and of .jsonl files with `file_name` and `caption` in every row.

    A folder that holds a metadata.jsonl is read by it, any other is searched.

    Returns:
        The images, and how many rows were left out for which reason.

    Raises:
        ConfigurationError: If a source is neither.
        DataError: If a list cannot be read, or there is no image at all.
    """
    listed: list[ListedImage] = []
    bad: Counter[str] = Counter()
    for source in map(Path, sources):
        rows = source / "metadata.jsonl" if (source / "metadata.jsonl").is_file() else source
        if rows.suffix == ".jsonl" and rows.is_file():
            for outcome in _read_rows(rows):
                if isinstance(outcome, str):
                    bad[outcome] += 1
                else:
                    listed.append(outcome)
        elif source.is_dir():
            listed += [_unlabelled(Path(image.root, image.path), image.path) for image in find_images(source)]
        else:
            raise ConfigurationError(f"`images` must be folders or .jsonl files, got {source}.")
    if not listed:
        raise DataError(f"`images` must hold at least one image, got none ({_counts(bad) or 'no rows'}).")
    if bad:
        logger.warning("%d rows of images are left out (%s).", bad.total(), _counts(bad))
    return listed, dict(bad)


def open_images(
    listed: Sequence[ListedImage], number: int
) -> tuple[list[SourceImage], list[str | None], dict[str, int]]:
    """A number of images that can be decoded, the list again from its start where it is too short.

    Returns:
        The images, their licences, and how many were left out for which reason.

    Raises:
        DataError: If none can be decoded.
    """
    opened: list[SourceImage] = []
    licenses: list[str | None] = []
    bad: Counter[str] = Counter()
    for image in listed:
        if len(opened) == number:
            break
        try:
            data = image.path.read_bytes()
            verify_image(data, image.row_id)
        except (DataError, OSError) as error:
            logger.warning("An image is left out: %s", error)
            bad["unreadable image"] += 1
            continue
        licenses.append(image.license)
        digest = sha256(data).hexdigest()
        opened.append(
            SourceImage(image.row_id, digest, image.caption, (), partial(decode_image, image.path), image.group)
        )
    if not opened:
        raise DataError(f"`images` must hold at least one image that can be decoded, got none of {len(listed)}.")
    places = [place % len(opened) for place in range(number)]
    return [opened[place] for place in places], [licenses[place] for place in places], dict(bad)


def _read_rows(path: Path) -> Iterator[ListedImage | str]:
    """An image, or why a row has none."""
    root = os.path.realpath(path.parent)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`images` {path} cannot be read: {error}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file_name, caption = row["file_name"], row["caption"]
        except (ValueError, TypeError, LookupError, RecursionError):
            yield "row without file_name and caption"
            continue
        if not isinstance(file_name, str) or not isinstance(caption, str) or not caption.strip():
            yield "row without file_name and caption"
        elif "\0" in file_name or not Path(os.path.realpath(Path(root, file_name))).is_relative_to(root):
            yield "file outside of its list's folder"
        else:
            group = next((f"{name} {row[name]}" for name in _GROUPS if row.get(name)), file_name)
            license = next((str(row[name]) for name in _LICENSES if row.get(name)), None)
            row_id = f"{path.parent.name}/{path.name} line {number}: {file_name}"
            yield ListedImage(Path(root, file_name), row_id, caption.strip(), group, license)


def _unlabelled(path: Path, name: str) -> ListedImage:
    return ListedImage(path, name, " ".join(Path(name).stem.replace("_", " ").split()) or "Image", name)


def _counts(bad: Counter[str]) -> str:
    return ", ".join(f"{reason}: {number}" for reason, number in bad.most_common())
