"""Image files -> boxes of their subfigures, by a back end that is looked up by its name.

A back end is a module with `load_detector(config)`, which gives a function from RGB images to lists of boxes (left,
top, right, bottom; whole pixels, right and bottom exclusive) in reading order: one box of the whole image where there
are no parts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Literal

from PIL import Image

from phenolip.exceptions import ConfigurationError, near_matches
from phenolip.images import MAX_PIXELS
from phenolip.phenokg.figures.image_features import MAX_BYTES, ReadImage, in_batches, read_image_file
from phenolip.phenokg.records import Drop, ImageFile, PixelBox, SubfigureBoxes
from phenolip.phenokg.subfigures.detr_subfigures import DetectorConfig

STEP = "detect_subfigures"
VERSION = 1
#: Module of each back end.
BACKENDS = {"layout": "layout_subfigures", "dab_detr": "detr_subfigures"}

Detector = Callable[[Sequence[Image.Image]], list[list[PixelBox]]]


@dataclass(frozen=True, kw_only=True)
class DetectConfig(DetectorConfig):
    """Which back end, and its settings; those of `DetectorConfig` are for "dab_detr" alone, but for `batch_size`.

    Attributes:
        backend: "layout" reads gutters, borders and seams off the page and needs no model; "dab_detr" runs the
            object detector `model`.
        max_bytes: Largest file read.
        max_pixels: Width times height above which an image is not decoded.
    """

    backend: Literal["layout", "dab_detr"] = "layout"
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        DetectorConfig.__post_init__(self)
        if self.backend not in BACKENDS:
            raise ConfigurationError(f"Unknown `backend` '{self.backend}'.{near_matches(self.backend, BACKENDS)}")
        for name in ("max_bytes", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be 1 or more, got {getattr(self, name)}.")


def load_backend(config: DetectConfig) -> Detector:
    """The function of a back end; only its own module is imported."""
    return import_module(f"phenolip.phenokg.subfigures.{BACKENDS[config.backend]}").load_detector(config)


def run(records: Iterable[ImageFile | Drop], config: DetectConfig) -> Iterator[SubfigureBoxes | Drop]:
    """The boxes of every image, in order; drops among the files are handed on.

    Reasons of Drops: "outside_folder", "unreadable_image" and "too_large_image".
    """
    detect = load_backend(config)
    for batch in in_batches(records, config.batch_size):
        outcomes = [record if isinstance(record, Drop) else _read(record, config) for record in batch]
        images = [outcome.picture for outcome in outcomes if isinstance(outcome, ReadImage)]
        boxes = iter(detect(images) if images else ())
        for outcome in outcomes:
            if isinstance(outcome, Drop):
                yield outcome
            else:
                yield SubfigureBoxes(outcome.file.path, tuple(next(boxes)))


def _read(file: ImageFile, config: DetectConfig) -> ReadImage | Drop:
    outcome = read_image_file(file, max_bytes=config.max_bytes, max_pixels=config.max_pixels)
    return replace(outcome, step=STEP) if isinstance(outcome, Drop) else outcome
