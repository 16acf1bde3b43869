"""Best hits of a few queries in all four directions, right ones framed, as one HTML file that carries its images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from phenolip.eval.evaluators.base import EvaluationPairs
from phenolip.eval.report import DIRECTIONS, SHORT_CAPTION, thumbnail
from phenolip.eval.retrieval_hits import DirectionHits, QueryHits
from phenolip.whole_files import whole_file

PAGES = "retrieval.html"
TEMPLATE = "retrieval_pages.html.jinja"
KINDS = {"i": "image", "t": "caption", "p": "phenotype"}


def write_retrieval_pages(
    results: dict[str, Any], pairs: EvaluationPairs, hits: Sequence[DirectionHits], path: str | Path
) -> None:
    """Writes the pages.

    Args:
        results: The content of results.json.
        pairs: The pairs that were scored.
        hits: What to show, as `best_hits` gives it.
        path: The HTML file.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    pictures: dict[int, str] = {}

    def shown(kind: str, row: int) -> dict[str, str]:
        if kind == "phenotype":
            return {"image": "", "text": pairs.candidate_names[row], "title": pairs.candidate_ids[row]}
        if kind == "caption":
            return {"image": "", "text": _short(pairs.captions[row]), "title": pairs.row_ids[row]}
        code = int(pairs.image_codes[row])
        if code not in pictures:
            pictures[code] = thumbnail(pairs.images[code])
        names = ", ".join(pairs.candidate_names[label] for label in pairs.labels[row])
        return {"image": pictures[code], "text": _short(names), "title": pairs.row_ids[row]}

    parts = [
        {
            "direction": one.direction,
            "title": DIRECTIONS[one.direction],
            "queries": [_query(one.direction, query, shown) for query in one.queries],
        }
        for one in hits
    ]
    page = environment.get_template(TEMPLATE).render(results=results, parts=parts)
    with whole_file(path, "w") as file:
        file.write(page)


def _query(direction: str, query: QueryHits, shown: Any) -> dict[str, Any]:
    asked, answer = KINDS[direction[0]], KINDS[direction[-1]]
    return {
        "asked": shown(asked, query.query),
        "rank": query.rank,
        "hits": [
            {**shown(answer, row), "cosine": cosine, "right": right}
            for row, cosine, right in zip(query.candidates, query.cosines, query.right, strict=True)
        ],
    }


def _short(text: str) -> str:
    return text if len(text) <= SHORT_CAPTION else text[:SHORT_CAPTION].rsplit(" ", 1)[0] + " …"
