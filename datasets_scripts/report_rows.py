"""Rows of a data set of images and reports: the text, its findings, the image; what cannot be used is counted."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from phenolip.datasets_scripts.features import FINDINGS
from phenolip.datasets_scripts.report_mimic import read_mimic_cxr_jpg
from phenolip.datasets_scripts.report_sections import SECTIONS, pick_sections
from phenolip.datasets_scripts.report_sources import (
    ReportSource,
    Study,
    StudyImage,
    read_report_folder,
    read_report_table,
)
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import read_image, shrink_image, verify_image
from phenolip.phenokg.extract_findings import Document, ExtractionResult, FindingExtractor

LAYOUTS: dict[str, Callable[..., ReportSource]] = {
    "mimic_cxr_jpg": read_mimic_cxr_jpg,
    "folder": read_report_folder,
    "table": read_report_table,
}
#: Licence and its address by layout, and the modality; the others are the user's to state.
_KNOWN = {
    "mimic_cxr_jpg": {
        "license_text": "PhysioNet Credentialed Health Data License 1.5.0: not to be passed on",
        "license_url": "https://physionet.org/content/mimic-cxr-jpg/view-license/2.1.0/",
        "modality": "X-ray",
    }
}
_MAX_REPORT_BYTES = 1_000_000
_IMAGES_AT_ONCE = 128


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """What becomes of a source.

    Attributes:
        layout: One of `LAYOUTS`.
        sections: Of a report that make up the text.
        views: Views to keep, such as PA and AP; empty keeps all.
        max_side: Longer side in pixels above which images are scaled down; None keeps every file as it is.
        license_text, license_url: Terms of the data; for MIMIC-CXR-JPG they are known.
        hpo: Ontology file; None means the installed release.
    """

    layout: str
    sections: tuple[str, ...] = SECTIONS
    views: tuple[str, ...] = ()
    max_side: int | None = None
    license_text: str | None = None
    license_url: str | None = None
    hpo: str | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ConfigurationError(f"`layout` must be one of {', '.join(LAYOUTS)}, got '{self.layout}'.")
        if not self.sections:
            raise ConfigurationError("`sections` must name one section at least, got none.")

    @property
    def stated(self) -> dict[str, str | None]:
        """Columns that are the same in every row."""
        given = {"license_text": self.license_text, "license_url": self.license_url}
        known = _KNOWN.get(self.layout, {})
        return known | {name: text for name, text in given.items() if text} | {"license_category": "unknown"}


@dataclass
class ShardCounts:
    """What became of the studies of a shard."""

    num_rows: int = 0
    patients: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[dict[str, str]] = field(default_factory=list)
    sections: Counter[str] = field(default_factory=Counter)
    assertions: Counter[str] = field(default_factory=Counter)
    num_with_present: int = 0


class _BadStudyError(Exception):
    """A report cannot be used: reason to count it by."""


def report_rows(
    studies: Sequence[Study], extractor: FindingExtractor, settings: ReportSettings, counts: ShardCounts
) -> Iterator[dict[str, Any]]:
    """Rows of the studies whose report can be used; what cannot is counted."""
    read: list[tuple[Study, str, tuple[str, ...]]] = []
    for study in studies:
        try:
            text, sections = pick_sections(_report(study), settings.sections)
        except _BadStudyError as error:
            counts.bad += [_bad(image, str(error), study.study_id) for image in study.images]
            continue
        if text:
            read.append((study, text, sections))
        else:
            counts.left_out[f"report without {' or '.join(settings.sections)}"] += len(study.images)
    results = extractor.extract([Document(text, doc_id=study.study_id) for study, text, _ in read])
    jobs = []
    for (study, text, sections), result in zip(read, results, strict=True):
        shared = settings.stated | _study_columns(study, text, sections, result)
        jobs += [(image, shared) for image in study.images]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding leaves Python's lock
        for start in range(0, len(jobs), _IMAGES_AT_ONCE):
            for row in pool.map(lambda job: _row(*job, settings.max_side), jobs[start : start + _IMAGES_AT_ONCE]):
                if "reason" in row:
                    counts.bad.append(row)
                else:
                    _count(row, counts)
                    yield row


def _report(study: Study) -> str:
    if study.text is not None:
        return study.text
    path = next((path for path in study.reports if path.is_file()), None)
    if path is None:
        raise _BadStudyError("report is missing")
    if path.stat().st_size > _MAX_REPORT_BYTES:
        raise _BadStudyError("report is too long")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise _BadStudyError("report is no text in UTF-8") from None


def _study_columns(study: Study, text: str, sections: Sequence[str], result: ExtractionResult) -> dict[str, Any]:
    named = [finding for finding in result.findings if finding.hpo_id is not None and finding.start is not None]
    slots = FINDINGS.feature
    return {
        "caption": text,
        "caption_raw": text,
        "caption_by": "report",
        "sections": list(sections),
        "findings": [{name: getattr(finding, name) for name in slots} for finding in result.findings],
        "phenotypes": [
            {
                "hpo_id": finding.hpo_id,
                "name": finding.category,
                "surface": text[finding.start : finding.end],
                "start": finding.start,
                "end": finding.end,
                "assertion": finding.assertion,
                "method": result.extractor,
            }
            for finding in named
        ],
        "patient_id": study.patient_id,
        "study_id": study.study_id,
        "split": study.split,
        "labels": [{"name": name, "value": value} for name, value in study.labels],
    }


def _row(image: StudyImage, shared: dict[str, Any], max_side: int | None) -> dict[str, Any]:
    """A row of the data set, or one of the list of bad rows."""
    if not image.path.is_file():
        return _bad(image, "image is missing", image.row_id)
    try:
        data, name = read_image(image.path)
        verify_image(data, name)
        if max_side is not None:
            data, _ = shrink_image(data, max_side)
    except DataError as error:
        return _bad(image, "image cannot be decoded", str(error))
    return shared | {
        "row_id": image.row_id,
        "image": {"bytes": data, "path": None},  # a path would send `datasets` to a file of that name, if there is one
        "view": image.view,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _bad(image: StudyImage, reason: str, detail: str) -> dict[str, str]:
    return {"row_id": image.row_id, "reason": reason, "detail": detail}


def _count(row: dict[str, Any], counts: ShardCounts) -> None:
    counts.num_rows += 1
    counts.sections.update(row["sections"])
    said = [finding["assertion"] for finding in row["findings"]]
    counts.assertions.update(said)
    counts.num_with_present += "present" in said
    if row["patient_id"] and row["patient_id"] not in counts.patients[-1:]:
        counts.patients.append(row["patient_id"])
