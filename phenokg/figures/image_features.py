"""Features of image files, kept on disk under the hash of each file: a run that was stopped goes on where it was."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import MAX_PIXELS, ImageTooLargeError, decode_image
from phenolip.phenokg.figures.figure_files import NoImageError
from phenolip.phenokg.records import Drop, ImageFile
from phenolip.whole_files import whole_file

STEP = "filter_figures"
MAX_BYTES = 100_000_000
_ROWS_PER_PART = 1024  # what a stopped run loses at most: a minute or two of one core

Encode = Callable[[Sequence[Image.Image]], NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class ImageTower:
    """A vision model, as the steps are handed one.

    Attributes:
        name: What it was asked for by.
        fingerprint: Hash of its weights and of how images are prepared for it.
        encode: RGB images to features (N, D).
    """

    name: str
    fingerprint: str
    encode: Encode


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image file that can be used.

    Attributes:
        file: Where it is.
        sha256: Of the file.
        picture: Decoded, RGB; None where its features are known.
    """

    file: ImageFile
    sha256: str
    picture: Image.Image | None


class FeatureStore:
    """Features by the sha256 of the image file, in Parquet parts below a folder of the tower's own.

    One process writes at a time.

    Args:
        folder: Holds the features of any number of towers.
        fingerprint: Of the tower.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        if not re.fullmatch(r"[0-9a-f]{8,64}", fingerprint):
            raise DataError(f"`fingerprint` must be 8 to 64 hexadecimal digits, got {fingerprint[:70]!r}.")
        self.folder = Path(folder, fingerprint)

    def add(
        self, files: Iterable[ImageFile], tower: ImageTower, *, batch_size: int = 32
    ) -> Iterator[tuple[ImageFile, str] | Drop]:
        """Encodes the files whose features are not there yet; yields every file with its sha256, in order, or a Drop.

        Args:
            files: Any number; each is read once, and decoded if it is new.
            tower: Encodes them.
            batch_size: Images encoded together.
        """
        known = set(self._hashes())
        fresh: list[tuple[str, NDArray[np.float32]]] = []
        for batch in in_batches(files, batch_size):
            outcomes = [read_image_file(file, known) for file in batch]
            images = [outcome for outcome in outcomes if isinstance(outcome, ReadImage)]
            new = {image.sha256: image.picture for image in images if image.picture is not None}
            if new:
                fresh += zip(new, encoded(tower, list(new.values())), strict=True)
                known |= new.keys()
            if len(fresh) >= _ROWS_PER_PART:
                self._write(fresh)
                fresh = []
            yield from ((each.file, each.sha256) if isinstance(each, ReadImage) else each for each in outcomes)
        if fresh:
            self._write(fresh)

    def load(self, hashes: Sequence[str]) -> NDArray[np.float32]:
        """Features of files by their sha256, in that order (N, D).

        Raises:
            DataError: One of them is not there.
        """
        places: dict[str, list[int]] = {}
        for place, sha256 in enumerate(hashes):
            places.setdefault(sha256, []).append(place)
        features: NDArray[np.float32] | None = None
        missing = set(places)
        for path in self._parts():
            table = _read_part(path)
            rows = table["features"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)  # (R, D)
            if features is None:
                features = np.empty((len(hashes), rows.shape[1]), np.float32)
            for row, sha256 in zip(rows, table["sha256"].to_pylist(), strict=True):
                if sha256 in missing:
                    features[places[sha256]] = row
                    missing.remove(sha256)
        if missing or features is None:
            raise DataError(f"{self.folder} lacks the features of {len(missing):,} files; run the extraction again.")
        return features

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _hashes(self) -> Iterator[str]:
        for path in self._parts():
            yield from _read_part(path, ["sha256"])["sha256"].to_pylist()

    def _write(self, fresh: list[tuple[str, NDArray[np.float32]]]) -> None:
        hashes, rows = zip(*fresh, strict=True)
        width = len(rows[0])
        values = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(rows)), width)
        table = pa.table({"sha256": pa.array(hashes), "features": values})
        with whole_file(self.folder / f"part-{len(self._parts()):05d}.parquet") as file:
            pq.write_table(table, file)


def read_image_file(
    file: ImageFile, known: Container[str] = (), *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> ReadImage | Drop:
    """An image file, decoded unless its sha256 is `known`; a Drop if it cannot be used.

    Drops are "outside_folder", "unreadable_image" and "too_large_image".
    """
    try:
        data = _read_below(file, max_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        picture = None if sha256 in known else decode_image(data, max_pixels=max_pixels)
    except NoImageError as error:
        return Drop(STEP, file.path, *error.args)
    except ImageTooLargeError as error:
        return Drop(STEP, file.path, "too_large_image", _named(error, file))
    except (DataError, OSError, ValueError) as error:
        return Drop(STEP, file.path, "unreadable_image", _named(error, file))
    return ReadImage(file, sha256, picture)


def in_batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one shorter."""
    rest = iter(items)
    return iter(lambda: list(islice(rest, size)), [])


def encoded(tower: ImageTower, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Features of pictures (N, D), their shape checked.

    Raises:
        ConfigurationError: The tower gives anything but a row for each picture.
    """
    features = np.asarray(tower.encode(pictures), np.float32)
    if features.ndim != 2 or len(features) != len(pictures) or features.shape[1] == 0:
        raise ConfigurationError(
            f"`tower` {tower.name} must give a row of features for each image, got the shape {features.shape} for "
            f"{len(pictures)} images."
        )
    return features


def _read_below(file: ImageFile, max_bytes: int) -> bytes:
    root = os.path.realpath(file.root)
    path = os.path.realpath(os.path.join(root, file.path))
    if not Path(path).is_relative_to(root):
        raise NoImageError("outside_folder", f"{file.path[:80]!r} leads out of its folder.")
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NoImageError("unreadable_image", f"{file.path[:80]!r} is not a plain file.")
    with open(path, "rb") as opened:
        data = opened.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise NoImageError("too_large_image", f"{file.path[:80]!r} has more than {max_bytes:,} bytes.")
    return data


def _named(error: Exception, file: ImageFile) -> str:
    return str(error).replace("the image", file.path[:80], 1)


def _read_part(path: Path, columns: Sequence[str] = ("sha256", "features")) -> pa.Table:
    try:
        return pq.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}; delete it and run again.") from None
