"""What the construction steps hand to each other: frozen records, checked where they enter, stored as Parquet.

Character offsets count Unicode code points of the text that they are of, from 0, ends exclusive.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
import pyarrow as pa

from phenolip.exceptions import DataError

Assertion = Literal["present", "absent", "uncertain", "family", "historical"]
LicenseCategory = Literal["commercial", "non-commercial", "no-derivatives", "unknown"]
FigureKind = Literal["front", "body", "floats", "back", "supplementary", "sub-article"]
Modality = Literal["MRI", "CT", "X-ray", "Pathology", "Microscopy", "Ultrasound", "Natural image", "Other"]
#: Left, top, right, bottom in pixels of an image file, origin top left, right and bottom exclusive.
PixelBox = tuple[int, int, int, int]
Record = TypeVar("Record")

MAX_VERSION = 9999
_ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@dataclass(frozen=True, slots=True)
class TypedText:
    """A value and what kind it is of, such as an `article-id` and its `pub-id-type`."""

    type: str
    text: str


@dataclass(frozen=True, slots=True)
class License:
    """Under what terms an article or a figure may be used.

    Attributes:
        category: What it allows in short: any use that names the authors, no commercial use, no changed copies
            (whether or not commercial), or unknown.
        spdx: Identifier such as "CC-BY-NC-4.0"; None if the statement names no known licence.
        text: The statement as the publisher wrote it.
        url: The licence's address, if the statement gives one.
    """

    category: LicenseCategory = "unknown"
    spdx: str | None = None
    text: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One `fig` of an article.

    Attributes:
        id: As in the article; where it gives none, "fig-" and the figure's place, from 1.
        label: Such as "Figure 2"; may be empty.
        caption_title: First, bold part of the caption; may be empty.
        caption: Title and paragraphs, flattened to text; what linking reads.
        graphics: `xlink:href` of every graphic inside, as in the XML, in its order, renditions of one image included.
        citing_paragraphs: Paragraphs of the article that cite the figure, alone or within a range; first those of the
            running text, then those of other figures' and tables' captions, each in document order.
        group_caption: Caption of the `fig-group` around it; empty if there is none.
        kind: Where it stands; "front" is a graphical abstract, "sub-article" a translation, review or reply.
        license: Its own, where the figure states one; None means that of the article.
    """

    id: str
    label: str
    caption_title: str
    caption: str
    graphics: tuple[str, ...]
    citing_paragraphs: tuple[str, ...] = ()
    group_caption: str = ""
    kind: FigureKind = "body"
    license: License | None = None


@dataclass(frozen=True, slots=True)
class ArticleFile:
    """A file that holds an article, still unread.

    Attributes:
        root: Folder that was searched.
        path: Of the file below it, with forward slashes.
    """

    root: str
    path: str


@dataclass(frozen=True, slots=True)
class Article:
    """One version of an article, parsed.

    Attributes:
        article_id: What splits and media folders are keyed by: "PMC123.2" where the ids are known, else the DOI, else
            the path of the XML file.
        source: Path of the XML file below the folder that was read.
        sha256: Of the XML file.
        pmcid: "PMC" and digits; None if unknown.
        version: Of the PMC version folder, from 1; None if unknown.
        pmid: PubMed id; None if unknown.
        doi: Lower case, without a resolver's address; None if unknown.
        other_ids: Every further `article-id`.
        title: Flattened to text.
        journal: Full title.
        article_type: As the XML's attribute has it, such as "case-report".
        published: Earliest publication date, "2019", "2019-05" or "2019-05-13"; None if there is none.
        dates: All that the article gives, in the form of `published`.
        license: The article's.
        abstract: Text, sections in order.
        figures: In document order.
    """

    article_id: str
    source: str
    sha256: str
    title: str
    journal: str
    license: License
    figures: tuple[Figure, ...]
    pmcid: str | None = None
    version: int | None = None
    pmid: str | None = None
    doi: str | None = None
    other_ids: tuple[TypedText, ...] = ()
    article_type: str = ""
    published: str | None = None
    dates: tuple[TypedText, ...] = ()
    abstract: str = ""


@dataclass(frozen=True, slots=True)
class PhenotypeLink:
    """A mention in a text and the phenotype that it names.

    Attributes:
        hpo_id: Current id of the release that was linked against.
        name: The term's name.
        start: First character of the mention.
        end: One past its last character.
        surface: The mention; between `start` and `end` lie further words where it is interrupted.
        assertion: Whether the text says that the patient has it.
        scope: How the wording that matched relates to the term: "name", or the synonym's scope.
        score: Confidence in the link, 0 to 1; 1 is a wording of the release to the letter.
        method: Which rule found it.
    """

    hpo_id: str
    name: str
    start: int
    end: int
    surface: str
    assertion: Assertion
    scope: str
    score: float
    method: str


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that holds an image, still unread.

    Attributes:
        root: Folder that was searched.
        path: Of the file below it, with forward slashes.
    """

    root: str
    path: str


@dataclass(frozen=True, slots=True)
class SubfigureBoxes:
    """The subfigures found in an image.

    Attributes:
        file_name: Of the image file, below the folder that was searched.
        boxes: In reading order; one box of the whole image where it has no parts.
    """

    file_name: str
    boxes: tuple[PixelBox, ...]


@dataclass(frozen=True, slots=True)
class CaptionedFigure:
    """A figure's caption, to be split.

    Attributes:
        figure: Names the figure.
        caption: All of it.
    """

    figure: str
    caption: str


@dataclass(frozen=True, slots=True)
class CaptionSpan:
    """A part of a caption, from its first character to one past its last."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Subcaption:
    """What a caption says of one subfigure.

    Attributes:
        label: As a reader would name it, "A", "iv", "top left"; one of a range or list such as "(a-c)".
        start: First character of the subfigure's own text in the caption.
        end: One past its last.
        caption: Background and own text, in the order of the caption; what describes the subfigure to a reader who
            does not see the others.
        spans: All of its own text, which may stand in several places; `start` and `end` bound what is most its own.
    """

    label: str
    start: int
    end: int
    caption: str
    spans: tuple[CaptionSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitCaption:
    """A caption in parts.

    Attributes:
        figure: Names the figure.
        background: Parts that hold for all subfigures, in reading order.
        subcaptions: In the order of their text; empty where the caption names no subfigure.
    """

    figure: str
    background: tuple[CaptionSpan, ...]
    subcaptions: tuple[Subcaption, ...]


@dataclass(frozen=True, slots=True)
class CaptionedBoxes:
    """An image with its subfigures' boxes and its caption, to be brought together.

    Attributes:
        root: Folder that holds the image.
        file_name: Of the image file below it, with forward slashes.
        caption: All of it.
        boxes: Of the subfigures.
    """

    root: str
    file_name: str
    caption: str
    boxes: tuple[PixelBox, ...]


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A subfigure and the label by which the caption names it.

    Attributes:
        box: Where it lies.
        label: That of a `Subcaption`; empty where it cannot be decided, and the whole caption holds.
        confidence: That the label is right, 0 to 1.
    """

    box: PixelBox
    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class AlignedBoxes:
    """The subfigures of an image with their labels, in the order in which the boxes were given."""

    file_name: str
    boxes: tuple[LabelledBox, ...]


@dataclass(frozen=True, slots=True)
class Subfigure:
    """A part of a figure's image, and what the caption says of it.

    Attributes:
        subfigure_id: "s" and its place in reading order, from 1; unique within the figure.
        box: Where it lies.
        label: By which the caption names it; empty where that is undecided.
        confidence: That the label is right, 0 to 1.
        caption: Background and own text; the whole caption where the label is undecided.
        spans: The parts of the figure's caption that `caption` is made of.
        description: The text to train on; empty until `refine_captions` wrote it.
        modality: Empty if unknown.
        described_by: Who wrote `description`: "rules", or a model and its prompt.
    """

    subfigure_id: str
    box: PixelBox
    label: str
    confidence: float
    caption: str
    spans: tuple[CaptionSpan, ...]
    description: str = ""
    modality: str = ""
    described_by: str = ""


@dataclass(frozen=True, slots=True)
class LinkedFigure:
    """A figure, the article that it stands in, and the phenotypes that its caption names.

    Attributes:
        article_id: Of the article; likewise the fields up to `published`.
        source: Path of the article's XML file below the folder that was read; media lie beside it.
        pmcid: "PMC" and digits; None if unknown.
        version: Of the PMC version folder; None if unknown.
        doi: Lower case; None if unknown.
        title: Of the article.
        journal: Full title.
        published: Earliest publication date; None if there is none.
        license: The figure's own, else the article's.
        figure: As parsed.
        links: Of `figure.caption`, in reading order.
        abstract: Of the article.
        boxes: Of the subfigures, in reading order; empty until they were looked for, or for a single image.
        caption_parts: The caption split; None until it was.
        subfigures: Boxes and parts of the caption brought together; empty until they were.
        description: Of the whole figure, the text to train on; empty until `refine_captions` wrote it.
        modality: Of the whole figure; empty if unknown.
        described_by: Who wrote `description`: "rules", or a model and its prompt.
    """

    article_id: str
    source: str
    pmcid: str | None
    version: int | None
    doi: str | None
    title: str
    journal: str
    published: str | None
    license: License
    figure: Figure
    links: tuple[PhenotypeLink, ...]
    abstract: str = ""
    boxes: tuple[PixelBox, ...] = ()
    caption_parts: SplitCaption | None = None
    subfigures: tuple[Subfigure, ...] = ()
    description: str = ""
    modality: str = ""
    described_by: str = ""


@dataclass(frozen=True, slots=True)
class FigurePair:
    """An image and its text: a row of the table `pairs`, the image still a file.

    Attributes:
        article_id: Of the article; likewise `pmcid` to `published`.
        figure_id: As in the article.
        image_path: Of the image file, below the folder of articles, with forward slashes.
        sha256: Of the image file.
        phash: 64-bit perceptual hash of the decoded image or subfigure, 16 hexadecimal digits.
        width_px: Of the image as a viewer shows it; likewise `height_px`.
        num_images: How many images the figure has, renditions of one counted once; above 1 the caption describes more
            than this one.
        label: Such as "Figure 2", or "Figure 2 B" of a subfigure; may be empty.
        caption: The text to train on.
        caption_by: Who wrote it: "article" for the caption as it stands, "rules", or a model and its prompt.
        caption_raw: The figure's caption as parsed.
        caption_sha256: Of the part of `caption_raw` that holds for the image, as `near_copies.fold_caption` folds it.
        phenotypes: Those that this part names; offsets count in `caption_raw`, in reading order.
        license: The figure's own, else the article's.
        url: Where a reader finds the article; empty if no id is known.
        citing_paragraphs: Paragraphs of the article that cite the figure.
        pmcid: "PMC" and digits; None if unknown.
        version: Of the PMC version folder; None if unknown.
        doi: Lower case; None if unknown.
        title: Of the article.
        journal: Full title.
        published: Earliest publication date; None if there is none.
        subfigure_id: None for a whole figure.
        bbox_xyxy: Of the subfigure, in pixels of the file, origin top left; None for a whole figure.
        subcaption: Parts of `caption_raw` that describe the subfigure; empty for a whole figure, and where it is not
            known which parts do.
        modality: Such as "CT"; empty if unknown.
        alignment_confidence: That `subcaption` describes the subfigure, 0 to 1; None for a whole figure.
        split: "train", "validation" or "test"; empty until it is drawn.
    """

    article_id: str
    figure_id: str
    image_path: str
    sha256: str
    phash: str
    width_px: int
    height_px: int
    num_images: int
    label: str
    caption: str
    caption_raw: str
    caption_sha256: str
    phenotypes: tuple[PhenotypeLink, ...]
    license: License
    url: str
    citing_paragraphs: tuple[str, ...] = ()
    pmcid: str | None = None
    version: int | None = None
    doi: str | None = None
    title: str = ""
    journal: str = ""
    published: str | None = None
    subfigure_id: str | None = None
    bbox_xyxy: tuple[int, ...] | None = None
    subcaption: str = ""
    modality: str = ""
    alignment_confidence: float | None = None
    caption_by: str = "article"
    split: Literal["", "train", "validation", "test"] = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """What a step left out, and why.

    Attributes:
        step: Name of the step, as its module's.
        key: Which record, such as "PMC123.2/fig1".
        reason: A short constant that counts are grouped by, such as "no_license".
        detail: One sentence for a person.
    """

    step: str
    key: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ArticleId:
    """An article of PubMed Central, or one version of it.

    Attributes:
        pmcid: "PMC" and digits.
        version: From 1; None stands for the highest.
    """

    pmcid: str
    version: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"PMC[1-9][0-9]{0,8}", self.pmcid):
            raise DataError(f"`pmcid` must be 'PMC' and one to nine digits, got {self.pmcid[:40]!r}.")
        if self.version is not None and not 1 <= self.version <= MAX_VERSION:
            raise DataError(f"`version` must be from 1 to {MAX_VERSION}, got {self.version}.")

    def __str__(self) -> str:
        return self.pmcid if self.version is None else f"{self.pmcid}.{self.version}"


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """An object of the bucket, on disk.

    Attributes:
        path: Below the folder of all articles, with forward slashes.
        key: The object's name in the bucket.
        num_bytes: Its size.
        sha256: Of the file.
        etag: As the bucket lists it, without quotes; the MD5 of an object that was stored in one part.
        checks: What gave a checksum that the file was found equal to, "etag" or "metadata"; the size always was equal,
            and `x-amz-checksum-*` where the server sent one.
    """

    path: str
    key: str
    num_bytes: int
    sha256: str
    etag: str
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FetchedArticle:
    """One version of an article on disk, and what its metadata say. None is a field that they do not give.

    Attributes:
        article_id: Such as "PMC123.2".
        pmcid: Such as "PMC123".
        version: Of the files.
        versions: Every version in the bucket when this one was fetched, rising.
        xml: The article.
        media: Its figures, in the order of their names.
        metadata: The metadata as they were given; None if the bucket has none.
        license_code: As given, such as "CC BY".
        pmid: PubMed id.
        doi: As given.
        is_retracted: Whether the article was withdrawn.
        is_manuscript: Whether it is an author's manuscript, not the published article.
        is_open_access: Whether it belongs to the Open Access Subset.
        missing_fields: Expected fields that the metadata lack, or give in a form that cannot be read.
        num_other_files: Objects of this version that were not asked for.
        dropped_files: Objects that were asked for and left out, with the reason.
    """

    article_id: str
    pmcid: str
    version: int
    versions: tuple[int, ...]
    xml: FetchedFile
    media: tuple[FetchedFile, ...]
    metadata: FetchedFile | None = None
    license_code: str | None = None
    pmid: str | None = None
    doi: str | None = None
    is_retracted: bool | None = None
    is_manuscript: bool | None = None
    is_open_access: bool | None = None
    missing_fields: tuple[str, ...] = ()
    num_other_files: int = 0
    dropped_files: tuple[Drop, ...] = ()


@dataclass(frozen=True, slots=True)
class FilteredFigure:
    """Whether an image is medical.

    Attributes:
        file_name: Of the image file, below the folder that was searched.
        is_medical: Whether it is kept.
        score: Probability by the classifier, 0 to 1; None where a person decided and none was asked.
        cluster: Number of its cluster; None where images were not clustered.
    """

    file_name: str
    is_medical: bool
    score: float | None = None
    cluster: int | None = None


def arrow_schema(record_type: type) -> pa.Schema:
    """Parquet columns of a record: nested records are structs, tuples are lists."""
    return pa.schema(_fields(record_type))


def to_table(records: Iterable[Any], record_type: type) -> pa.Table:
    """Records as a table of `arrow_schema(record_type)`."""
    return pa.Table.from_pylist([to_row(record) for record in records], schema=arrow_schema(record_type))


def from_table(table: pa.Table, record_type: type[Record], where: str = "table") -> list[Record]:
    """The records of a table, every field checked.

    Raises:
        DataError: If a field is missing or unknown, or a value has another type; the message names the row.
    """
    return [from_row(row, record_type, f"{where} row {number}") for number, row in enumerate(table.to_pylist())]


def to_row(record: Any) -> dict[str, Any]:
    """A record as JSON values."""
    return msgspec.to_builtins(record)


def from_row(row: dict[str, Any], record_type: type[Record], where: str) -> Record:
    """One record from JSON values.

    Raises:
        DataError: If a field is missing or unknown, or a value has another type; the message begins with `where`.
    """
    known = {field.name for field in dataclasses.fields(record_type)}
    if unknown := sorted(row.keys() - known):
        raise DataError(f"{where}: a {record_type.__name__} has no field {unknown[0]!r}.")
    try:
        return msgspec.convert(row, record_type, strict=True)
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: this is no {record_type.__name__}: {error}.") from None


def _fields(record_type: type) -> list[pa.Field]:
    hints = typing.get_type_hints(record_type)
    return [pa.field(field.name, _arrow_type(hints[field.name])) for field in dataclasses.fields(record_type)]


def _arrow_type(hint: Any) -> pa.DataType:
    if dataclasses.is_dataclass(hint):
        return pa.struct(_fields(hint))
    if typing.get_origin(hint) is Literal:
        return pa.string()
    if typing.get_origin(hint) is tuple:  # tuple[X, ...]
        return pa.list_(_arrow_type(typing.get_args(hint)[0]))
    if isinstance(hint, types.UnionType):  # X | None
        return _arrow_type(next(kind for kind in typing.get_args(hint) if kind is not type(None)))
    return _ARROW_TYPES[hint]
