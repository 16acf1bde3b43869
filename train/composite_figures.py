"""Compound figures with the boxes of their subfigures -> samples and batches for a detector.

A data set is a folder with images and boxes.jsonl, one {"file_name", "boxes"} a row: boxes are [x0, y0, x1, y1] in
pixels of the file, origin top left. Composites made in code are written so, and so may be figures annotated by hand.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from phenolip.exceptions import DataError
from phenolip.images import decode_image
from phenolip.provenance import content_hash
from phenolip.train.data import Key

BOXES_FILE = "boxes.jsonl"


@dataclass(frozen=True, slots=True)
class LabelledFigure:
    """An image file and where its subfigures lie.

    Attributes:
        path: Of the image file.
        boxes_xyxy: Left, top, right, bottom of each subfigure in pixels of the image; at least one.
    """

    path: Path
    boxes_xyxy: tuple[tuple[float, float, float, float], ...]


def load_figures(folder: str | Path) -> list[LabelledFigure]:
    """Figures of a data set, in the order of its rows.

    Raises:
        DataError: boxes.jsonl is missing or empty, or a row of it is no figure of this folder.
    """
    path = Path(folder) / BOXES_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"A folder of figures must hold {BOXES_FILE}, and {path} cannot be read ({error}).") from None
    figures = [_parse_figure(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not figures:
        raise DataError(f"{path} must hold at least one figure, got none.")
    return figures


def _parse_figure(line: str, path: Path, number: int) -> LabelledFigure:
    try:
        row = json.loads(line)
        name = Path(row["file_name"])
        boxes = tuple(tuple(map(float, box)) for box in row["boxes"])
    except (ValueError, TypeError, LookupError, RecursionError):
        raise DataError(f'{path} row {number} must be {{"file_name", "boxes"}}.') from None
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"{path} row {number}: `file_name` must lie in the folder, got {str(name)!r}.")
    if not boxes:
        raise DataError(f"{path} row {number}: `boxes` must hold at least one box, got none.")
    for box in boxes:
        if len(box) != 4 or not all(map(math.isfinite, box)) or not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
            raise DataError(f"{path} row {number}: a box must be [x0, y0, x1, y1], rising, got {list(box)}.")
    return LabelledFigure(path.parent / name, boxes)


def figures_revision(figures: Sequence[LabelledFigure]) -> str:
    """Hash of names, file sizes and boxes, in order: what a resumed run must find again."""
    sizes = [figure.path.stat().st_size if figure.path.exists() else -1 for figure in figures]
    rows = [[figure.path.name, size, figure.boxes_xyxy] for figure, size in zip(figures, sizes, strict=True)]
    return content_hash([json.dumps(row) for row in rows])


class FigureSamples:
    """Samples: the figure stretched to a square, and its boxes as centre and size in shares of it.

    Args:
        figures: From `load_figures`.
        image_size: Side of the square in pixels.
        mirror: Mirror and turn half of the samples each way (8 symmetries of the square): where the parts of a page
            lie does not depend on what they show. A label is mirrored too, which no page has.
        seed: With epoch and row, fixes the symmetry.
    """

    def __init__(self, figures: Sequence[LabelledFigure], *, image_size: int, mirror: bool, seed: int) -> None:
        self.figures, self.image_size, self.mirror, self.seed = figures, image_size, mirror, seed

    def __len__(self) -> int:
        return len(self.figures)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, row = key
        figure = self.figures[row]
        image = decode_image(figure.path)
        boxes = shares_of_image(figure, image.size)
        side = (self.image_size, self.image_size)
        pixels = np.asarray(image.resize(side, Image.Resampling.BILINEAR))
        if self.mirror:
            pixels, boxes = turn(pixels, boxes, np.random.default_rng([self.seed, epoch, row]).integers(0, 2, 3))
        return {"pixels": pixels, "boxes": boxes}


def shares_of_image(figure: LabelledFigure, size: tuple[int, int]) -> NDArray:
    """Boxes as centre x, centre y, width and height, in shares of an image of that width and height: (K, 4) float32.

    Raises:
        DataError: A box reaches over the border of the image by more than a pixel.
    """
    boxes = np.array(figure.boxes_xyxy)
    if (boxes > [side + 1 for side in (*size, *size)]).any():
        raise DataError(f"A box of {figure.path} lies outside the image of {size[0]} x {size[1]} pixels.")
    boxes = np.minimum(boxes / [*size, *size], 1)
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)


def turn(pixels: NDArray, boxes: NDArray, flips: Sequence[int]) -> tuple[NDArray, NDArray]:
    """Mirrors left to right, mirrors top to bottom, and swaps the axes, each where its flip is not 0.

    Shapes: pixels (S, S, 3); boxes (K, 4), centre and size in shares. returns the same.
    """
    left_right, top_bottom, transpose = flips
    boxes = boxes.copy()
    if left_right:
        pixels, boxes[:, 0] = pixels[:, ::-1], 1 - boxes[:, 0]
    if top_bottom:
        pixels, boxes[:, 1] = pixels[::-1], 1 - boxes[:, 1]
    if transpose:
        pixels, boxes = pixels.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return pixels, boxes


def collate_figures(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Samples -> pixels (n, 3, S, S) uint8, boxes (n, K, 4) with zeros behind the last, num_boxes (n,)."""
    num_boxes = torch.tensor([len(sample["boxes"]) for sample in samples])
    boxes = torch.zeros(len(samples), int(num_boxes.max()), 4)
    for row, sample in enumerate(samples):
        boxes[row, : num_boxes[row]] = torch.from_numpy(sample["boxes"])
    pixels = torch.from_numpy(np.stack([sample["pixels"] for sample in samples])).permute(0, 3, 1, 2)
    return {"pixels": pixels, "boxes": boxes, "num_boxes": num_boxes}
