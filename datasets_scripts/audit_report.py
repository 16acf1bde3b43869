"""What `phenolip audit` writes: counts as JSON, rows and pairs as JSON Lines, and a page to look at."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from phenolip.datasets_scripts.contamination import MAX_PARTNERS, AuditedTable, Contamination, Match
from phenolip.datasets_scripts.tables import write_lines
from phenolip.images import decode_image, thumbnail_uri
from phenolip.provenance import write_json

TEMPLATE = "audit.html.jinja"
_THUMBNAIL_PX = 240
_SHOWN_PER_DISTANCE = 6  # image pairs on the page
_SHOWN_CAPTIONS = 12
_SHOWN_CHARS = 600


def summarize(found: Contamination) -> dict[str, Any]:
    """Counts over the two tables; fractions are of 1, and of the rows of the benchmark."""
    bench, train = found.bench_rows(), found.train_rows()
    criteria = {
        name: {
            "title": criterion.title,
            **_share(found.num_partners[name] > 0),
            "num_train_rows": int(train[name].sum()),
            "num_pairs": int(found.num_partners[name].sum()) // (2 if found.is_one_table else 1),
        }
        for name, criterion in found.criteria.items()
    }
    return {
        "train": {"name": found.train.name, "num_rows": len(found.train)},
        "bench": {"name": found.bench.name, "num_rows": len(found.bench)},
        "is_one_table": found.is_one_table,
        "max_phash_distance": found.max_phash_distance,
        "min_jaccard": found.min_jaccard,
        "any": {**_share(bench), "num_train_rows": int(np.any([*train.values()], axis=0).sum())},
        "criteria": criteria,
    }


def _share(touched: np.ndarray) -> dict[str, Any]:
    return {"num_bench_rows": int(touched.sum()), "bench_fraction": float(touched.mean()) if len(touched) else 0.0}


def write_audit(found: Contamination, folder: str | Path, **facts: Any) -> dict[str, Any]:
    """Write audit.json, pairs.jsonl, bench_rows.jsonl, train_rows.jsonl and audit.html into a folder.

    Args:
        found: What was compared.
        folder: Made where it is missing; files of these names are replaced.
        facts: Further entries of audit.json.

    Returns:
        The content of audit.json.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit.json").unlink(missing_ok=True)  # written last: where it is, the rest is whole
    summary = {**summarize(found), **facts}
    matches = list(found.matches())
    write_lines(folder / "pairs.jsonl", (_pair_line(found, match) for match in matches))
    partners = found.num_partners
    write_lines(folder / "bench_rows.jsonl", _row_lines(found.bench, partners))
    write_lines(folder / "train_rows.jsonl", _row_lines(found.train, found.train_rows()))
    (folder / "audit.html").write_text(_page(found, summary, matches), encoding="utf-8")
    write_json(folder / "audit.json", summary)
    return summary


def _pair_line(found: Contamination, match: Match) -> dict[str, Any]:
    return {
        "bench_row": match.bench_row,
        "bench_id": found.bench.row_ids[match.bench_row],
        "train_row": match.train_row,
        "train_id": found.train.row_ids[match.train_row],
        "criteria": list(match.criteria),
        "jaccard": round(match.jaccard, 4),
        "num_bits": match.num_bits,
    }


def _row_lines(table: AuditedTable, numbers: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """A line for each row that is touched: for a benchmark, how many partners it has by each criterion."""
    for row in np.flatnonzero(np.any([values > 0 for values in numbers.values()], axis=0)).tolist():
        touched = {name: values[row].item() for name, values in numbers.items() if values[row]}
        yield {"row": row, "id": table.row_ids[row], "criteria": touched}


# The page -----------------------------------------------------------------------------------------------------------


def _page(found: Contamination, summary: dict[str, Any], matches: list[Match]) -> str:
    # Autoescape: captions and ids are data, and may hold any character.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    titles = {name: criterion.title for name, criterion in found.criteria.items()}
    sides = [(match, [_side(found.bench, match.bench_row), _side(found.train, match.train_row)]) for match in (
        *_image_sample(found, matches), *_caption_sample(found, matches))]  # fmt: skip
    return environment.get_template(TEMPLATE).render(
        summary=summary,
        titles=titles,
        image_pairs=[pair for pair in sides if "near_image" in pair[0].criteria],
        caption_pairs=[pair for pair in sides if "near_image" not in pair[0].criteria],
        max_partners=MAX_PARTNERS,
    )


def _image_sample(found: Contamination, matches: list[Match]) -> Iterator[Match]:
    """For each distance a few pairs of images that are not the same file, no row of the benchmark twice."""
    shown: dict[int, int] = defaultdict(int)
    rows = set()
    near = [match for match in matches if "near_image" in match.criteria and "same_image" not in match.criteria]
    for match in sorted(near, key=lambda match: (match.num_bits, match.bench_row)):
        used = {match.bench_row, match.train_row} if found.is_one_table else {match.bench_row}
        if shown[match.num_bits] < _SHOWN_PER_DISTANCE and not used & rows:
            shown[match.num_bits] += 1
            rows |= used
            yield match


def _caption_sample(found: Contamination, matches: list[Match]) -> list[Match]:
    """Pairs of near but unequal captions whose images differ, spread over the Jaccard index."""
    near = [
        match
        for match in matches
        if "near_caption" in match.criteria and not {"same_caption", "near_image"} & set(match.criteria)
        if not found.is_one_table or match.bench_row < match.train_row
    ]
    near.sort(key=lambda match: match.jaccard)
    places = np.unique(np.linspace(0, len(near) - 1, min(_SHOWN_CAPTIONS, len(near))).astype(int))
    return [near[place] for place in places]


def _side(table: AuditedTable, row: int) -> dict[str, str]:
    caption = table.captions[row]
    short = caption if len(caption) <= _SHOWN_CHARS else f"{caption[:_SHOWN_CHARS]} …"
    return {
        "id": table.row_ids[row],
        "caption": short,
        "image": thumbnail_uri(decode_image(table.pairs[row]["image"]), _THUMBNAIL_PX),
    }
