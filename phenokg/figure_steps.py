"""The steps on images and captions as a build runs them: on the figures of articles, one after the other.

Each module of a step works on files or captions alone, as `phenolip kg run` does; here the same functions fill the
fields of a `LinkedFigure`. A step that is left out leaves its fields empty, and those after it do without.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import MAX_PIXELS
from phenolip.phenokg.align_captions import AlignConfig, align, align_caption
from phenolip.phenokg.alignment.other_series import possible_splits
from phenolip.phenokg.backends.chat_config import ChatConfig
from phenolip.phenokg.captions.refined_records import CaptionToRefine, RefinedCaption
from phenolip.phenokg.detect_subfigures import DetectConfig, load_backend
from phenolip.phenokg.figures.figure_files import FigureFiles, NoImageError
from phenolip.phenokg.figures.image_features import ImageTower, encoded, in_batches
from phenolip.phenokg.figures.medical_head import load_head, score_images
from phenolip.phenokg.filter_figures import FilterConfig, check_tower
from phenolip.phenokg.records import (
    CaptionedFigure,
    CaptionSpan,
    Drop,
    LabelledBox,
    LinkedFigure,
    SplitCaption,
    Subfigure,
)
from phenolip.phenokg.refine_captions import RefineConfig
from phenolip.phenokg.refine_captions import run as refine
from phenolip.phenokg.split_by_model import ModelSplitConfig, split_batch
from phenolip.phenokg.split_captions import SplitConfig
from phenolip.phenokg.split_captions import run as split

MAX_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class FilterFiguresConfig(FilterConfig):
    """As `FilterConfig`, but by the classifier alone: `clusters` and `decisions` are of `phenolip kg filter`.

    Attributes:
        media: Folder of all articles, in which the image files lie beside the XML.
    """

    media: str

    def __post_init__(self) -> None:
        FilterConfig.__post_init__(self)
        if self.clusters is not None or self.decisions is not None:
            raise ConfigurationError(
                "`clusters` and `decisions` are not for a build: train a head from them by `phenolip kg filter train`."
            )


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


@dataclass(frozen=True, kw_only=True)
class DetectFiguresConfig(DetectConfig):
    """As `DetectConfig`.

    Attributes:
        media: Folder of all articles, in which the image files lie beside the XML.
    """

    media: str


def detect_subfigures(records: Iterable[LinkedFigure], config: DetectFiguresConfig) -> Iterator[LinkedFigure | Drop]:
    """Figures with the boxes of their parts; a single image gets none.

    Reasons of Drops: those of `FigureFiles.find`.
    """
    detect = load_backend(config)
    files = FigureFiles(Path(config.media), max_bytes=config.max_bytes, max_pixels=config.max_pixels)
    for batch in in_batches(records, config.batch_size):
        found = [_picture(files, record, "detect_subfigures") for record in batch]
        pictures = [picture for picture in found if isinstance(picture, Image.Image)]
        boxes = iter(detect(pictures) if pictures else ())
        for record, picture in zip(batch, found, strict=True):
            if isinstance(picture, Drop):
                yield picture
            else:
                parts = tuple(next(boxes))
                yield replace(record, boxes=parts if len(parts) > 1 else ())


@dataclass(frozen=True, kw_only=True)
class AlignFiguresConfig(AlignConfig):
    """As `AlignConfig`; `images` is not used.

    Attributes:
        media: Folder of all articles, in which the image files lie beside the XML.
        max_bytes: Largest file read.
        max_pixels: Width times height above which an image is not decoded.
    """

    media: str
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS


def align_captions(records: Iterable[LinkedFigure], config: AlignFiguresConfig) -> Iterator[LinkedFigure | Drop]:
    """Figures of several parts with what the caption says of each; others as they are, and so those of more boxes than
    `max_boxes`, which no figure has.

    Reasons of Drops: those of `FigureFiles.find`.
    """
    files = FigureFiles(Path(config.media), max_bytes=config.max_bytes, max_pixels=config.max_pixels)
    for record in records:
        if not record.boxes or record.caption_parts is None:
            yield record
        elif len(record.boxes) > config.max_boxes:
            yield replace(record, boxes=())
        elif isinstance(picture := _picture(files, record, "align_captions"), Drop):
            yield picture
        else:
            parts, found = _aligned(picture, record, config)
            subfigures = [_subfigure(place, box, parts, record.figure.caption) for place, box in enumerate(found, 1)]
            yield replace(record, caption_parts=parts, subfigures=tuple(subfigures))


def split_captions(records: Iterable[LinkedFigure], config: SplitConfig) -> Iterator[LinkedFigure]:
    """Figures with their captions split; a caption that cannot be stays whole."""
    for record in records:
        (parts,) = split([CaptionedFigure(_key(record), record.figure.caption)], config)
        yield record if isinstance(parts, Drop) else replace(record, caption_parts=parts)


def refine_captions(records: Iterable[LinkedFigure], config: RefineConfig) -> Iterator[LinkedFigure]:
    """Figures with a description and a modality of every labelled subfigure, or of the whole; what cannot be refined
    keeps its caption.

    Raises:
        DataError: The endpoint answers nothing of a batch; what it answered before is in the cache.
    """
    for batch in in_batches(records, config.batch_size):
        places = [str(place) for place, _ in enumerate(batch)]  # ids come twice in some articles
        asked = [_to_refine(place, record) for place, record in zip(places, batch, strict=True)]
        refined = refine([question for questions in asked for question in questions], config)
        made = {one.key: one for one in refined if isinstance(one, RefinedCaption)}
        _refuse_silence([one.failure for one in made.values()], config)
        yield from (_refined(place, record, made) for place, record in zip(places, batch, strict=True))


def split_by_model(records: Iterable[LinkedFigure], config: ModelSplitConfig) -> Iterator[LinkedFigure]:
    """As `split_captions`, by a language model; where it fails, by the rules.

    Raises:
        DataError: The endpoint answers nothing of a batch; what it answered before is in the cache.
    """
    for batch in in_batches(records, config.batch_size):
        outcomes = split_batch([CaptionedFigure(_key(record), record.figure.caption) for record in batch], config)
        _refuse_silence([outcome.failure for outcome in outcomes], config)
        for record, outcome in zip(batch, outcomes, strict=True):
            parts = outcome.split
            yield record if isinstance(parts, Drop) else replace(record, caption_parts=parts)


#: Steps that take other records in a build than alone.
IN_BUILD = {
    "filter_figures": filter_figures,
    "detect_subfigures": detect_subfigures,
    "split_captions": split_captions,
    "split_by_model": split_by_model,
    "align_captions": align_captions,
    "refine_captions": refine_captions,
}


def _refuse_silence(failures: Sequence[str], config: ChatConfig) -> None:
    """Parts are final: a dead endpoint must not leave the rules' answers in them as if it had been asked."""
    if failures and all(failure in ("unreachable", "timeout") for failure in failures):
        raise DataError(
            f"`base_url` {config.base_url} answered none of {len(failures)} requests: start it and run the same "
            "command again, which goes on where it was."
        )


def _aligned(
    picture: Image.Image, record: LinkedFigure, config: AlignConfig
) -> tuple[SplitCaption, tuple[LabelledBox, ...]]:
    """The picture may choose between splits by rules; that of a model stands."""
    caption = record.figure.caption
    if _is_by_rules(record.caption_parts, caption):
        return align_caption(picture, record.boxes, caption, None, config)
    return record.caption_parts, align(picture, record.boxes, record.caption_parts, None, config)


def _is_by_rules(parts: SplitCaption, caption: str) -> bool:
    try:
        return replace(parts, figure="") in possible_splits(caption)
    except DataError:  # more labels than the rules allow by default
        return False


def _subfigure(place: int, found: LabelledBox, parts: SplitCaption, caption: str) -> Subfigure:
    """A box with the text of its label; without one with the whole caption."""
    part = next((part for part in parts.subcaptions if part.label == found.label), None)
    if part is None:
        text, spans, confidence = caption, (CaptionSpan(0, len(caption)),), 0.0
    else:
        text, confidence = part.caption, found.confidence
        spans = tuple(sorted({*parts.background, *part.spans}, key=lambda span: span.start))
    return Subfigure(f"s{place}", found.box, found.label, confidence, text, spans)


def _to_refine(place: str, record: LinkedFigure) -> Iterator[CaptionToRefine]:
    """A question for each labelled subfigure; for the figure where there is none. Their keys begin with `place`."""
    figure = record.figure
    sources = {"paragraphs": figure.citing_paragraphs, "abstract": record.abstract}
    labelled = [subfigure for subfigure in record.subfigures if subfigure.label]
    if not labelled:
        yield CaptionToRefine(place, figure.caption, **sources)
    parts = record.caption_parts.subcaptions if record.caption_parts else ()
    own = {part.label: " ".join(figure.caption[span.start : span.end] for span in part.spans) for part in parts}
    for subfigure in labelled:
        key, text = f"{place}/{subfigure.subfigure_id}", own.get(subfigure.label, "")
        yield CaptionToRefine(key, figure.caption, subfigure.caption, text, subfigure.label, **sources)


def _refined(place: str, record: LinkedFigure, made: Mapping[str, RefinedCaption]) -> LinkedFigure:
    subfigures = []
    for subfigure in record.subfigures:
        told = made.get(f"{place}/{subfigure.subfigure_id}")
        if told is not None:
            subfigure = replace(
                subfigure, description=told.description, modality=told.modality, described_by=_author(told)
            )
        subfigures.append(subfigure)
    whole = made.get(place)
    record = replace(record, subfigures=tuple(subfigures))
    if whole is None:
        return record
    return replace(record, description=whole.description, modality=whole.modality, described_by=_author(whole))


def _author(refined: RefinedCaption) -> str:
    return f"{refined.model} ({refined.prompt})" if refined.method == "model" else "rules"


def _key(record: LinkedFigure) -> str:
    return f"{record.article_id}/{record.figure.id}"


def _picture(files: FigureFiles, record: LinkedFigure, step: str) -> Image.Image | Drop:
    try:
        return files.find(record.source, record.figure.graphics).picture
    except NoImageError as problem:
        return Drop(step, _key(record), *problem.args)
