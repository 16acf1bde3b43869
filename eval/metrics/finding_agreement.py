"""Findings of reports against an indexing by headings with qualifiers, such as "Pleural Effusion/left/small"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = {  # name of a metric -> slot of a finding, words that it may name
    "laterality": ("location", frozenset(("left", "right", "bilateral"))),
    "severity": ("severity", frozenset(("borderline", "mild", "moderate", "severe"))),
}


@dataclass(frozen=True, slots=True)
class Heading:
    """One thing that reports find.

    Attributes:
        words: A finding is one where its category holds any of them, case aside.
        mesh: Headings that mean it.
    """

    words: tuple[str, ...]
    mesh: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What N documents say of H headings.

    Attributes:
        indexed: (N, H) bool, the indexing has it.
        found: (N, H) bool, a present finding is one.
        right: Kind -> (N, H): 1 right, 0 wrong, NaN where the heading is not found or the indexing names not one word.
    """

    indexed: NDArray
    found: NDArray
    right: dict[str, NDArray]

    def category_scores(self, rows: NDArray | None = None) -> tuple[float, float, float]:
        """Micro precision, recall and F1 over all headings of some documents; 0 where nothing was found or indexed.

        Example:
            >>> Agreement(np.array([[True, False]]), np.array([[True, True]]), {}).category_scores()
            (0.5, 1.0, 0.6666666666666666)
        """
        rows = np.arange(len(self.found)) if rows is None else rows
        indexed, found = self.indexed[rows], self.found[rows]
        both = int((indexed & found).sum())
        num_found, num_indexed = int(found.sum()), int(indexed.sum())
        f1 = 2 * both / max(1, num_found + num_indexed)
        return both / max(1, num_found), both / max(1, num_indexed), f1


def finding_agreement(
    indexing: Sequence[Sequence[str]],
    findings: Sequence[Sequence[Mapping[str, str | None]]],
    headings: Sequence[Heading],
) -> Agreement:
    """Compares documents with their indexing.

    Args:
        indexing: Headings of each document, qualifiers behind slashes.
        findings: Findings of each document: category, severity, location, assertion (present where it has none).
        headings: What is looked for.
    """
    shape = (len(indexing), len(headings))
    indexed, found = np.zeros(shape, bool), np.zeros(shape, bool)
    right = {kind: np.full(shape, np.nan) for kind in KINDS}
    columns = {name: column for column, heading in enumerate(headings) for name in heading.mesh}
    for row, (entries, said) in enumerate(zip(indexing, findings, strict=True)):
        present = [one for one in said if (one.get("assertion") or "present") == "present"]
        qualifiers: dict[int, set[str]] = {}
        for entry in entries:
            name, *rest = entry.strip().split("/")
            if name in columns:
                qualifiers.setdefault(columns[name], set()).update(rest)
        for column, heading in enumerate(headings):
            matched = [one for one in present if any(word in one["category"].lower() for word in heading.words)]
            indexed[row, column], found[row, column] = column in qualifiers, bool(matched)
            if not matched or column not in qualifiers:
                continue
            for kind, (slot, words) in KINDS.items():
                named = qualifiers[column] & words
                if len(named) == 1:
                    right[kind][row, column] = any(_words(one.get(slot)) & words == named for one in matched)
    return Agreement(indexed, found, right)


def _words(text: str | None) -> set[str]:
    return set(re.findall(r"[a-z]+", (text or "").lower()))
