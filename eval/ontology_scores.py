"""How near a predicted phenotype is to the phenotypes of an image: shared ancestors, Lin similarity, depth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.hierarchical import hierarchical_overlap, precision_recall_f
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology


@dataclass(frozen=True, slots=True)
class Nearness:
    """Every candidate as the prediction for one image; all (P,), float64.

    Attributes:
        lin: Highest Lin similarity with a label, 0 to 1.
        depth: Deepest lowest common ancestor with a label, in is_a edges below HP:0000118.
        shared: Ancestors (itself included, HP:0000118 not) that are also those of a label.
        predicted: Ancestors of the candidate.
        true: Ancestors of the labels together, a number.
        precision: ``shared / predicted``.
        recall: ``shared / true``.
        f1: Their harmonic mean.
    """

    lin: NDArray
    depth: NDArray
    shared: NDArray
    predicted: NDArray
    true: int
    precision: NDArray
    recall: NDArray
    f1: NDArray


class OntologyScores:
    """Compares candidates with labels in one ontology.

    Args:
        ontology: The release.
        candidate_ids: P candidates, each a term of the release.
    """

    def __init__(self, ontology: PhenotypeOntology, candidate_ids: Sequence[str]) -> None:
        self._ontology = ontology
        self._rows = ontology.rows(candidate_ids)
        self._root = ontology.row(PHENOTYPIC_ABNORMALITY)
        owners, ancestors = ontology.ancestor_closure.expand(self._rows)
        counted = ontology.phenotype_mask[ancestors]
        self._below = _grouped(ancestors[counted], owners[counted])
        counted &= ancestors != self._root
        self._members = ancestors[counted]
        sizes = np.bincount(owners[counted], minlength=len(self._rows))
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        information = ontology.information
        # The most informative last, the first by id last among equals, as in `PhenotypeOntology.lca`.
        self._order = sorted(self._below, key=lambda row: (information[row], -row))
        ids = list(ontology)
        self._depths = np.zeros(len(ontology), np.int64)
        self._depths[self._order] = [ontology.depth(ids[row]) for row in self._order]

    def at_or_above(self, labels: NDArray) -> NDArray:
        """Rows of the candidates that are a label (rows of candidates too) or above one, the root left out."""
        truth = self._truth(labels)
        return np.union1d(np.flatnonzero(truth[self._rows]), labels)

    def lowest_common_ancestors(self, labels: NDArray) -> NDArray:
        """(L, P) row in the ontology of the lowest common ancestor of each label and candidate; -1 where none is."""
        places = _grouped(*self._ancestors_of(labels))
        found = np.full((len(labels), len(self._rows)), -1, np.int64)
        for row in self._order:
            if row in places:
                found[np.ix_(places[row], self._below[row])] = row
        return found

    def nearness(self, labels: Sequence[NDArray]) -> list[Nearness]:
        """One for each image, given the rows of its labels; none may be empty."""
        distinct, inverse = np.unique(np.concatenate(labels), return_inverse=True)
        common = self.lowest_common_ancestors(distinct)
        information = np.nan_to_num(self._ontology.information)
        own = information[self._rows]
        total = own[distinct][:, None] + own[None, :]
        lin = np.divide(2 * information[common], total, out=np.zeros(common.shape), where=(total > 0) & (common >= 0))
        lin[np.arange(len(distinct)), distinct] = 1.0
        depths = np.where(common >= 0, self._depths[common], 0)
        bounds = np.cumsum([0, *map(len, labels)])
        spans = [inverse[start:stop] for start, stop in zip(bounds, bounds[1:], strict=False)]
        return [self._nearness(row, lin[span], depths[span]) for row, span in zip(labels, spans, strict=True)]

    def _nearness(self, labels: NDArray, lin: NDArray, depths: NDArray) -> Nearness:
        truth = self._truth(labels)
        shared = hierarchical_overlap(self._offsets, self._members, truth).astype(np.float64)
        predicted, true = np.diff(self._offsets).astype(np.float64), int(truth.sum())
        scores = precision_recall_f(shared, predicted, np.array(true))
        return Nearness(lin.max(axis=0), depths.max(axis=0).astype(np.float64), shared, predicted, true, *scores)

    def _truth(self, labels: NDArray) -> NDArray:
        truth = np.zeros(len(self._ontology), bool)
        for label in labels:
            truth[self._members[self._offsets[label] : self._offsets[label + 1]]] = True
        return truth

    def _ancestors_of(self, labels: NDArray) -> tuple[NDArray, NDArray]:
        owners, ancestors = self._ontology.ancestor_closure.expand(self._rows[labels])
        counted = self._ontology.phenotype_mask[ancestors]
        return ancestors[counted], owners[counted]


def _grouped(keys: NDArray, values: NDArray) -> dict[int, NDArray]:
    order = np.argsort(keys, kind="stable")
    names, starts = np.unique(keys[order], return_index=True)
    return dict(zip(names.tolist(), np.split(values[order], starts[1:]), strict=True))
