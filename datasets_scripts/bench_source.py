"""Where a benchmark is drawn from: a build of `phenolip kg build`, or pairs in any form that ``--data`` takes.

Both become candidates of one kind: what a row says, where its caption names each phenotype, under what terms the image
may be used, and the keys by which rows are compared. Images are read when they are asked for.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from phenolip.datasets_scripts.bench_facts import ATTRIBUTION, facts_by_row, names_splits
from phenolip.datasets_scripts.contamination import AuditedTable
from phenolip.datasets_scripts.kg_tables import KgBuild, pair_row, row_id
from phenolip.datasets_scripts.load import load_pairs_with_report
from phenolip.dicom_images import is_dicom
from phenolip.exceptions import DataError
from phenolip.images import read_image, verify_image
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.phenokg.records import FigurePair, PhenotypeLink
from phenolip.phenokg.table_files import read_manifest

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that may be drawn.

    Attributes:
        row_id: As in the source.
        group_id: Article, patient or case; empty where the source names none.
        caption: The text that goes with the image.
        hpo_ids: Current ids that the row is labelled with, each once.
        image_key: The same for the same image only: the SHA-256 of its file; for a part of a figure, with its box.
        mentions: Where `caption` names a phenotype, by id, first and one past the last character; known for some.
        attribution: Those of ``ATTRIBUTION`` that the row fills.
    """

    row_id: str
    group_id: str
    caption: str
    hpo_ids: tuple[str, ...]
    image_key: str
    mentions: Mapping[str, Span] = field(default_factory=dict)
    attribution: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchSource:
    """Rows to draw from.

    Attributes:
        name: The data as the user named it.
        candidates: In the order of the source.
        table: The same rows, as they are compared.
        image_bytes: The image file of a candidate by its place; raises ``DataError`` where it cannot be used.
        elsewhere: The other splits of the same build; None where there are none.
        bad_rows: Count of rows left out as they were read, by reason.
        is_divided: Whether the source names splits; else all of it is drawn from.
    """

    name: str
    candidates: list[Candidate]
    table: AuditedTable
    image_bytes: Callable[[int], bytes]
    elsewhere: AuditedTable | None
    bad_rows: dict[str, int]
    is_divided: bool = True


def open_bench_source(
    data: str | Path,
    *,
    split: str,
    ontology: PhenotypeOntology,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
    media: str | Path | None = None,
) -> BenchSource:
    """Read the rows of one split, and for a build the keys of its other splits.

    Args:
        data: Output folder of `phenolip kg build`, or what ``load_pairs`` accepts.
        split: Which split. A folder of images without splits is used as a whole.
        ontology: Release of the labels.
        max_bad_fraction: Share of rows that may be left out as they are read.
        bad_rows_path: Where those are listed.
        media: Folder of the articles, if moved since the build.
    """
    if _is_build(data):
        return _from_build(KgBuild(data, media=media), str(data), split, ontology)
    pairs, report = load_pairs_with_report(
        data, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction, bad_rows_path=bad_rows_path
    )
    facts = facts_by_row(data, split)
    texts = pairs.remove_columns("image")
    candidates = [_loaded(row, facts.get(row["row_id"], {})) for row in texts]
    return BenchSource(
        report.source,
        candidates,
        AuditedTable.read(pairs, report.source),
        lambda place: _file(pairs[place]["image"]),
        None,
        report.bad_rows,
        names_splits(data, split),
    )


def read_training_table(
    data: str | Path, *, split: str | None, ontology: PhenotypeOntology, max_bad_fraction: float = 0.01
) -> AuditedTable:
    """Rows that were trained on, as they are compared; of a build, those of every split unless one is named."""
    if _is_build(data):
        chosen = [pair for pair in KgBuild(data).pairs() if split in (None, pair.split)]
        return _build_table(chosen, str(data), Path())
    pairs, report = load_pairs_with_report(data, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction)
    return AuditedTable.read(pairs, report.source)


def _file(image: Mapping[str, Any]) -> bytes:
    data, name = read_image(image)
    if is_dicom(data):  # a benchmark holds files as they are
        raise DataError(f"{name} is a DICOM file, whose tags name a patient; `phenolip prepare split` takes them out.")
    return data


def _is_build(data: str | Path) -> bool:
    return Path(data).is_dir() and read_manifest(Path(data)) is not None


# Builds -------------------------------------------------------------------------------------------------------------


def _from_build(build: KgBuild, name: str, split: str, ontology: PhenotypeOntology) -> BenchSource:
    build.check_release(ontology)
    pairs, others = [], []
    for pair in build.pairs():
        (pairs if pair.split == split else others).append(pair)
    if not pairs:
        counts = Counter(pair.split for pair in others)
        listed = ", ".join(f"{number:,} in {part}" for part, number in counts.items()) or "none at all"
        raise DataError(f"Build {name} has no pair in `split` {split!r}; there are {listed}.")

    def image_bytes(place: int) -> bytes:
        data = pair_row(pairs[place], build.media)["image"]["bytes"]
        verify_image(data, pairs[place].image_path)
        return data

    return BenchSource(
        name,
        [_from_pair(pair) for pair in pairs],
        _build_table(pairs, name, build.media),
        image_bytes,
        _build_table(others, f"the other splits of {name}", build.media) if others else None,
        {},
    )


def _from_pair(pair: FigurePair) -> Candidate:
    present = [link for link in pair.phenotypes if link.assertion == "present"]
    attribution = {
        **{name: getattr(pair, name) for name in ("url", "pmcid", "doi", "title", "journal")},
        "version": str(pair.version) if pair.version is not None else None,
        "license": pair.license.spdx,
        "license_category": pair.license.category,
        "license_text": pair.license.text,
        "license_url": pair.license.url,
    }
    return Candidate(
        row_id(pair),
        pair.pmcid or pair.article_id,
        pair.caption,
        tuple(dict.fromkeys(link.hpo_id for link in present)),
        _image_key(pair),
        _spans(pair.caption, present),
        {name: value for name, value in attribution.items() if value},
    )


def _image_key(pair: FigurePair) -> str:
    """Subfigures of one file are different images."""
    return pair.sha256 if pair.bbox_xyxy is None else f"{pair.sha256} {pair.bbox_xyxy}"


def _spans(caption: str, links: Iterable[PhenotypeLink]) -> dict[str, Span]:
    """First mention of each phenotype; offsets count in the raw caption, so they are checked against this one."""
    return {
        link.hpo_id: (link.start, link.end)
        for link in reversed(list(links))
        if caption[link.start : link.end] == link.surface != ""
    }


def _build_table(pairs: list[FigurePair], name: str, media: Path) -> AuditedTable:
    paths = [{"bytes": None, "path": str(media / pair.image_path)} for pair in pairs]
    rows = datasets.Dataset.from_dict(
        {"image": paths}, features=datasets.Features({"image": datasets.Image(decode=False)})
    )
    return AuditedTable(
        name,
        [row_id(pair) for pair in pairs],
        [pair.pmcid or pair.article_id for pair in pairs],
        [pair.caption for pair in pairs],
        [_image_key(pair) for pair in pairs],
        np.array([int(pair.phash, 16) for pair in pairs], dtype=np.uint64),
        rows,
    )


# Pairs in any form --------------------------------------------------------------------------------------------------


def _loaded(row: Mapping[str, Any], facts: Mapping[str, Any]) -> Candidate:
    texts = {name: str(facts[name]).strip() for name in ATTRIBUTION if facts.get(name) is not None}
    return Candidate(
        row["row_id"],
        row["group_id"],
        row["caption"],
        tuple(row["hpo_ids"]),
        row["sha256"],
        _stated_spans(row["caption"], facts.get("phenotypes")),
        {name: text for name, text in texts.items() if text},
    )


def _stated_spans(caption: str, phenotypes: Any) -> dict[str, Span]:
    """Places of mentions that a table in the form of `pairs` states, where the caption holds them."""
    spans: dict[str, Span] = {}
    for link in phenotypes if isinstance(phenotypes, list) else ():
        if not isinstance(link, Mapping) or link.get("assertion") not in (None, "", "present"):
            continue
        start, end, surface = (link.get(name) for name in ("start", "end", "surface"))
        if isinstance(start, int) and isinstance(end, int) and surface and caption[start:end] == surface:
            spans.setdefault(str(link.get("hpo_id")), (start, end))
    return spans
