"""Linked figures to image-text pairs: a whole figure is one, and so is every subfigure that the caption describes.

Every figure is pairs or Drops; one whose licence forbids changed copies stays whole, under its own caption. What needs
all pairs at once, duplicates and the split, is the step `split_pairs`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.images import MAX_PIXELS
from phenolip.near_copies import fold_caption, perceptual_hash
from phenolip.phenokg.figures.figure_files import FigureFiles, FigureImage, NoImageError
from phenolip.phenokg.records import CaptionSpan, Drop, FigurePair, LinkedFigure, PhenotypeLink, Subfigure
from phenolip.phenokg.select_figures import names_phenotype

STEP = "assemble"
VERSION = 2


@dataclass(frozen=True, kw_only=True)
class AssembleConfig:
    """What becomes a pair.

    Attributes:
        media: Folder of all articles, in which the image files lie beside the XML.
        require_phenotype: Leave out subfigures whose part of the caption names no phenotype as present or uncertain;
            of whole figures, `select_figures` does.
        min_side: Shorter side in pixels below which a subfigure is left out.
        max_image_bytes: Largest image file read.
        max_pixels: Width times height above which an image is not decoded.
    """

    media: str
    require_phenotype: bool = True
    min_side: int = 48
    max_image_bytes: int = 200_000_000
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for name in ("min_side", "max_image_bytes", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, got {getattr(self, name)}.")


def run(records: Iterable[LinkedFigure], config: AssembleConfig) -> Iterator[FigurePair | Drop]:
    """Pairs of the figures, in their order.

    Reasons of Drops: "blank_image", and those of `FigureFiles.find`; of subfigures also "small_subfigure",
    "no_phenotype" and "near_duplicate".
    """
    files = FigureFiles(Path(config.media), max_bytes=config.max_image_bytes, max_pixels=config.max_pixels)
    for record in records:
        key = f"{record.article_id}/{record.figure.id}"
        try:
            image = files.find(record.source, record.figure.graphics)
            _refuse_blank(image.picture)
        except NoImageError as problem:
            yield Drop(STEP, key, *problem.args)
            continue
        whole = _pair(record, image)
        if record.license.category == "no-derivatives":
            yield replace(whole, caption=record.figure.caption, caption_by="article")
        elif any(subfigure.label for subfigure in record.subfigures):
            yield from _subfigure_pairs(record, whole, image.picture, config)
        else:
            yield whole


def _pair(record: LinkedFigure, image: FigureImage) -> FigurePair:
    figure = record.figure
    return FigurePair(
        article_id=record.article_id,
        figure_id=figure.id,
        image_path=image.path,
        sha256=hashlib.sha256(image.data).hexdigest(),
        phash=_phash(image.picture),
        width_px=image.picture.width,
        height_px=image.picture.height,
        num_images=image.num_images,
        label=figure.label,
        caption=record.description or figure.caption,
        caption_raw=figure.caption,
        caption_sha256=_caption_sha256(figure.caption),
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
        modality=record.modality,
        caption_by=record.described_by or "article",
    )


def _subfigure_pairs(
    record: LinkedFigure, whole: FigurePair, picture: Image.Image, config: AssembleConfig
) -> Iterator[FigurePair | Drop]:
    """A pair or a Drop for each subfigure, in reading order."""
    seen: dict[tuple[str, str], str] = {}
    for subfigure in record.subfigures:
        key = f"{record.article_id}/{record.figure.id}/{subfigure.subfigure_id}"
        links = _links_within(record.links, subfigure.spans)
        crop = picture.crop(subfigure.box)
        try:
            if min(crop.size) < config.min_side:
                raise NoImageError("small_subfigure", f"It has {crop.width} x {crop.height} pixels.")
            if config.require_phenotype and not names_phenotype(links):
                raise NoImageError("no_phenotype", "Its part of the caption names none that it may show.")
            _refuse_blank(crop)
            pair = _subfigure_pair(whole, subfigure, _phash(crop), links)
            twin = seen.setdefault((pair.phash, pair.caption_sha256), subfigure.subfigure_id)
            if twin != subfigure.subfigure_id:
                raise NoImageError("near_duplicate", f"It looks like {twin} and has the same caption.")
            yield pair
        except NoImageError as problem:
            yield Drop(STEP, key, *problem.args)


def _subfigure_pair(
    whole: FigurePair, subfigure: Subfigure, phash: str, links: tuple[PhenotypeLink, ...]
) -> FigurePair:
    return replace(
        whole,
        subfigure_id=subfigure.subfigure_id,
        bbox_xyxy=subfigure.box,
        phash=phash,
        label=" ".join(filter(None, (whole.label, subfigure.label))),
        caption=subfigure.description or subfigure.caption,
        caption_sha256=_caption_sha256(subfigure.caption),
        subcaption=subfigure.caption if subfigure.label else "",
        phenotypes=links,
        modality=subfigure.modality or whole.modality,
        alignment_confidence=subfigure.confidence,
        caption_by=subfigure.described_by or "article",
    )


def _links_within(links: tuple[PhenotypeLink, ...], spans: tuple[CaptionSpan, ...]) -> tuple[PhenotypeLink, ...]:
    """Mentions that lie in one of the parts of a caption."""
    return tuple(link for link in links if any(span.start <= link.start and link.end <= span.end for span in spans))


def _refuse_blank(picture: Image.Image) -> None:
    low, high = zip(*picture.getextrema(), strict=True)
    if low == high:
        raise NoImageError("blank_image", "The image is of one colour.")


def _phash(picture: Image.Image) -> str:
    return f"{perceptual_hash(picture):016x}"


def _caption_sha256(caption: str) -> str:
    return hashlib.sha256(fold_caption(caption).encode()).hexdigest()


def _url(record: LinkedFigure) -> str:
    if record.pmcid:
        return f"https://pmc.ncbi.nlm.nih.gov/articles/{record.pmcid}/"
    return f"https://doi.org/{record.doi}" if record.doi else ""
