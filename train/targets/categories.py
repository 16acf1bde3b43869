"""What the category of one finding says of another's: the same, its ancestor, its descendant, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.similarity import lin_matrix
from phenolip.train.targets.closure import ClosureTargets

CategoryKind = Literal["multi_hot", "closure", "lin"]


@dataclass(frozen=True)
class CategoryRelations:
    """Pairs of V categories; a category without a term of the ontology is related to itself alone.

    Attributes:
        values: (V, V) float32 in [0, 1]: how far the column's category is true of an image that shows the row's.
        valid: (V, V) bool, False where the row's says nothing about the column's.
        descends: (V, V) bool: the column's category is the row's or one below it, so that an image without the row's
            has not the column's either.
        related: (V, V) bool, symmetric, False on the diagonal: one is an ancestor of the other, and neither is too
            general.
    """

    values: np.ndarray
    valid: np.ndarray
    descends: np.ndarray
    related: np.ndarray


def relate_categories(
    categories: Sequence[str],
    ontology: PhenotypeOntology,
    kind: CategoryKind,
    *,
    min_information: float = 5.0,
    lin_sharpness: float = 4.0,
) -> CategoryRelations:
    """Relations of distinct categories, each an HPO id or the name of something that has none.

    Args:
        categories: Each once.
        ontology: Source of is_a.
        kind: Which values: equality, the true-path rule of `ClosureTargets`, or a power of Lin similarity.
        min_information: Least information content, in nats, of an ancestor that is said of an image by `closure`, and
            of the more general one of two `related` categories.
        lin_sharpness: Power of the similarity in `lin`.
    """
    values = np.eye(len(categories), dtype=np.float32)
    valid = np.ones(values.shape, dtype=bool)
    descends = np.eye(len(categories), dtype=bool)
    related = np.zeros(values.shape, dtype=bool)
    places = np.array([place for place, key in enumerate(categories) if key in ontology], dtype=np.int64)
    if len(places):
        terms = [categories[place] for place in places]
        grid = np.ix_(places, places)
        descends[grid] = _descends(terms, ontology)
        information = np.array([_information(term, ontology) for term in terms])
        is_informative = np.minimum(information[:, None], information[None, :]) >= min_information
        above = descends[grid] & ~np.eye(len(terms), dtype=bool)
        related[grid] = (above | above.T) & is_informative
        if kind == "closure":
            values[grid], valid[grid] = _closure(terms, ontology, min_information)
        elif kind == "lin":
            values[grid] = lin_matrix(ontology, terms, terms) ** lin_sharpness
    return CategoryRelations(values, valid, descends, related)


def _descends(terms: Sequence[str], ontology: PhenotypeOntology) -> np.ndarray:
    place = {term: number for number, term in enumerate(terms)}
    descends = np.eye(len(terms), dtype=bool)
    for column, term in enumerate(terms):
        rows = [place[ancestor] for ancestor in ontology.ancestors(term) if ancestor in place]
        descends[rows, column] = True
    return descends


def _information(term: str, ontology: PhenotypeOntology) -> float:
    return ontology.information_content(term) if ontology.is_phenotype(term) else 0.0


def _closure(
    terms: Sequence[str], ontology: PhenotypeOntology, min_information: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values and validity of `ClosureTargets` between the terms themselves, in their order."""
    targets = ClosureTargets([[term] for term in terms], ontology, min_information=min_information)
    column = {term: place for place, term in enumerate(targets.candidate_ids)}
    row = {term: place for place, term in enumerate(sorted(terms))}
    grid = np.ix_([row[term] for term in terms], [column[term] for term in terms])
    return targets.label_values[grid], targets.label_valid[grid]
