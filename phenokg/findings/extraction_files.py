"""Documents in, findings out, as JSON lines; what an earlier run has done is not done again."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from phenolip.phenokg.extract_findings import FindingExtractor
from phenolip.phenokg.findings.extraction_report import YieldReport
from phenolip.phenokg.findings.finding_records import Document, ExtractionResult
from phenolip.whole_files import whole_file

_MAX_ID = 500  # characters


def read_document(line: str) -> Document:
    """The document of a line; fields that it has beyond id and text are left alone.

    Raises:
        ValueError: If it is none.
    """
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("a JSON object is needed")
    given = {field: row[field] for field in ("doc_id", "uid") if row.get(field) is not None}
    if not given or any(isinstance(name, bool) or not isinstance(name, str | int) for name in given.values()):
        raise ValueError('"doc_id" (or "uid") must be a text or a number')
    if any(len(str(name)) > _MAX_ID for name in given.values()):
        raise ValueError(f'"doc_id" (or "uid") must have at most {_MAX_ID} characters')
    if not isinstance(row.get("text"), str):
        raise ValueError('"text" must be a text')
    return Document(row["text"], **given)


def to_output_row(document: Document, result: ExtractionResult) -> dict[str, Any]:
    """A row of the output: the document's id, its findings, and the key that a later run knows it by."""
    ids = {"doc_id": document.name} if document.doc_id is None else {"doc_id": document.doc_id}
    if document.uid is not None:
        ids["uid"] = document.uid
    rest = asdict(result)
    del rest["doc_id"]
    return ids | rest


class KeptResults:
    """Findings of earlier runs by key: those of a finished output, and those of a run that was stopped.

    Only keys and places are held in memory. Lines that are broken, such as the last one of a run that was killed, are
    passed over.

    Args:
        output: File of the findings; what is done before it is whole is kept beside it, as `NAME.partial`.
        is_used: False begins anew.
    """

    def __init__(self, output: Path, *, is_used: bool = True) -> None:
        self.partial = output.with_name(f"{output.name}.partial")
        self._places: dict[bytes, tuple[Path, int]] = {}
        if not is_used:
            self.partial.unlink(missing_ok=True)
            return
        for path in (output, self.partial):
            if path.is_file():
                self._index(path)

    def get(self, key: str) -> ExtractionResult | None:
        """The result of a key, if there is one."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        path, offset = place
        with path.open("rb") as lines:
            lines.seek(offset)
            return _read_result(lines.readline())

    def _index(self, path: Path) -> None:
        with path.open("rb") as lines:
            offset = 0
            for line in lines:
                result = _read_result(line)
                if result is not None and result.status != "failed":
                    self._places[bytes.fromhex(result.key)] = (path, offset)
                offset += len(line)


def write_findings(
    documents: Iterable[Document],
    extractor: FindingExtractor,
    output: Path,
    report: YieldReport,
    *,
    batch_size: int,
    resume: bool = True,
) -> None:
    """The findings of all documents in their order, whole or not at all; failed ones go to `NAME.failed.jsonl`.

    Args:
        documents: In the order of the output.
        extractor: Makes the findings.
        output: Where they go.
        report: Counts them.
        batch_size: Documents that are extracted together; what a run that is stopped loses at most.
        resume: Whether what earlier runs have done is taken over.
    """
    kept = KeptResults(output, is_used=resume)
    failed_path = output.with_suffix(".failed.jsonl")
    has_failed = False
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output, "w") as made, kept.partial.open("a", encoding="utf-8") as partial:
        with whole_file(failed_path, "w") as failed:
            for document, result, was_kept in _results(documents, extractor, kept, batch_size):
                report.add(document, result, was_kept=was_kept)
                line = json.dumps(to_output_row(document, result)) + "\n"  # ASCII: lone surrogates too
                if result.status == "failed":
                    has_failed = True
                    failed.write(line)
                    continue
                made.write(line)
                if not was_kept:
                    partial.write(line)
                    partial.flush()
    kept.partial.unlink(missing_ok=True)
    if not has_failed:
        os.unlink(failed_path)


def _results(
    documents: Iterable[Document], extractor: FindingExtractor, kept: KeptResults, batch_size: int
) -> Iterator[tuple[Document, ExtractionResult, bool]]:
    """Each document with its result, and whether it was kept of an earlier run."""
    batch: list[tuple[Document, ExtractionResult | None]] = []
    num_open = 0
    for document in documents:
        known = kept.get(extractor.key(document.text))
        batch.append((document, known))
        num_open += known is None
        if num_open >= batch_size or len(batch) >= 10 * batch_size:
            yield from _extracted(batch, extractor)
            batch, num_open = [], 0
    yield from _extracted(batch, extractor)


def _extracted(
    batch: list[tuple[Document, ExtractionResult | None]], extractor: FindingExtractor
) -> Iterator[tuple[Document, ExtractionResult, bool]]:
    made = iter(extractor.extract([document for document, known in batch if known is None]))
    for document, known in batch:
        yield document, next(made) if known is None else known, known is not None


def _read_result(line: bytes) -> ExtractionResult | None:
    """The result of a row that we wrote; None for anything else."""
    try:
        row = msgspec.json.decode(line)
        row.pop("uid", None)
        result = msgspec.convert(row | {"doc_id": ""}, ExtractionResult)
        return result if len(bytes.fromhex(result.key)) == 32 else None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, AttributeError, TypeError):
        return None
