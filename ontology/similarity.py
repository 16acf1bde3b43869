"""How alike two phenotypes are, from what they share in the graph: Resnik's and Lin's measures, and relatedness.

Both measures rest on the most informative common ancestor (MICA) among HP:0000118 and the terms below it, with the
information content of `PhenotypeOntology.information_content`. Terms that share no such ancestor, or only HP:0000118
itself, share no information: their similarity is 0.

Sources: Resnik 1995 (IJCAI, "Using information content to evaluate semantic similarity in a taxonomy"); Lin 1998
(ICML, "An information-theoretic definition of similarity"). Deviation: both papers estimate information content from
the frequencies of words in a corpus, ours counts the terms of the ontology.
"""

from collections.abc import Sequence

import numpy as np

from phenolip.ontology.graph import PhenotypeOntology


def resnik(ontology: PhenotypeOntology, term_a: str, term_b: str) -> float:
    """Information content of the most informative common ancestor, in nats."""
    return float(_shared_information(ontology, ontology.rows([term_a]), ontology.rows([term_b]))[0])


def lin(ontology: PhenotypeOntology, term_a: str, term_b: str) -> float:
    """Lin similarity of two terms, in [0, 1]."""
    return float(lin_similarities(ontology, [term_a], [term_b])[0])


def lin_similarities(ontology: PhenotypeOntology, ids_a: Sequence[str], ids_b: Sequence[str]) -> np.ndarray:
    """Lin similarity of each pair, sim(a, b) = 2 IC(MICA(a, b)) / (IC(a) + IC(b)).

    A term and itself have similarity 1 by definition, HP:0000118 (whose information content is 0) included.

    Args:
        ontology: The release.
        ids_a: First terms of the pairs.
        ids_b: Second terms, as many.

    Shapes (n pairs):
        returns: (n,) float64 in [0, 1].
    """
    if len(ids_a) != len(ids_b):
        raise ValueError(f"`ids_a` and `ids_b` must be equally long, got {len(ids_a)} and {len(ids_b)}.")
    rows_a, rows_b = ontology.rows(ids_a), ontology.rows(ids_b)
    shared = _shared_information(ontology, rows_a, rows_b)
    return _lin(shared, ontology.information[rows_a] + ontology.information[rows_b], rows_a == rows_b)


def lin_matrix(ontology: PhenotypeOntology, ids_a: Sequence[str], ids_b: Sequence[str]) -> np.ndarray:
    """Lin similarity of every term of one list with every term of another; see `lin_similarities`.

    Shapes (n and m terms):
        returns: (n, m) float64 in [0, 1].
    """
    rows_a, rows_b = ontology.rows(ids_a), ontology.rows(ids_b)
    below_a, below_b = _members_by_ancestor(ontology, rows_a), _members_by_ancestor(ontology, rows_b)
    shared = np.zeros((len(rows_a), len(rows_b)))
    # From the least informative ancestor to the most, each overwrites what lies below it: the MICA is written last.
    for ancestor in sorted(below_a.keys() & below_b.keys(), key=ontology.information.__getitem__):
        shared[np.ix_(below_a[ancestor], below_b[ancestor])] = ontology.information[ancestor]
    total = ontology.information[rows_a][:, None] + ontology.information[rows_b][None, :]
    return _lin(shared, total, rows_a[:, None] == rows_b[None, :])


def related_mask(ontology: PhenotypeOntology, ids: Sequence[str]) -> np.ndarray:
    """Which of the terms are ancestor and descendant of one another; a term is not related to itself.

    Shapes (n terms):
        returns: (n, n) bool, symmetric, False on the diagonal and between repeats of a term.
    """
    rows, inverse = np.unique(ontology.rows(ids), return_inverse=True)
    related = np.zeros((len(rows), len(rows)), dtype=bool)
    owners, ancestors = ontology.ancestor_closure.expand(rows)
    columns = np.minimum(np.searchsorted(rows, ancestors), len(rows) - 1)
    present = (rows[columns] == ancestors) & (columns != owners)
    related[owners[present], columns[present]] = True
    return (related | related.T)[np.ix_(inverse, inverse)]


def _lin(shared: np.ndarray, total: np.ndarray, same: np.ndarray) -> np.ndarray:
    informative = total > 0  # False for the root with itself, and (NaN) outside HP:0000118
    similarity = np.divide(2 * shared, total, out=np.zeros_like(shared), where=informative)
    similarity[same] = 1.0
    return similarity


def _shared_information(ontology: PhenotypeOntology, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    """Information content of the MICA of each pair, (n,); 0 where there is none."""
    closure = ontology.ancestor_closure
    pairs_a, ancestors_a = closure.expand(rows_a)
    pairs_b, ancestors_b = closure.expand(rows_b)
    # A common ancestor is a (pair, ancestor) key that occurs on both sides.
    keys_a = pairs_a * len(ontology) + ancestors_a
    keys_b = pairs_b * len(ontology) + ancestors_b
    common = np.intersect1d(keys_a, keys_b, assume_unique=True)
    pairs, ancestors = np.divmod(common, len(ontology))
    shared = np.zeros(len(rows_a))
    np.fmax.at(shared, pairs, ontology.information[ancestors])  # fmax passes over NaN, the ancestors that do not count
    return shared


def _members_by_ancestor(ontology: PhenotypeOntology, rows: np.ndarray) -> dict[int, np.ndarray]:
    """For each phenotype that is at or above one of `rows`, the positions in `rows` at or below it."""
    owners, ancestors = ontology.ancestor_closure.expand(rows)
    counted = ontology.phenotype_mask[ancestors]
    owners, ancestors = owners[counted], ancestors[counted]
    order = np.argsort(ancestors, kind="stable")
    unique, starts = np.unique(ancestors[order], return_index=True)
    stops = [*starts[1:], len(order)]
    members = owners[order]
    return {row: members[start:stop] for row, start, stop in zip(unique.tolist(), starts, stops, strict=False)}
