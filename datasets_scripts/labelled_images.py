"""Images with class labels, whatever layout they came in."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import DataError

#: Label of an image of which nobody knows whether it shows a class.
UNCERTAIN = -1


@dataclass(frozen=True, slots=True)
class ImageClass:
    """One class of a set.

    Attributes:
        name: As in results.
        values: What the data calls it: folder names, values of a column, or its number in a MedMNIST file.
        texts: What prompts call it; by default its name.
    """

    name: str
    values: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class LabelledImages:
    """N images and which of C classes they show.

    Attributes:
        images: Anything that ``decode_image`` reads, by number.
        labels: (N, C) int8 of 1, 0 and `UNCERTAIN`.
        class_names: C names.
        ids: N names of the rows, for reports.
        groups: N names of what was sampled as one (patient, case, lesion); equal to the ids where the data has none.
        exclusive: Whether every image shows exactly one class.
        dropped: Reason -> rows that were left out.
    """

    images: Sequence[Any]
    labels: NDArray
    class_names: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    exclusive: bool
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def codes(self) -> NDArray:
        """(N,) column of the one class of each image.

        Raises:
            DataError: Images may show several classes.
        """
        if not self.exclusive:
            raise DataError("Images that show several classes, or none, have no single one.")
        return self.labels.argmax(axis=1)

    def select(self, rows: Sequence[int]) -> "LabelledImages":
        """Some of the images, in the order asked."""
        rows = [int(row) for row in rows]
        return replace(
            self,
            images=ImageSelection(self.images, rows),
            labels=self.labels[rows],
            ids=tuple(self.ids[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
        )

    def file_hashes(self) -> list[str] | None:
        """SHA-256 of each image file; None where images are no files of their own."""
        if not len(self) or not isinstance(self.images[0], Path):
            return None
        return [hashlib.sha256(self.images[row].read_bytes()).hexdigest() for row in range(len(self))]

    def revision(self) -> str:
        """SHA-256 over the names and labels of the rows, in their order."""
        digest = hashlib.sha256("\n".join((*self.class_names, *self.ids)).encode())
        digest.update(np.ascontiguousarray(self.labels, np.int8).tobytes())
        return digest.hexdigest()


class ImageSelection(Sequence):
    """Some of a sequence's images, each read when it is asked for."""

    def __init__(self, images: Sequence[Any], rows: Sequence[int]) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        return self.images[self.rows[row]]


def value_columns(classes: Sequence[ImageClass]) -> dict[str, int]:
    """What the data calls a class, case folded -> its column.

    Raises:
        DataError: Two classes share a value.
    """
    columns: dict[str, int] = {}
    for column, image_class in enumerate(classes):
        for value in image_class.values:
            if columns.setdefault(value.strip().casefold(), column) != column:
                raise DataError(f"The value {value!r} must belong to one class, got two.")
    return columns


def one_hot(codes: Sequence[int], num_classes: int) -> NDArray:
    """(N,) columns -> (N, C) int8 of 0 and 1.

    Example:
        >>> one_hot([1, 0], 2).tolist()
        [[0, 1], [1, 0]]
    """
    return np.eye(num_classes, dtype=np.int8)[np.asarray(codes, np.intp)]
