"""A page to look at a build with: figures with their boxes, the split caption in the same colours, links, outcome.

What is shown is a sample by hash, first of the figures that came to the assembly, so that a person can count how many
pairs are right; where there are few, figures follow that a step between left out. The page is one file and loads
nothing.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from phenolip.datasets_scripts.kg_tables import KgBuild
from phenolip.exceptions import DataError
from phenolip.images import MAX_PIXELS, thumbnail_uri
from phenolip.phenokg.figures.figure_files import FigureFiles, NoImageError
from phenolip.phenokg.parts import Part, part_numbers
from phenolip.phenokg.records import CaptionSpan, Drop, LinkedFigure, PhenotypeLink, Subfigure, from_row
from phenolip.phenokg.table_files import TABLES
from phenolip.whole_files import whole_file

TEMPLATE = "kg_page.html.jinja"
NUM_FIGURES = 30
_IMAGE_PX = 720
_MAX_FILE_BYTES = 200_000_000
_SELECTION, _LAST = "select_figures", "assemble"  # figures are shown from the one on, best as the other gets them
_MAX_CHARS = 20_000  # of a caption
_COLORS = (
    "#1f77b4",
    "#d95f02",
    "#1b9e77",
    "#c2185b",
    "#7b5ea7",
    "#8c6d1f",
    "#00838f",
    "#5d4037",
    "#558b2f",
    "#ad1457",
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters of a caption that share what is said of them.

    Attributes:
        text: The characters.
        labels: Of the subfigures whose own text it is part of; empty for background.
        color: Of the first of these; empty without one.
        link: The mention that it is part of; None without one.
    """

    text: str
    labels: tuple[str, ...]
    color: str
    link: PhenotypeLink | None


def write_page(folder: str | Path, output: str | Path | None = None, *, number: int = NUM_FIGURES) -> Path:
    """Writes the page of a finished build; gives its path, by default `figures.html` in the build's folder.

    Raises:
        DataError: If the folder holds no finished build, or `number` is below 1.
    """
    if number < 1:
        raise DataError(f"`number` must be at least 1, got {number}.")
    build = KgBuild(folder)
    output = Path(output or Path(folder, "figures.html"))
    files = FigureFiles(build.media, max_bytes=_MAX_FILE_BYTES, max_pixels=MAX_PIXELS)
    outcomes = _outcomes(Path(folder), build)
    figures = [_shown(record, files, outcomes) for record in _sample(Path(folder), build, number)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template(TEMPLATE).render(figures=figures, manifest=build.manifest, number=number)
    with whole_file(output, "w") as file:
        file.write(page)
    return output


def caption_pieces(record: LinkedFigure) -> list[Piece]:
    """The caption cut wherever a subfigure's text or a mention begins or ends; the pieces make up all of it."""
    text = record.figure.caption
    parts = record.caption_parts.subcaptions if record.caption_parts else ()
    colors = label_colors(record)
    owned = [(span.start, span.end) for part in parts for span in part.spans]
    spans = owned + [(link.start, link.end) for link in record.links]
    edges = sorted({0, len(text), *(min(edge, len(text)) for span in spans for edge in span)})
    pieces = []
    for start, end in zip(edges, edges[1:], strict=False):
        labels = tuple(part.label for part in parts if _within(start, end, part.spans))
        link = next((link for link in record.links if link.start <= start and end <= link.end), None)
        pieces.append(Piece(text[start:end], labels, colors.get(labels[0], "") if labels else "", link))
    return pieces


def _within(start: int, end: int, spans: Sequence[CaptionSpan]) -> bool:
    return any(span.start <= start and end <= span.end for span in spans)


def label_colors(record: LinkedFigure) -> dict[str, str]:
    """A colour for each label of the caption, the same in text and picture."""
    parts = record.caption_parts.subcaptions if record.caption_parts else ()
    labels = dict.fromkeys(part.label for part in parts)
    return {label: _COLORS[place % len(_COLORS)] for place, label in enumerate(labels)}


def _sample(folder: Path, build: KgBuild, number: int) -> list[LinkedFigure]:
    """Figures whose names have the smallest hashes: first of those that came to the assembly, then of the others that
    were selected."""
    steps = [name for name in build.manifest["config"]["steps"] if name != "fetch_articles"]
    last = steps.index(_LAST)  # of the step before it, as folders count from 1
    rows = _smallest(_rows(folder, steps, last), number)
    if len(rows) < number and (selected := steps.index(_SELECTION) + 1 if _SELECTION in steps else last) < last:
        seen = {_name(row) for row in rows}
        others = (row for row in _rows(folder, steps, selected) if _name(row) not in seen)
        rows += _smallest(others, number - len(rows))
    return [from_row(row, LinkedFigure, "part") for row in rows]


def _smallest(rows: Iterable[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    return heapq.nsmallest(number, rows, key=lambda row: hashlib.sha256(_name(row).encode()).hexdigest())


def _name(row: dict[str, Any]) -> str:
    return f"{row['article_id']}/{row['figure']['id']}"


def _rows(folder: Path, steps: Sequence[str], place: int) -> Iterator[dict[str, Any]]:
    """What the step at a place gave, from 1."""
    source = folder / f"{place:02d}-{steps[place - 1]}"
    for shard in part_numbers(source):
        for batch in pq.ParquetFile(Part(source, shard).records_path).iter_batches(100):
            yield from batch.to_pylist()


def _outcomes(folder: Path, build: KgBuild) -> dict[str, str]:
    """What became of each figure and subfigure, by its key: "pair", or the reason that it was dropped for."""
    outcomes = {}
    for batch in pq.ParquetFile(folder / TABLES / "drops.parquet").iter_batches():
        for row in batch.to_pylist():
            drop = from_row(row, Drop, "drops.parquet")
            outcomes[drop.key] = drop.reason.replace("_", " ")
    for pair in build.pairs():
        key = "/".join(filter(None, (pair.article_id, pair.figure_id, pair.subfigure_id)))
        outcomes[key] = f"pair ({pair.split})"
    return outcomes


def _shown(record: LinkedFigure, files: FigureFiles, outcomes: dict[str, str]) -> dict[str, Any]:
    key = f"{record.article_id}/{record.figure.id}"
    colors = label_colors(record)
    try:
        picture = files.find(record.source, record.figure.graphics).picture
        width, height, image, problem = *picture.size, thumbnail_uri(picture, _IMAGE_PX), ""
    except NoImageError as error:
        width, height, image, problem = 1, 1, "", error.args[1]
    parts = record.subfigures or tuple(
        Subfigure(f"s{place}", box, "", 0.0, "", ()) for place, box in enumerate(record.boxes, 1)
    )
    return {
        "key": key,
        "title": record.title,
        "label": record.figure.label,
        "license": record.license.spdx or record.license.category,
        "outcome": outcomes.get(key, ""),
        "image": image,
        "problem": problem,
        "width": width,
        "height": height,
        "pieces": caption_pieces(record) if len(record.figure.caption) <= _MAX_CHARS else [],
        "is_parted": any(part.label for part in parts),
        "subfigures": [
            {
                "part": part,
                "color": colors.get(part.label, "#666"),
                "outcome": outcomes.get(f"{key}/{part.subfigure_id}", ""),
            }
            for part in parts
        ],
    }
