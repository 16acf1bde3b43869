"""Reviews to what was agreed: kappa, the confusion of verdicts, and the rows that go into the benchmark.

A phenotype is agreed "right" if every reviewer says so. A row is kept if one of its phenotypes is agreed right and
each of the others is settled, all right or all wrong: with a label left open, a model would be blamed for what may be
true.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from phenolip.datasets_scripts.bench_agreement import agreement
from phenolip.datasets_scripts.bench_answers import Review, read_reviews
from phenolip.datasets_scripts.bench_csv import write_table
from phenolip.datasets_scripts.bench_folder import AGREEMENT, VERDICTS_CSV, BenchFolder, Question
from phenolip.datasets_scripts.bench_folder import VERDICTS as VERDICTS_FILE
from phenolip.datasets_scripts.bench_review import VERDICTS
from phenolip.datasets_scripts.tables import write_lines
from phenolip.exceptions import DataError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import write_json

OUTCOMES = ("right", "wrong", "open", "unanswered")


def merge_reviews(
    folder: str | Path,
    reviews: Sequence[str | Path],
    *,
    keep_open: bool = False,
    allow_missing: bool = False,
    ontology: PhenotypeOntology | None = None,
) -> dict[str, Any]:
    """Compare the reviews and write `agreement.json`, `verdicts.jsonl` and `verdicts.csv`.

    Args:
        folder: Working folder that holds the draw.
        reviews: Files of at least two reviewers.
        keep_open: Keep rows some of whose phenotypes were not agreed on, without those phenotypes.
        allow_missing: Take reviews that do not answer every question; a row with an unanswered one is not kept.
        ontology: Gives the organ systems; None loads the installed release.

    Returns:
        The content of `agreement.json`. Reviewers are numbered in it; names stay in their files.

    Raises:
        DataError: There is no draw, a file is not a review of this sheet, or an answer is missing.
    """
    bench = BenchFolder(Path(folder))
    drawn, questions = bench.drawn(), bench.questions()
    ontology = ontology or load_ontology()
    if drawn["hpo"]["release"] != ontology.release:
        raise DataError(
            f"The draw is of HPO release {drawn['hpo']['release']}, and the ontology given is {ontology.release}."
        )
    read = read_reviews(reviews, questions, drawn["sheet"])
    if not allow_missing:
        _check_complete(read, questions)
    outcomes = {question.item: _outcome(question, read) for question in questions}
    kept = set(kept_rows(questions, outcomes, keep_open=keep_open))
    facts = {
        "sheet": drawn["sheet"],
        "num_reviewers": len(read),
        "reviews": [{"num_answers": len(review.answers), "sha256": list(review.sha256)} for review in read],
        "keep_open": keep_open,
        **_agreements(read, questions, ontology),
        "outcomes": {name: sum(outcome == name for outcome in outcomes.values()) for name in OUTCOMES},
        "num_rows": drawn["num_rows"],
        "num_rows_kept": len(kept),
        "num_rows_left_out": dict(_why_left_out(questions, outcomes, kept).most_common()),
    }
    lines = [_line(question, read, outcomes, kept) for question in questions]
    write_lines(bench.path / VERDICTS_FILE, lines)
    write_table(bench.path / VERDICTS_CSV, *_for_people(lines, len(read)))
    facts["verdicts_sha256"] = hashlib.sha256((bench.path / VERDICTS_FILE).read_bytes()).hexdigest()
    write_json(bench.path / AGREEMENT, facts)
    return facts


def kept_rows(questions: Sequence[Question], outcomes: Mapping[str, str], *, keep_open: bool) -> Iterator[int]:
    """Places of the rows that are kept, in their order."""
    for row, found in _by_row(questions, outcomes).items():
        is_settled = not {"open", "unanswered"} & set(found)
        if "right" in found and (is_settled or (keep_open and "unanswered" not in found)):
            yield row


def _check_complete(reviews: Sequence[Review], questions: Sequence[Question]) -> None:
    for number, review in enumerate(reviews, 1):
        missing = len(questions) - len(review.answers)
        if missing:
            raise DataError(
                f"The review by {review.reviewer} (reviewer {number}) must answer all {len(questions):,} questions, "
                f"got {len(review.answers):,}; `allow_missing` merges it without the rest."
            )


def _outcome(question: Question, reviews: Sequence[Review]) -> str:
    answers = [review.answers.get(question.item) for review in reviews]
    if None in answers:
        return "unanswered"
    verdicts = {answer.verdict for answer in answers}
    return verdicts.pop() if verdicts in ({"right"}, {"wrong"}) else "open"


def _by_row(questions: Sequence[Question], outcomes: Mapping[str, str]) -> dict[int, list[str]]:
    rows: dict[int, list[str]] = defaultdict(list)
    for question in questions:
        rows[question.row].append(outcomes[question.item])
    return rows


def _why_left_out(questions: Sequence[Question], outcomes: Mapping[str, str], kept: set[int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row, found in _by_row(questions, outcomes).items():
        if row not in kept:
            first = next((reason for reason in ("unanswered", "open") if reason in found), "wrong")
            counts[{"wrong": "all_wrong", "open": "not_agreed"}.get(first, first)] += 1
    return counts


def _agreements(
    reviews: Sequence[Review], questions: Sequence[Question], ontology: PhenotypeOntology
) -> dict[str, Any]:
    """Kappa over the three verdicts, over right against the rest, by organ system; confusion of each pair."""
    answered = [one for one in questions if all(one.item in review.answers for review in reviews)]
    codes = np.array(
        [[VERDICTS.index(review.answers[one.item].verdict) for review in reviews] for one in answered], dtype=np.int64
    ).reshape(len(answered), len(reviews))  # (questions, reviewers)
    names = {name: number for number, name in enumerate(dict.fromkeys(one.group for one in answered))}
    groups = np.array([names[one.group] for one in answered], dtype=np.int64)
    places: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(answered):
        for system in ontology.systems(one.hpo_id):
            places[system].append(place)
    by_system = {
        ontology[system].name: asdict(agreement(codes[own], len(VERDICTS), groups[own]))
        for system, own in sorted(places.items(), key=lambda item: -len(item[1]))
    }
    return {
        "method": "Cohen's kappa" if len(reviews) == 2 else "Fleiss' kappa",
        "verdicts": list(VERDICTS),
        "agreement": asdict(agreement(codes, len(VERDICTS), groups)),
        "agreement_right_or_not": asdict(agreement((codes != 0).astype(np.int64), 2, groups)),
        "num_groups": len(names),
        "by_system": by_system,
        "confusion": [
            {"reviewers": [one + 1, other + 1], "counts": _confusion(codes[:, one], codes[:, other])}
            for one, other in combinations(range(len(reviews)), 2)
        ],
    }


def _confusion(one: np.ndarray, other: np.ndarray) -> list[list[int]]:
    """Questions by the verdict of the first reviewer (row) and of the second (column)."""
    counts = np.zeros((len(VERDICTS), len(VERDICTS)), dtype=np.int64)
    np.add.at(counts, (one, other), 1)
    return counts.tolist()


def _line(
    question: Question, reviews: Sequence[Review], outcomes: Mapping[str, str], kept: set[int]
) -> dict[str, Any]:
    answers = [review.answers.get(question.item) for review in reviews]
    return {
        "item": question.item,
        "row": question.row,
        "hpo_id": question.hpo_id,
        "name": question.name,
        "outcome": outcomes[question.item],
        "is_row_kept": question.row in kept,
        "verdicts": [answer.verdict if answer else None for answer in answers],
        "comments": [answer.comment if answer else "" for answer in answers],
    }


def _for_people(lines: Sequence[Mapping[str, Any]], num_reviewers: int) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table: the open questions first."""
    numbers = range(1, num_reviewers + 1)
    header = [
        "item",
        "hpo_id",
        "term",
        "outcome",
        *(f"reviewer {n}" for n in numbers),
        *(f"comment {n}" for n in numbers),
    ]
    ordered = sorted(lines, key=lambda line: OUTCOMES.index(line["outcome"]) not in (2, 3))
    rows = [
        [
            line["item"],
            line["hpo_id"],
            line["name"],
            line["outcome"],
            *(v or "" for v in line["verdicts"]),
            *line["comments"],
        ]
        for line in ordered
    ]
    return header, rows


def read_verdicts(bench: BenchFolder, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of `verdicts.jsonl`, which must be those that `agreement.json` speaks of."""
    path = bench.path / VERDICTS_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"File {path} cannot be read: {error.strerror or error}; run `phenolip bench merge` again."
        ) from error
    if hashlib.sha256(data).hexdigest() != facts.get("verdicts_sha256"):
        raise DataError(f"File {path} is not the one that was merged; run `phenolip bench merge` again.")
    return [json.loads(line) for line in data.splitlines()]
