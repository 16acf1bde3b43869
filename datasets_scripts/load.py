"""Image-text pairs in any form -> one checked ``datasets.Dataset``.

Every image is decoded once, every id resolved to the ontology release; what cannot be used is counted by reason,
listed, and left out up to a cap.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import datasets
from tqdm.auto import tqdm

from phenolip.datasets_scripts.caption_reader import READS_NOTHING, CaptionReader
from phenolip.datasets_scripts.features import LOADED_PAIRS
from phenolip.datasets_scripts.sources import ORIGIN_COLUMNS, Labels, RawRow, Source, open_source
from phenolip.datasets_scripts.tables import write_lines
from phenolip.exceptions import DataError, UnknownTermError
from phenolip.images import read_image, verify_image
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology

logger = logging.getLogger(__name__)

_CHUNK = 2048  # rows handed to the threads at once
_SHOWN = 3  # bad rows that an error spells out


@dataclass(frozen=True)
class LoadReport:
    """What became of the rows of a source.

    Attributes:
        source: The data as the user named it.
        num_rows: Rows read.
        num_kept: Rows that passed every check.
        bad_rows: Count of rows left out, by reason.
        num_labels: Phenotype labels of the kept rows, repeats within a row counted once.
        num_labels_dropped: Labels of the kept rows that name no term of the ontology release.
        hpo_release: The release that ids were resolved to; None if no row has a label.
    """

    source: str
    num_rows: int
    num_kept: int
    bad_rows: dict[str, int]
    num_labels: int
    num_labels_dropped: int
    hpo_release: str | None


@dataclass(frozen=True, slots=True)
class _Checked:
    row_id: str
    caption: str = ""
    phenotypes: tuple[str, ...] = ()
    hpo_ids: tuple[str, ...] = ()
    sha256: str = ""
    group_id: str = ""
    findings: tuple[dict[str, str | None], ...] = ()
    origin: dict[str, str] = field(default_factory=dict)
    num_labels_dropped: int = 0
    reason: str | None = None
    detail: str | None = None


class _BadRowError(Exception):
    """A row cannot be used: reason to count it by, and detail."""


def load_pairs(
    data: str | Path,
    *,
    split: str | None = None,
    ontology: PhenotypeOntology | None = None,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
    captions: CaptionReader = READS_NOTHING,
) -> datasets.Dataset:
    """Read image-text pairs from anything that ``--data`` accepts.

    Args:
        data: An ImageFolder (metadata.jsonl or .csv), a .jsonl or .csv file with image paths relative to it, a
            Parquet file or folder, WebDataset shards, a dataset on the Hub, or a name in the ``datasets`` cache.
        split: Which split, where the data has several.
        ontology: Release to resolve ids to; None loads the installed one when a row has labels.
        max_bad_fraction: Share of rows that may be left out, between 0 and 1.
        bad_rows_path: JSON Lines file for the rows left out: ``row_id``, ``reason``, ``detail``. Written only if
            there are any.
        captions: Completes rows from their captions; by default none.

    Returns:
        Columns of ``features.LOADED_PAIRS``: images undecoded, ``phenotypes[i]`` the current name of ``hpo_ids[i]``,
        the SHA-256 of the image file.

    Raises:
        DataError: The data cannot be read, or more rows are bad than allowed.
    """
    return load_pairs_with_report(
        data,
        split=split,
        ontology=ontology,
        max_bad_fraction=max_bad_fraction,
        bad_rows_path=bad_rows_path,
        captions=captions,
    )[0]


def load_pairs_with_report(
    data: str | Path,
    *,
    split: str | None = None,
    ontology: PhenotypeOntology | None = None,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
    captions: CaptionReader = READS_NOTHING,
    keep_origin: bool = False,
) -> tuple[datasets.Dataset, LoadReport]:
    """``load_pairs``, and the counts that a card or manifest states.

    With ``keep_origin`` those of ``ORIGIN_COLUMNS`` that any row fills are columns too, as texts.
    """
    if not 0 <= max_bad_fraction <= 1:
        raise DataError(f"`max_bad_fraction` must be between 0 and 1, got {max_bad_fraction}.")
    source = open_source(data, split)
    if not source.rows:
        raise DataError(f"Data {source.name} has no rows.")
    source = replace(source, rows=[captions.complete(row) for row in source.rows])
    if ontology is None and any(row.labels or row.findings for row in source.rows):
        ontology = load_ontology()
    checked = _check_rows(source, ontology)
    _handle_bad_rows(checked, source.name, max_bad_fraction, bad_rows_path)
    kept = [number for number, row in enumerate(checked) if row.reason is None]
    if not kept:
        raise DataError(f"Data {source.name}: none of its {len(checked)} rows can be used.")
    report = LoadReport(
        source=source.name,
        num_rows=len(checked),
        num_kept=len(kept),
        bad_rows=dict(Counter(row.reason for row in checked if row.reason).most_common()),
        num_labels=sum(len(checked[number].hpo_ids) for number in kept),
        num_labels_dropped=sum(checked[number].num_labels_dropped for number in kept),
        hpo_release=ontology.release if ontology and any(row.labels for row in source.rows) else None,
    )
    if report.num_labels_dropped:
        logger.warning(
            "%s: %d labels name no term of HPO release %s and were dropped; their rows stay.",
            source.name,
            report.num_labels_dropped,
            report.hpo_release,
        )
    return _assemble(checked, source.images, kept, ORIGIN_COLUMNS if keep_origin else ()), report


def _check_rows(source: Source, ontology: PhenotypeOntology | None) -> list[_Checked]:
    def check(number: int) -> _Checked:
        row = source.rows[number]
        row_id = row.row_id or f"row {number}"
        try:
            image = source.images[number]["image"]
            if not row.row_id and image and image.get("path"):
                row_id = PurePath(image["path"]).name
            return _check_row(row, row_id, image, source.path_roots, ontology)
        except _BadRowError as error:
            reason, detail = error.args
            return _Checked(row_id, reason=reason, detail=detail)

    checked: list[_Checked] = []
    # Decoding and hashing leave Python's lock, so threads are enough.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, _progress(len(source.rows)) as bar:
        for start in range(0, len(source.rows), _CHUNK):
            for row in pool.map(check, range(start, min(start + _CHUNK, len(source.rows)))):
                checked.append(row)
                bar.update()
    return checked


def _progress(total: int) -> tqdm:
    return tqdm(total=total, desc="Checking pairs", unit="pair", disable=None)  # None: quiet unless on a terminal


def _check_row(
    row: RawRow,
    row_id: str,
    image: dict[str, Any] | None,
    path_roots: tuple[Path, ...] | None,
    ontology: PhenotypeOntology | None,
) -> _Checked:
    if row.problem:
        raise _BadRowError(row.problem, row_id)
    caption = row.caption.strip()
    if not caption:
        raise _BadRowError("caption is empty", row_id)
    hpo_ids, num_dropped = _resolve(row.labels, ontology)
    try:
        data, name = _image_bytes(image, path_roots)
        verify_image(data, name)
    except DataError as error:
        raise _BadRowError("image cannot be decoded", str(error)) from error
    return _Checked(
        row_id=row_id,
        caption=caption,
        phenotypes=tuple(ontology[hpo_id].name for hpo_id in hpo_ids),
        hpo_ids=hpo_ids,
        sha256=hashlib.sha256(data).hexdigest(),
        group_id=row.group_id,
        findings=_current_findings(row, ontology),
        origin=row.origin,
        num_labels_dropped=num_dropped,
    )


def _image_bytes(image: dict[str, Any] | None, path_roots: tuple[Path, ...] | None) -> tuple[bytes, str]:
    if not image or (image["bytes"] is None and not image["path"]):
        raise _BadRowError("image is missing", "the row names none")
    if image["bytes"] is None:
        path = Path(image["path"])
        if "\0" in image["path"]:
            raise _BadRowError("path leaves the folder", "its name holds a NUL")
        if path_roots is not None and not any(path.resolve().is_relative_to(root.resolve()) for root in path_roots):
            raise _BadRowError("path leaves the folder", f"{path} is not embedded")
        if not os.path.isfile(path):
            raise _BadRowError("image is missing", f"{path} does not exist")
    return read_image(image)


def _resolve(labels: Labels, ontology: PhenotypeOntology | None) -> tuple[tuple[str, ...], int]:
    """Current ids in the order of the row, each once, and how many labels name no term."""
    hpo_ids, num_dropped = {}, 0
    for name, hpo_id in labels:
        try:
            found = ontology.resolve(hpo_id) if hpo_id else ontology.find(name) if name else None
        except UnknownTermError as error:
            raise _BadRowError("unknown HPO id", str(error)) from error
        if found:
            hpo_ids[found] = None
        else:
            num_dropped += 1
    return tuple(hpo_ids), num_dropped


def _current_findings(row: RawRow, ontology: PhenotypeOntology | None) -> tuple[dict[str, str | None], ...]:
    """Findings with the current ids of their categories."""
    try:
        return tuple(
            {**finding, "hpo_id": ontology.resolve(finding["hpo_id"]) if finding["hpo_id"] else None}
            for finding in row.findings
        )
    except UnknownTermError as error:
        raise _BadRowError("unknown HPO id of a finding", str(error)) from error


def _handle_bad_rows(
    checked: list[_Checked], name: str, max_bad_fraction: float, bad_rows_path: str | Path | None
) -> None:
    bad = [row for row in checked if row.reason]
    if not bad:
        return
    listed = ""
    if bad_rows_path is not None:
        path = Path(bad_rows_path)
        write_lines(path, ({"row_id": row.row_id, "reason": row.reason, "detail": row.detail} for row in bad))
        listed = f", listed in {path}"
    counts = ", ".join(f"{reason}: {n}" for reason, n in Counter(row.reason for row in bad).most_common())
    if len(bad) > max_bad_fraction * len(checked):
        first = "; ".join(f"{row.row_id}: {row.reason} ({row.detail})" for row in bad[:_SHOWN])
        raise DataError(
            f"Data {name}: {len(bad)} of {len(checked)} rows are bad ({counts}){listed}, more than `max_bad_fraction` "
            f"{max_bad_fraction:g} allows; the first are {first}. Repair them or raise `max_bad_fraction`."
        )
    logger.warning("%s: %d of %d rows are bad and left out (%s)%s.", name, len(bad), len(checked), counts, listed)


def _assemble(
    checked: list[_Checked], images: datasets.Dataset, kept: list[int], origin: Iterable[str]
) -> datasets.Dataset:
    features = {column: LOADED_PAIRS[column] for column in LOADED_PAIRS if column != "image"}
    values = {column: [getattr(row, column) for row in checked] for column in features}
    for column in origin:
        texts = [row.origin.get(column) for row in checked]
        if any(texts):
            features[column], values[column] = datasets.Value("string"), texts
    texts = datasets.Dataset.from_dict(values, features=datasets.Features(features))
    pairs = datasets.concatenate_datasets([images, texts], axis=1)
    return pairs if len(kept) == len(checked) else pairs.select(kept)
