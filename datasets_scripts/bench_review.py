"""The sheet that reviewers answer: HTML pages that need no network and no server, and the same questions as CSV.

Captions, ids and terms are data and are escaped wherever they go; the pages forbid the browser to load anything or to
run any script but their own. Images are drawn anew, so nothing else of a file reaches the browser.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from phenolip.datasets_scripts.bench_csv import write_table
from phenolip.datasets_scripts.bench_folder import Question, questions
from phenolip.exceptions import ConfigurationError
from phenolip.images import decode_image
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.whole_files import whole_file

VERDICTS = ("right", "wrong", "unsure")
CSV_COLUMNS = (
    *("sheet", "item", "image", "caption", "mention", "hpo_id", "term", "definition", "parents"),
    *("verdict", "comment"),
)
_TEMPLATE, _STYLE, _SCRIPT = "bench_review.html.jinja", "bench_review.css.jinja", "bench_review.js.jinja"
_JPEG_QUALITY = 88


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """How the sheet looks.

    Attributes:
        rows_per_page: Images on one page.
        images: "inline", so that a page is one file, or "beside" it, for large sheets.
        max_side: Longer side in pixels above which images are scaled down for the sheet.
    """

    rows_per_page: int = 100
    images: str = "inline"
    max_side: int = 1000

    def __post_init__(self) -> None:
        for name in ("rows_per_page", "max_side"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.images not in ("inline", "beside"):
            raise ConfigurationError(f"`images` must be 'inline' or 'beside', got {self.images!r}.")


def write_sheet(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    images: Iterable[bytes],
    sheet: str,
    ontology: PhenotypeOntology,
    config: SheetConfig,
) -> list[str]:
    """Write the pages, `review.csv` and `images/` into a folder.

    Args:
        folder: Made where it is missing.
        rows: Of ``DRAWN_ROWS``.
        images: Their image files, in the same order; read as the pages are written.
        sheet: Hash of the rows.
        ontology: Gives definitions and parents.
        config: Settings.

    Returns:
        Names of the pages.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    parts = [rows[start : start + config.rows_per_page] for start in range(0, len(rows), config.rows_per_page)]
    names = ["review.html"] if len(parts) == 1 else [f"review-{page}.html" for page in range(1, len(parts) + 1)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    style, script = (environment.get_template(name).render() for name in (_STYLE, _SCRIPT))
    by_row: dict[int, list[Question]] = {}
    for question in questions(rows):
        by_row.setdefault(question.row, []).append(question)
    images = iter(images)
    for page, (name, part) in enumerate(zip(names, parts, strict=True), 1):
        start = (page - 1) * config.rows_per_page
        cards = [
            _card(row, next(images), by_row[start + place], folder, ontology, config) for place, row in enumerate(part)
        ]
        text = environment.get_template(_TEMPLATE).render(
            cards=cards, sheet=sheet, page=page, pages=names, verdicts=VERDICTS, release=ontology.release,
            style=style, script=script, style_hash=_csp_hash(style), script_hash=_csp_hash(script),
            image_sources="data:" if config.images == "inline" else "'self' file:",
            num_questions=sum(len(card["questions"]) for card in cards),
        )  # fmt: skip
        with whole_file(folder / name, "w") as file:
            file.write(text)
    write_table(folder / "review.csv", CSV_COLUMNS, _csv_rows(rows, by_row, sheet, ontology))
    return names


def _card(
    row: Mapping[str, Any],
    image: bytes,
    asked: Sequence[Question],
    folder: Path,
    ontology: PhenotypeOntology,
    config: SheetConfig,
) -> dict[str, Any]:
    """What a page shows of one image."""
    data = _shown_image(image, config.max_side)
    beside = f"images/{row['number']:05d}.jpg"
    (folder / beside).write_bytes(data)
    inline = config.images == "inline"
    spans = [_span(row, question) for question in asked]
    return {
        "number": row["number"],
        "row_id": row["row_id"],
        "image": f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if inline else beside,
        "pieces": list(_pieces(row["caption"], spans)),
        "questions": [
            {
                "item": question.item,
                "name": question.name,
                "hpo_id": question.hpo_id,
                "definition": ontology[question.hpo_id].definition or "",
                "parents": _parents(question.hpo_id, ontology),
                "is_named": span is not None,
            }
            for question, span in zip(asked, spans, strict=True)
        ],
    }


def _pieces(caption: str, spans: Sequence[tuple[int, int] | None]) -> Iterator[tuple[str, str]]:
    """The caption cut where a mention begins or ends, each piece with the numbers of the questions it belongs to."""
    known = [(place, span) for place, span in enumerate(spans) if span is not None]
    edges = sorted({0, len(caption), *(edge for _, span in known for edge in span)})
    for start, end in zip(edges, edges[1:], strict=False):
        owners = [str(place) for place, span in known if span[0] <= start and end <= span[1]]
        yield caption[start:end], " ".join(owners)


def _span(row: Mapping[str, Any], question: Question) -> tuple[int, int] | None:
    start, end = row["starts"][question.place], row["ends"][question.place]
    return None if start is None or end is None else (start, end)


def _parents(hpo_id: str, ontology: PhenotypeOntology) -> list[str]:
    return [ontology[parent].name for parent in ontology.parents(hpo_id)]


def _shown_image(data: bytes, max_side: int) -> bytes:
    picture = decode_image(data)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _csv_rows(
    rows: Sequence[Mapping[str, Any]],
    by_row: Mapping[int, Sequence[Question]],
    sheet: str,
    ontology: PhenotypeOntology,
) -> Iterator[tuple[str, ...]]:
    for place, row in enumerate(rows):
        for question in by_row[place]:
            span = _span(row, question)
            yield (
                sheet, question.item, f"images/{row['number']:05d}.jpg", row["caption"],
                row["caption"][slice(*span)] if span else "", question.hpo_id, question.name,
                ontology[question.hpo_id].definition or "", "; ".join(_parents(question.hpo_id, ontology)), "", "",
            )  # fmt: skip
