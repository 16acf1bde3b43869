"""Linked figures to image-text pairs: the licence allows it, the caption names a phenotype, the image is there.

Every figure is one pair or one Drop. What needs all pairs at once, duplicates and the split, is the next step,
`split_pairs`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from phenolip.exceptions import ConfigurationError
from phenolip.images import MAX_PIXELS
from phenolip.near_copies import fold_caption, perceptual_hash
from phenolip.phenokg.figure_files import FigureFiles, FigureImage, NoImageError
from phenolip.phenokg.records import Drop, FigurePair, LicenseCategory, LinkedFigure

STEP = "assemble"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class AssembleConfig:
    """What becomes a pair.

    Attributes:
        media: Folder of all articles, in which the image files lie beside the XML.
        licenses: Kinds that are kept: commercial, non-commercial, no-derivatives, unknown.
        require_phenotype: Leave out figures whose caption names no phenotype, or denies all that it names.
        max_image_bytes: Largest image file read.
        max_pixels: Width times height above which an image is not decoded.
    """

    media: str
    licenses: tuple[LicenseCategory, ...] = ("commercial", "non-commercial", "no-derivatives")
    require_phenotype: bool = True
    max_image_bytes: int = 200_000_000
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        known = get_args(LicenseCategory)
        if not self.licenses or any(category not in known for category in self.licenses):
            raise ConfigurationError(f"`licenses` must be some of {', '.join(known)}, got {self.licenses}.")
        for name in ("max_image_bytes", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, got {getattr(self, name)}.")


def run(records: Iterable[LinkedFigure], config: AssembleConfig) -> Iterator[FigurePair | Drop]:
    """Pairs of the figures, in their order.

    Reasons of Drops: "no_license" and "license_not_wanted", "no_caption", "no_phenotype", "blank_image", and those of
    `FigureFiles.find`.
    """
    files = FigureFiles(Path(config.media), max_bytes=config.max_image_bytes, max_pixels=config.max_pixels)
    for record in records:
        key = f"{record.article_id}/{record.figure.id}"
        if (unwanted := _why_unwanted(record, config)) is not None:
            yield Drop(STEP, key, *unwanted)
            continue
        try:
            image = files.find(record.source, record.figure.graphics)
            yield _pair(record, image)
        except NoImageError as problem:
            yield Drop(STEP, key, *problem.args)


def _why_unwanted(record: LinkedFigure, config: AssembleConfig) -> tuple[str, str] | None:
    """Reason and detail of what can be said without the image."""
    category = record.license.category
    if category not in config.licenses:
        if category == "unknown":
            stated = record.license.text[:80]
            return "no_license", f"Its licence is not known: {stated!r}." if stated else "It states no licence."
        return "license_not_wanted", f"Its licence is {record.license.spdx or category}."
    if not record.figure.caption.strip():
        return "no_caption", "The figure has no caption."
    if config.require_phenotype and all(link.assertion == "absent" for link in record.links):
        return "no_phenotype", "The caption denies all that it names." if record.links else "The caption names none."
    return None


def _pair(record: LinkedFigure, image: FigureImage) -> FigurePair:
    low, high = zip(*image.picture.getextrema(), strict=True)
    if low == high:
        raise NoImageError("blank_image", "The image is of one colour.")
    figure = record.figure
    return FigurePair(
        article_id=record.article_id,
        figure_id=figure.id,
        image_path=image.path,
        sha256=hashlib.sha256(image.data).hexdigest(),
        phash=f"{perceptual_hash(image.picture):016x}",
        width_px=image.picture.width,
        height_px=image.picture.height,
        num_images=image.num_images,
        label=figure.label,
        caption=figure.caption,
        caption_raw=figure.caption,
        caption_sha256=hashlib.sha256(fold_caption(figure.caption).encode()).hexdigest(),
        phenotypes=record.links,
        license=record.license,
        url=_url(record),
        citing_paragraphs=figure.citing_paragraphs,
        pmcid=record.pmcid,
        version=record.version,
        doi=record.doi,
        title=record.title,
        journal=record.journal,
        published=record.published,
    )


def _url(record: LinkedFigure) -> str:
    if record.pmcid:
        return f"https://pmc.ncbi.nlm.nih.gov/articles/{record.pmcid}/"
    return f"https://doi.org/{record.doi}" if record.doi else ""
