"""Reviewers' files, read with suspicion: every answer belongs to a question of this sheet and to one reviewer."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenolip.datasets_scripts.bench_folder import Question
from phenolip.datasets_scripts.bench_review import VERDICTS
from phenolip.exceptions import ConfigurationError, DataError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_MAX_BYTES = 100_000_000  # of a file: a million answers
_MAX_COMMENT_CHARS = 2000
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reviewer says to a question: one of ``VERDICTS``, and a comment that may be empty."""

    verdict: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """All answers of one reviewer.

    Attributes:
        reviewer: Initials; they stay in the reviewers' own files.
        answers: By item.
        sha256: Of the files, in their order.
    """

    reviewer: str
    answers: Mapping[str, Answer]
    sha256: tuple[str, ...]


def read_reviews(paths: Sequence[str | Path], questions: Sequence[Question], sheet: str) -> list[Review]:
    """Read the files of at least two reviewers; several of one reviewer, such as one a page, count as one review.

    Args:
        paths: JSON Lines as the pages give them, or the CSV, filled in and saved as `review-NAME.csv`.
        questions: Those of the sheet.
        sheet: Its hash.

    Raises:
        ConfigurationError: Fewer than two reviewers.
        DataError: A file cannot be read, is of another sheet or of several reviewers, holds an unknown item, a verdict
            that is none, or a second answer to one item.
    """
    items = {question.item for question in questions}
    by_reviewer: dict[str, dict[str, Answer]] = {}
    hashes: dict[str, list[str]] = {}
    for path in map(Path, paths):
        data = _read(path)
        digest = hashlib.sha256(data).hexdigest()
        if any(digest in known for known in hashes.values()):
            raise DataError(f"{path.name} is the same file as another one that was given.")
        records = _csv_records(data, path) if path.suffix.lower() == ".csv" else _json_records(data, path)
        reviewer, answers = _answers(records, path.name, items, sheet)
        reviewer = reviewer.casefold()  # the same initials are the same person
        own = by_reviewer.setdefault(reviewer, {})
        if twice := sorted(own.keys() & answers.keys()):
            raise DataError(f"{path.name}: {twice[0]} was answered in another file of the same reviewer already.")
        own.update(answers)
        hashes.setdefault(reviewer, []).append(digest)
    if len(by_reviewer) < 2:
        raise ConfigurationError(f"`reviews` must be files of at least two reviewers, got {len(by_reviewer)}.")
    return [Review(name, answers, tuple(hashes[name])) for name, answers in sorted(by_reviewer.items())]


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path.name} must be {_MAX_BYTES:,} bytes at most, got {path.stat().st_size:,}.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"Review {path} cannot be read: {error.strerror or error}.") from error


def _answers(
    records: Iterator[tuple[str, Mapping[str, Any]]], name: str, items: set[str], sheet: str
) -> tuple[str, dict[str, Answer]]:
    """The reviewer of a file and the answers in it."""
    reviewer, answers = "", {}
    for where, record in records:
        if record.get("sheet") != sheet:
            raise DataError(f"{where}: `sheet` must be {sheet}, got {_shown(record.get('sheet'))}: another sheet's.")
        given = record.get("reviewer")
        if not isinstance(given, str) or not _NAME.fullmatch(given):
            raise DataError(
                f"{where}: `reviewer` must be 1 to 40 letters, digits, '.', '-' or '_', got {_shown(given)}."
            )
        if reviewer not in ("", given):
            raise DataError(f"{where}: a file must be of one reviewer, got two: {reviewer} and {given}.")
        reviewer, item = given, record.get("item")
        if not isinstance(item, str) or item not in items:
            raise DataError(f"{where}: `item` {_shown(item)} is not on the sheet.")
        if item in answers:
            raise DataError(f"{where}: `item` {item} comes twice.")
        answers[item] = _answer(record, where)
    if not answers:
        raise DataError(f"{name} holds no answer.")
    return reviewer, answers


def _answer(record: Mapping[str, Any], where: str) -> Answer:
    verdict, comment = record.get("verdict"), record.get("comment") or ""
    if verdict not in VERDICTS:
        raise DataError(f"{where}: `verdict` must be one of {', '.join(VERDICTS)}, got {_shown(verdict)}.")
    if not isinstance(comment, str):
        raise DataError(f"{where}: `comment` must be text, got {_shown(comment)}.")
    return Answer(verdict, comment.encode(errors="replace").decode()[:_MAX_COMMENT_CHARS].strip())


def _json_records(data: bytes, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON.") from error
        if not isinstance(record, dict):
            raise DataError(f"{where} must be a JSON object, got {_shown(record)}.")
        yield where, record


def _csv_records(data: bytes, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows with a verdict, in any spelling of its case; the reviewer is in a column or in the file's name."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} must be CSV in UTF-8; in Excel, save it as 'CSV UTF-8'.") from error
    header = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    by_name = path.stem.removeprefix("review-") if path.stem.startswith("review-") else None
    try:
        if missing := {"sheet", "item", "verdict"} - set(rows.fieldnames or ()):
            raise DataError(f"{path.name} must have the columns sheet, item and verdict, lacks {sorted(missing)[0]}.")
        for number, row in enumerate(rows, 2):
            verdict = (row["verdict"] or "").strip().lower()
            if verdict:
                reviewer = (row.get("reviewer") or "").strip() or by_name
                texts = {name: (row[name] or "").strip() for name in ("sheet", "item")}
                yield f"{path.name} row {number}", {**row, **texts, "verdict": verdict, "reviewer": reviewer}
    except csv.Error as error:
        raise DataError(f"{path.name} is not a CSV file: {error}.") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
