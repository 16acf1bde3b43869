"""The findings of rows as numbers: which texts each row has, and which categories it denies or doubts."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Finding = Mapping[str, str | None]  # of the column `findings`: category, severity, location, assertion, hpo_id


@dataclass(frozen=True)
class FindingRows:
    """Findings of R rows.

    Attributes:
        texts: Each text once, in the order in which it first occurs.
        categories: Each category once: its HPO id, or its name in small letters where it has none.
        text_ids, category_ids: (R, K) int64, of the present findings of each row in order; -1 in empty slots.
        absent_ids, uncertain_ids: (R, A) and (R, U) int64, categories that a row denies or doubts; -1 likewise.
        dropped: Findings left out, by reason.
        sources: Of each text a finding that it was written of.
    """

    texts: list[str]
    categories: list[str]
    text_ids: np.ndarray
    category_ids: np.ndarray
    absent_ids: np.ndarray
    uncertain_ids: np.ndarray
    dropped: dict[str, int] = field(default_factory=dict)
    sources: list[Finding] = field(default_factory=list)


def number_findings(
    rows: Sequence[Sequence[Finding]], write: Callable[[Finding], str], *, max_findings: int
) -> FindingRows:
    """Numbers texts and categories.

    A finding without an assertion is present. Family history and what is past is left out, so is a finding without a
    category, a text that a row has already, and what a row has beyond `max_findings`.

    Args:
        rows: Findings of each row.
        write: Finding -> its text.
        max_findings: Most texts of a row.
    """
    texts: dict[str, int] = {}
    categories: dict[str, int] = {}
    sources: dict[str, Finding] = {}
    present, absent, uncertain, dropped = [], [], [], Counter()
    for findings in rows:
        own: dict[str, int] = {}
        sides: dict[str, dict[int, None]] = {"absent": {}, "uncertain": {}}
        for finding in findings:
            assertion = finding.get("assertion") or "present"
            if not (finding.get("category") or "").strip():
                dropped["no category"] += 1
            elif assertion in sides:
                sides[assertion][_number(categories, category_key(finding))] = None
            elif assertion != "present":
                dropped[f"assertion {assertion}"] += 1
            elif (text := write(finding)) in own:
                dropped["text twice in a row"] += 1
            elif len(own) == max_findings:
                dropped[f"more than {max_findings} in a row"] += 1
            else:
                own[text] = _number(categories, category_key(finding))
                sources.setdefault(text, finding)
        present.append([(_number(texts, text), category) for text, category in own.items()])
        absent.append(list(sides["absent"]))
        uncertain.append(list(sides["uncertain"]))
    return FindingRows(
        list(texts),
        list(categories),
        _padded([[text for text, _ in row] for row in present]),
        _padded([[category for _, category in row] for row in present]),
        _padded(absent),
        _padded(uncertain),
        dict(dropped),
        [sources[text] for text in texts],
    )


def category_key(finding: Finding) -> str:
    """What makes two findings one category: the HPO id, else the name without regard to case and blanks."""
    return finding.get("hpo_id") or " ".join(finding["category"].split()).casefold()


def _number(numbers: dict[str, int], key: str) -> int:
    return numbers.setdefault(key, len(numbers))


def _padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """(R, longest row) int64 with -1 behind each row's numbers; one column at least."""
    padded = np.full((len(rows), max([1, *map(len, rows)])), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded
