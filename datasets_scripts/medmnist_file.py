"""A MedMNIST ``.npz`` file -> labelled images of a split; nothing is unpickled, large members stay on the disk."""

import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from phenolip.datasets_scripts.labelled_images import ImageClass, LabelledImages, one_hot
from phenolip.exceptions import DataError

MEDMNIST_SPLITS = ("train", "val", "test")
_LOCAL_HEADER = 30  # bytes of a zip member's header before its name
_COPIED = 2**20
# Of the file, the zip, what is packed in it, the header (numpy reads it as Python), and encryption.
_DAMAGED = (
    *(OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error),
    *(SyntaxError, tokenize.TokenError, MemoryError, RuntimeError),
)
# The files themselves shrink to a half or a fifth; zeros shrink to a thousandth.
_MAX_RATIO, _MAX_SMALL = 100, 2**26


class ArrayImages(Sequence):
    """Rows of a pixel array as Pillow images.

    Args:
        pixels: (N, H, W) or (N, H, W, 3) uint8.
    """

    def __init__(self, pixels: NDArray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> Image.Image:
        return Image.fromarray(np.asarray(self.pixels[row]))


def medmnist_splits(path: str | Path) -> list[str]:
    """The splits that a file holds, in the order train, val, test.

    Raises:
        DataError: It is no such file.
    """
    with _open(path) as archive:
        names = set(archive.namelist())
    found = [split for split in MEDMNIST_SPLITS if f"{split}_images.npy" in names and f"{split}_labels.npy" in names]
    if not found:
        raise DataError(f"{path} must hold arrays such as train_images and train_labels, as MedMNIST has them.")
    return found


def read_medmnist(path: str | Path, split: str, classes: Sequence[ImageClass]) -> LabelledImages:
    """One split of a file, MedMNIST or MedMNIST+ (arXiv 2110.14795), of two-dimensional images.

    Labels of one column are numbers of classes; of several, one of 0 and 1 a class.

    Args:
        path: The file.
        split: "train", "val" or "test".
        classes: In the order of the file's numbers, since it holds no names.

    Raises:
        DataError: The file is damaged, of another form, or has a label that no class has.
    """
    pixels, labels = read_member(path, f"{split}_images"), np.array(read_member(path, f"{split}_labels"))
    name = Path(path).name
    if pixels.dtype != np.uint8 or not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)):
        raise DataError(f"{name}: {split}_images must be (N, H, W) or (N, H, W, 3) uint8, got {_shape(pixels)}.")
    labels = labels.reshape(len(labels), -1) if labels.ndim == 1 else labels
    num_classes = len(classes)
    if labels.ndim != 2 or len(labels) != len(pixels) or labels.dtype.kind not in "iub":
        raise DataError(f"{name}: {split}_labels must be ({len(pixels)}, columns) integers, got {_shape(labels)}.")
    exclusive = labels.shape[1] == 1
    if not exclusive and labels.shape[1] != num_classes:
        raise DataError(f"{name}: {split}_labels has {labels.shape[1]} columns where the task has {num_classes}.")
    highest = num_classes - 1 if exclusive else 1
    if len(labels) and (labels.min() < 0 or labels.max() > highest):
        raise DataError(f"{name}: {split}_labels must be from 0 to {highest}, got {labels.min()} to {labels.max()}.")
    ids = tuple(f"{split}/{row}" for row in range(len(labels)))
    return LabelledImages(
        images=ArrayImages(pixels),
        labels=one_hot(labels[:, 0], num_classes) if exclusive else labels.astype(np.int8),
        class_names=tuple(image_class.name for image_class in classes),
        ids=ids,
        groups=ids,  # the files say nothing of patients
        exclusive=exclusive,
    )


def read_member(path: str | Path, name: str) -> NDArray:
    """An array of an ``.npz``, mapped from the file where it is stored, else from an unpacked copy without a name.

    Raises:
        DataError: The array is missing, damaged, or holds Python objects.
    """
    try:
        with _open(path) as archive:
            info = archive.getinfo(f"{name}.npy")
            if info.compress_type == zipfile.ZIP_STORED:
                with open(path, "rb") as file:
                    file.seek(info.header_offset + 26)
                    lengths = np.frombuffer(file.read(4), "<u2")  # of the name and of what follows it
                    file.seek(info.header_offset + _LOCAL_HEADER + int(lengths.sum()))
                    return _map_array(file)
            if info.file_size > max(_MAX_SMALL, _MAX_RATIO * info.compress_size):
                raise ValueError(
                    f"{info.compress_size:,} bytes would be {info.file_size:,} unpacked, as no pictures are"
                )
            with archive.open(info) as packed, tempfile.TemporaryFile() as copy:
                while block := packed.read(_COPIED):
                    copy.write(block)
                copy.seek(0)
                return _map_array(copy)
    except KeyError:
        raise DataError(f"{path} must hold the array {name}; it has none.") from None
    except _DAMAGED as error:
        raise DataError(f"{path}: {name} cannot be read: {str(error).rstrip('.')}.") from error


def _map_array(file: IO[bytes]) -> NDArray:
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in read_header:
        raise ValueError(f"its format is {version}, which is not known")
    shape, in_fortran_order, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    order = "F" if in_fortran_order else "C"
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype=dtype, mode="r", offset=file.tell(), shape=shape, order=order)


def _open(path: str | Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} must be an .npz file: {str(error).rstrip('.')}.") from error


def _shape(array: Any) -> str:
    return f"{array.shape} {array.dtype}"
