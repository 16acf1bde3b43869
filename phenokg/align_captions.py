"""Boxes to captions: which part of a caption is about which subfigure.

Four kinds of evidence are added up in nats and solved as one assignment: the label printed at the box, words of the
caption on its place, the order in which labels run over a figure, and, where a model is handed in, how well image and
text agree. What stays open keeps the whole caption.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image
from phenolip.phenokg.alignment.assign_labels import assign_labels, assignment_total
from phenolip.phenokg.alignment.label_order import in_label_order
from phenolip.phenokg.alignment.other_series import possible_splits
from phenolip.phenokg.alignment.position_words import position_scores
from phenolip.phenokg.alignment.read_labels import LabelReader
from phenolip.phenokg.alignment.share_labels import share_labels
from phenolip.phenokg.records import (
    AlignedBoxes,
    CaptionedBoxes,
    Drop,
    LabelledBox,
    PixelBox,
    SplitCaption,
    Subcaption,
)
from phenolip.phenokg.subfigures.box_order import possible_orders

STEP = "align_captions"
VERSION = 1

#: Images of the N boxes and texts of the M labels -> their similarity in nats, such as `logits_per_image` of a model,
#: shape (N, M).
Similarity = Callable[[Sequence[Image.Image], Sequence[str]], NDArray[np.floating]]

_MAX_STYLES = 12  # of the printed labels that are tried with every order
_AS_MANY = 2.0  # nats for a series of as many labels as there are boxes
_SIMILARITY_WEIGHT = 0.5  # a model's logits are surer than they are right
_NESTED = re.compile(r"([A-Za-z])(?:[0-9]{1,2}|['’′]{1,2}|(?<=[A-Z])[ivx]{1,4})")
_CALIBRATION = (
    0.65  # the evidence is not independent: set on composites of development images, with and without picture
)


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """How boxes are aligned.

    Attributes:
        min_confidence: A label less sure than this is left out, and the whole caption holds; 0 to 1.
        images: Folder of the images; none takes the folder of the input.
        read_labels: Look for printed labels in the image; without, order and position words decide.
        max_boxes: A figure with more is left out.
    """

    min_confidence: float = 0.5
    images: str | None = None
    read_labels: bool = True
    max_boxes: int = 200

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ConfigurationError(f"`min_confidence` must be from 0 to 1, got {self.min_confidence}.")
        if self.max_boxes < 1:
            raise ConfigurationError(f"`max_boxes` must be at least 1, got {self.max_boxes}.")
        if self.images is not None and not Path(self.images).is_dir():
            raise ConfigurationError(f"`images` must be a folder, got {self.images}.")


def run(records: Iterable[CaptionedBoxes | Drop], config: AlignConfig) -> Iterator[AlignedBoxes | Drop]:
    """Align figures in their order; drops among the records are handed on.

    A figure that is not aligned is one Drop: "no_boxes", "too_many_boxes", "too_many_labels", "bad_box",
    "unsafe_path", "no_image".
    """
    for record in records:
        yield record if isinstance(record, Drop) else _align_record(record, config)


def align(
    picture: Image.Image | None,
    boxes: Sequence[PixelBox],
    split: SplitCaption,
    similarity: Similarity | None = None,
    config: AlignConfig | None = None,
) -> tuple[LabelledBox, ...]:
    """The label of every box, in the order of the boxes.

    Args:
        picture: The figure, RGB; None leaves out what can be read in it, and the similarity.
        boxes: Of the subfigures, at least one.
        split: The figure's caption in parts.
        similarity: Scores images against texts.
        config: Settings.

    Returns:
        Labels of the caption's parts. An empty one means that the whole caption holds: with confidence 1 if it names
        no subfigure, below `min_confidence` if it could not be decided, and then it is that of the label left out.

    Example:
        >>> parts = tuple(Subcaption(label, 0, 0, "") for label in "AB")
        >>> split = SplitCaption("figure", (), parts)
        >>> [found.label for found in align(None, [(60, 0, 100, 50), (0, 0, 50, 50)], split)]
        ['B', 'A']
    """
    config = config or AlignConfig()
    reader = LabelReader(picture, boxes) if picture is not None and config.read_labels and split.subcaptions else None
    return _align(reader, picture, boxes, split, similarity, config)


def align_caption(
    picture: Image.Image | None,
    boxes: Sequence[PixelBox],
    caption: str,
    similarity: Similarity | None = None,
    config: AlignConfig | None = None,
) -> tuple[SplitCaption, tuple[LabelledBox, ...]]:
    """The split of a caption that the picture bears out, and the label of every box.

    A caption may have two series of labels, of which one is printed; everything else is as in `align`.

    Raises:
        DataError: If the caption names too many subfigures.
    """
    config = config or AlignConfig()
    splits = possible_splits(caption)
    reads = picture is not None and config.read_labels and splits[0].subcaptions
    reader = LabelReader(picture, boxes) if reads else None
    split = max(splits, key=lambda split: _support(reader, split, len(boxes))) if len(splits) > 1 else splits[0]
    return split, _align(reader, picture, boxes, split, similarity, config)


def _support(reader: LabelReader | None, split: SplitCaption, num_boxes: int) -> float:
    """Nats that speak for a series of labels being the printed one; of equals the first is taken."""
    labels = [part.label for part in chosen_parts(split.subcaptions, num_boxes)]
    as_many = _AS_MANY if len(labels) == num_boxes else 0.0
    styles = reader.scores(labels, is_case_told=True) if reader is not None else []
    return as_many + max((assignment_total(style) for style in styles[:_MAX_STYLES]), default=0.0)


def _align(
    reader: LabelReader | None,
    picture: Image.Image | None,
    boxes: Sequence[PixelBox],
    split: SplitCaption,
    similarity: Similarity | None,
    config: AlignConfig,
) -> tuple[LabelledBox, ...]:
    parts = chosen_parts(split.subcaptions, len(boxes))
    if not parts:
        return tuple(LabelledBox(box, "", 1.0) for box in boxes)
    parts = [parts[place] for place in in_label_order([part.label for part in parts])]
    labels = [part.label for part in parts]
    styles = reader.scores(labels)[:_MAX_STYLES] if reader is not None else []
    styles = styles or [np.zeros((len(boxes), len(parts)))]
    extra = _other_evidence(picture, boxes, parts, similarity)
    orders = possible_orders(boxes, len(parts))
    if len(boxes) > len(parts):
        places, margins = share_labels(styles[0] + extra, orders[0].places)
    else:
        places, margins = assign_labels([style + extra for style in styles], orders)
    spare = max(1, len(parts) - len(boxes))
    sure = [round(_confidence(margin, spare), 4) for margin in margins]
    found = zip(boxes, places, sure, strict=True)
    return tuple(
        LabelledBox(box, labels[place] if confidence >= config.min_confidence else "", confidence)
        for box, place, confidence in found
    )


def chosen_parts(subcaptions: Sequence[Subcaption], num_boxes: int) -> list[Subcaption]:
    """The parts that boxes are matched with: of nested labels the innermost, unless there are boxes for all."""
    labels = {part.label for part in subcaptions}
    outer = {match[1] for label in labels if (match := _NESTED.fullmatch(label)) and match[1] in labels}
    inner = [part for part in subcaptions if part.label not in outer]
    return inner if num_boxes <= len(inner) else list(subcaptions)


def _other_evidence(
    picture: Image.Image | None, boxes: Sequence[PixelBox], parts: Sequence[Subcaption], similarity: Similarity | None
) -> NDArray[np.float64]:
    """Nats of position words and of the similarity. Shape (N, M)."""
    texts = [part.caption for part in parts]
    extra = np.zeros((len(boxes), len(parts)))
    own = [part.caption[max(0, len(part.caption) - (part.end - part.start)) :] for part in parts]
    told = position_scores(boxes, [part.label for part in parts], own)
    if told is not None:
        extra += told
    if similarity is not None and picture is not None:
        logits = np.asarray(similarity([picture.crop(box) for box in boxes], texts), dtype=float)
        if logits.shape != extra.shape or not np.isfinite(logits).all():
            raise ConfigurationError(
                f"`similarity` must give finite numbers of shape {extra.shape}, got shape {logits.shape}."
            )
        extra += _SIMILARITY_WEIGHT * (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    return extra


def _confidence(margin: float, num_rivals: int) -> float:
    """That a label is right, which is so many nats ahead of about so many others."""
    return 1 / (1 + num_rivals * exp(-_CALIBRATION * margin))  # a margin is 0 at least


def _align_record(record: CaptionedBoxes, config: AlignConfig) -> AlignedBoxes | Drop:
    name = record.file_name
    if not record.boxes:
        return Drop(STEP, name, "no_boxes")
    if len(record.boxes) > config.max_boxes:
        return Drop(STEP, name, "too_many_boxes", f"It has {len(record.boxes):,}.")
    if bad := next((box for box in record.boxes if box[0] >= box[2] or box[1] >= box[3]), None):
        return Drop(STEP, name, "bad_box", f"{list(bad)} has no area.")
    root = os.path.realpath(config.images or record.root)
    path = os.path.realpath(os.path.join(root, name)) if "\0" not in name else root
    if not Path(path).is_relative_to(root) or path == root:
        return Drop(STEP, name, "unsafe_path", "It leads out of the folder of images.")
    try:
        splits = possible_splits(record.caption)
    except DataError as error:
        return Drop(STEP, name, "too_many_labels", str(error))
    picture = None
    if config.read_labels and splits[0].subcaptions:
        try:
            picture = decode_image(path)
        except DataError as error:
            return Drop(STEP, name, "no_image", str(error))
        if bad := next((box for box in record.boxes if not _is_inside(box, picture.size)), None):
            return Drop(
                STEP, name, "bad_box", f"{list(bad)} lies outside of {picture.width} x {picture.height} pixels."
            )
    return AlignedBoxes(name, align_caption(picture, record.boxes, record.caption, None, config)[1])


def _is_inside(box: PixelBox, size: tuple[int, int]) -> bool:
    return box[0] < size[0] and box[1] < size[1] and box[2] > 0 and box[3] > 0
