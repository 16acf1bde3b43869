"""The steps on images and captions as a build runs them: on the figures of articles, one after the other.

Each module of a step works on files or captions alone, as `phenolip kg run` does; here the same functions fill the
fields of a `LinkedFigure`. A step that is left out leaves its fields empty, and those after it do without.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from phenolip.phenokg.figure_files import FigureFiles, NoImageError
from phenolip.phenokg.filter_figures import FilterConfig, check_tower
from phenolip.phenokg.image_features import ImageTower, encoded, in_batches
from phenolip.phenokg.medical_head import load_head, score_images
from phenolip.phenokg.records import CaptionedFigure, Drop, LinkedFigure
from phenolip.phenokg.split_captions import SplitConfig
from phenolip.phenokg.split_captions import run as split

MAX_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class FilterFiguresConfig(FilterConfig):
    """As `FilterConfig`; decisions on clusters of files do not hold for figures of articles.

    Attributes:
        media: Folder of all articles, in which the image files lie beside the XML.
    """

    media: str


def filter_figures(
    records: Iterable[LinkedFigure], config: FilterFiguresConfig, tower: ImageTower | None = None
) -> Iterator[LinkedFigure | Drop]:
    """The figures whose image is medical.

    Reasons of Drops: "not_medical", "not_finite", and those of `FigureFiles.find`.
    """
    head = load_head(config.head)
    check_tower(head, tower)
    files = FigureFiles(Path(config.media), max_bytes=config.max_bytes, max_pixels=config.max_pixels)
    for batch in in_batches(records, config.batch_size):
        found = [_picture(files, record, "filter_figures") for record in batch]
        pictures = [picture for picture in found if isinstance(picture, Image.Image)]
        scores = iter(score_images(encoded(tower, pictures), head) if pictures else ())
        for record, picture in zip(batch, found, strict=True):
            if isinstance(picture, Drop):
                yield picture
                continue
            score = float(next(scores))
            if score >= config.min_score:
                yield record
            elif score < config.min_score:
                yield Drop("filter_figures", _key(record), "not_medical", f"Probability {score:.3f}.")
            else:
                yield Drop(
                    "filter_figures", _key(record), "not_finite", "The tower gives features that are not finite."
                )


def split_captions(records: Iterable[LinkedFigure], config: SplitConfig) -> Iterator[LinkedFigure]:
    """Figures with their captions split; a caption that cannot be stays whole."""
    for record in records:
        (parts,) = split([CaptionedFigure(_key(record), record.figure.caption)], config)
        yield record if isinstance(parts, Drop) else replace(record, caption_parts=parts)


#: Steps that take other records in a build than alone.
IN_BUILD = {"filter_figures": filter_figures, "split_captions": split_captions}


def _key(record: LinkedFigure) -> str:
    return f"{record.article_id}/{record.figure.id}"


def _picture(files: FigureFiles, record: LinkedFigure, step: str) -> Image.Image | Drop:
    try:
        return files.find(record.source, record.figure.graphics).picture
    except NoImageError as problem:
        return Drop(step, _key(record), *problem.args)
