"""Findings of rows -> which categories each row shows, and what it says of their severity and location."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.ontology.graph import PhenotypeOntology

Finding = Mapping[str, str | None]  # of the column `findings`
Key = tuple[str, str | None]  # name and HPO id of a category


@dataclass(frozen=True)
class FindingLabels:
    """N rows and C categories.

    Attributes:
        keys: Name and id of each category.
        labels: (N, C) int8: 1 shown, 0 not said or denied, -1 doubted.
        slots: "severity" and "location" -> for each row the category's column -> the one value that the row says;
            categories of which it says none, or several, are left out.
    """

    keys: tuple[Key, ...]
    labels: NDArray
    slots: dict[str, list[dict[int, str]]]


def finding_labels(
    rows: Iterable[Sequence[Finding]], keys: Sequence[Key], ontology: PhenotypeOntology
) -> FindingLabels:
    """Labels by the true-path rule: a finding shows its category and, where it has a term, those above it.

    A category that is not named counts as not shown, though nobody said so. What is said to be present comes before
    doubt, and doubt before denial; family history and what is past say nothing.

    Args:
        rows: Findings of each row.
        keys: The categories.
        ontology: The release of the ids.
    """
    by_id = {hpo_id: column for column, (_, hpo_id) in enumerate(keys) if hpo_id}
    by_name = {name.casefold(): column for column, (name, hpo_id) in enumerate(keys) if not hpo_id}
    labels, slots = [], {"severity": [], "location": []}
    for findings in rows:
        label = np.zeros(len(keys), np.int8)
        said: dict[str, dict[int, set[str]]] = {slot: {} for slot in slots}
        for finding in findings:
            assertion = finding.get("assertion") or "present"
            if assertion not in ("present", "uncertain"):
                continue
            for column in _columns(finding, by_id, by_name, ontology):
                if assertion == "uncertain":
                    label[column] = label[column] or -1
                    continue
                label[column] = 1
                for slot in slots:
                    if finding.get(slot):
                        said[slot].setdefault(column, set()).add(finding[slot].casefold())
        labels.append(label)
        for slot, found in slots.items():
            found.append({column: min(values) for column, values in said[slot].items() if len(values) == 1})
    return FindingLabels(tuple(keys), np.array(labels, np.int8).reshape(-1, len(keys)), slots)


def common_categories(rows: Iterable[Sequence[Finding]], ontology: PhenotypeOntology, min_rows: int) -> list[Key]:
    """Categories that so many rows say to be present, commonest first; a term goes by its current name."""
    counts: Counter[Key] = Counter()
    for findings in rows:
        present = {
            _key(finding, ontology) for finding in findings if (finding.get("assertion") or "present") == "present"
        }
        counts.update(present)
    kept = [(key, number) for key, number in counts.items() if number >= min_rows]
    return [key for key, _ in sorted(kept, key=lambda entry: (-entry[1], entry[0][0]))]


def common_values(labels: FindingLabels, slot: str, column: int, *, min_rows: int, limit: int) -> tuple[str, ...]:
    """What rows say of a category's slot, at least so often, commonest first."""
    counts = Counter(found[column] for found in labels.slots[slot] if column in found)
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(value for value, number in ordered if number >= min_rows)[:limit]


def _key(finding: Finding, ontology: PhenotypeOntology) -> Key:
    hpo_id = finding.get("hpo_id")
    if hpo_id and hpo_id in ontology:
        hpo_id = ontology.resolve(hpo_id)
        return ontology[hpo_id].name, hpo_id
    return " ".join(finding["category"].split()).casefold(), None


def _columns(
    finding: Finding, by_id: Mapping[str, int], by_name: Mapping[str, int], ontology: PhenotypeOntology
) -> set[int]:
    name, hpo_id = _key(finding, ontology)
    if hpo_id is None:
        return {by_name[name]} if name in by_name else set()
    return {by_id[one] for one in (hpo_id, *ontology.ancestors(hpo_id)) if one in by_id}
