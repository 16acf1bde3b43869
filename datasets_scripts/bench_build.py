"""From pairs to a sheet for reviewers: draw the rows, keep them with their images, write the pages."""

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phenolip.datasets_scripts.bench_draw import Draw, DrawConfig, draw
from phenolip.datasets_scripts.bench_folder import (
    DRAWN,
    DRAWN_ROWS,
    REVIEWS,
    ROWS,
    SHEET,
    SPLIT,
    BenchFolder,
    questions,
    sheet_hash,
)
from phenolip.datasets_scripts.bench_review import SheetConfig, write_sheet
from phenolip.datasets_scripts.bench_source import (
    ATTRIBUTION,
    BenchSource,
    Span,
    open_bench_source,
    read_training_table,
)
from phenolip.datasets_scripts.tables import write_parquet
from phenolip.exceptions import DataError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.link_phenotypes import PhenotypeLinker
from phenolip.provenance import git_commit, package_versions, write_json


def draw_bench(
    data: str | Path,
    output: str | Path,
    *,
    config: DrawConfig | None = None,
    sheet: SheetConfig | None = None,
    exclude: Sequence[str | Path] = (),
    exclude_split: str | None = None,
    ontology: PhenotypeOntology | None = None,
    max_bad_fraction: float = 0.01,
    media: str | Path | None = None,
) -> dict[str, Any]:
    """Draw a benchmark's rows and write the sheet that reviewers answer.

    Args:
        data: Output folder of `phenolip kg build`, or pairs in any form that ``load_pairs`` accepts.
        output: Working folder of the benchmark. One that holds a draw is left as it is: reviews hang on it.
        config: How rows are drawn.
        sheet: How the sheet looks.
        exclude: What was trained on, each in one of the forms of ``data``.
        exclude_split: Split of those, where they have several.
        ontology: Release of the labels; None loads the installed one.
        max_bad_fraction: Share of the rows of each table that may be left out as they are read.
        media: Folder of the articles, if moved since the build.

    Returns:
        The content of `draw.json`.

    Raises:
        DataError: The folder holds a draw or something else, or no row can be drawn.
    """
    config, sheet = config or DrawConfig(), sheet or SheetConfig()
    ontology = ontology or load_ontology()
    folder = BenchFolder(Path(output))
    _check_free(folder)
    source = open_bench_source(
        data,
        split=config.split,
        ontology=ontology,
        max_bad_fraction=max_bad_fraction,
        bad_rows_path=folder.path / "bad_rows.jsonl",
        media=media,
    )
    reading = {"split": exclude_split, "ontology": ontology, "max_bad_fraction": max_bad_fraction}
    training = [read_training_table(table, **reading) for table in exclude]
    drawn = draw(source, training, config, ontology)
    for part in (ROWS, SHEET):
        shutil.rmtree(folder.path / part, ignore_errors=True)  # of a draw that did not end
    write_parquet(_rows(source, drawn, ontology), folder.path / ROWS, SPLIT, DRAWN_ROWS)
    rows = folder.rows()
    hash_of_sheet = sheet_hash(rows)
    pages = write_sheet(folder.path / SHEET, rows, folder.images(), hash_of_sheet, ontology, sheet)
    (folder.path / REVIEWS).mkdir(exist_ok=True)
    asked = questions(rows)
    facts = {
        "sheet": hash_of_sheet,
        "pages": pages,
        "source": source.name,
        "is_divided": source.is_divided,
        "exclude": [str(table) for table in exclude],
        "num_excluded_rows": sum(len(table) for table in training) + len(source.elsewhere or ()),
        "draw": dataclasses.asdict(config),
        "shown": dataclasses.asdict(sheet),
        "num_candidates": len(source.candidates),
        "num_rows_left_out": drawn.left_out,
        "num_bad_rows": source.bad_rows,
        "num_available_phenotypes": drawn.num_available,
        "num_rows": len(rows),
        "num_questions": len(asked),
        "num_phenotypes": len({question.hpo_id for question in asked}),
        "num_groups": len({question.group for question in asked}),
        "hpo": {"release": ontology.release, "sha256": ontology.sha256, "source": ontology.source},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "versions": package_versions(),
    }
    write_json(folder.path / DRAWN, facts)
    return facts


def _check_free(folder: BenchFolder) -> None:
    if folder.draw_facts() is not None:
        raise DataError(f"Folder {folder.path} holds a draw already, which reviews may hang on; name a new folder.")
    ours = {ROWS, SHEET, REVIEWS, "bad_rows.jsonl"}
    if folder.path.exists() and not folder.path.is_dir():
        raise DataError(f"`output` must be a folder, got the file {folder.path}.")
    names = {path.name for path in folder.path.glob("*") if path.suffix != ".partial"}  # of a run that was killed
    others = sorted(names - ours)
    if others:
        raise DataError(f"Folder {folder.path} must be new, empty or of an earlier draw; it holds {others[0]!r}.")


def _rows(source: BenchSource, drawn: Draw, ontology: PhenotypeOntology) -> Iterator[dict[str, Any]]:
    """Rows of ``DRAWN_ROWS`` in the order of the draw."""
    linker = PhenotypeLinker(ontology)
    for number, place in enumerate(drawn.places, 1):
        candidate, hpo_ids = source.candidates[place], drawn.labels[place]
        spans, image = candidate.mentions, source.image_bytes(place)
        if any(hpo_id not in spans for hpo_id in hpo_ids):
            spans = {**_linked_spans(candidate.caption, linker), **spans}
        yield {
            "number": number,
            "row_id": candidate.row_id,
            "group_id": candidate.group_id,
            "image": {"bytes": image, "path": None},
            "sha256": hashlib.sha256(image).hexdigest(),
            "caption": candidate.caption,
            "hpo_ids": list(hpo_ids),
            "phenotypes": [ontology[hpo_id].name for hpo_id in hpo_ids],
            "starts": [spans[hpo_id][0] if hpo_id in spans else None for hpo_id in hpo_ids],
            "ends": [spans[hpo_id][1] if hpo_id in spans else None for hpo_id in hpo_ids],
            **{name: candidate.attribution.get(name) for name in ATTRIBUTION},
        }


def _linked_spans(caption: str, linker: PhenotypeLinker) -> dict[str, Span]:
    """First mention of each phenotype that the linker finds, denied ones included: a reviewer should see them."""
    return {link.hpo_id: (link.start, link.end) for link in reversed(linker.link(caption))}
