"""Hierarchical scoring: the score of a phenotype informed by its relatives in the ontology.

A model that sees a cataract should see an abnormal lens too. Two forms say who the relatives of a term are: all terms
that share information with it (`lin_relatives`: ancestors, descendants, siblings), or its ancestors alone along the
graph (`path_relatives`). Both are lists of weights, so that mixing scores and mixing embeddings are the same linear
map up to the norm of each term's mixture; `mix_embeds` restores the unit norm, `mix_scores` does not know it.

A product of conditional probabilities down the graph (softmax among siblings, as in a hierarchical classifier) is
left out on purpose: it was tried, and fails where no model was trained for it, since an only child is certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.similarity import lin_matrix

# Ours: the middle of a broad plateau on a development split (benchmarks/zero_shot_weights.py, docs/inference.md).
ALPHA = 0.5  # a term counts as much as its relatives together
LIN_POWER = 4.0
NUM_RELATIVES = 64
MIN_INFORMATION = 1.0  # nats: a term that stands above more than a third of the ontology says little
DECAY = 0.5
BLOCK_SIMILARITIES = 2**23  # similarities held at a time: 64 MiB of float64


@dataclass(frozen=True, slots=True)
class Relatives:
    """For each of V terms up to K others that its score leans on.

    Attributes:
        rows: (V, K) places of the relatives in the same list of terms; 0 where there are fewer than K.
        weights: (V, K) float32 shares: each row sums to 1, or to 0 for a term without relatives; 0 where there are
            fewer than K.
    """

    rows: NDArray
    weights: NDArray


def with_ancestors(
    ontology: PhenotypeOntology, hpo_ids: Sequence[str], *, min_information: float = MIN_INFORMATION
) -> tuple[str, ...]:
    """The terms as given, then those of their ancestors that are phenotypes of enough information, sorted.

    Args:
        ontology: The release.
        hpo_ids: Current ids, all different; terms outside HP:0000118 are kept and add none.
        min_information: Least information content of an added ancestor, in nats; 0 adds HP:0000118 as well.

    Raises:
        DataError: There is no term, or one comes twice.
        UnknownTermError: An id is in no term.
    """
    rows = check_terms(ontology, hpo_ids)
    _, above = ontology.ancestor_closure.expand(rows)
    # NaN, outside HP:0000118, is below every floor
    informative = np.unique(above[ontology.information[above] >= min_information])
    known = list(ontology)
    return (*hpo_ids, *(known[row] for row in np.setdiff1d(informative, rows)))


def lin_relatives(
    ontology: PhenotypeOntology,
    hpo_ids: Sequence[str],
    *,
    power: float = LIN_POWER,
    num_relatives: int = NUM_RELATIVES,
) -> Relatives:
    """The terms most alike by Lin similarity, each weighted by a power of it.

    Equal similarities at the end of the list are cut in the order of the terms. Time grows with the square of the
    number of terms, memory linearly.

    Args:
        ontology: The release.
        hpo_ids: V current ids, all different.
        power: Above 0; the higher, the more the closest relatives count.
        num_relatives: Most relatives of a term, at least 1.

    Raises:
        ConfigurationError: A setting is out of range.
        DataError: There is no term, or one comes twice.
        UnknownTermError: An id is in no term.
    """
    if not power > 0 or num_relatives < 1:
        raise ConfigurationError(
            f"`power` must be above 0 and `num_relatives` at least 1, got {power} and {num_relatives}."
        )
    check_terms(ontology, hpo_ids)
    num_terms = len(hpo_ids)
    width = min(num_relatives, max(1, num_terms - 1))
    rows, weights = np.zeros((num_terms, width), np.int64), np.zeros((num_terms, width), np.float32)
    block = max(1, BLOCK_SIMILARITIES // num_terms)
    for start in range(0, num_terms, block):
        stop = min(start + block, num_terms)
        similarity = lin_matrix(ontology, hpo_ids[start:stop], hpo_ids)
        similarity[np.arange(stop - start), np.arange(start, stop)] = 0.0  # no term is its own relative
        best = np.argsort(-similarity, axis=1, kind="stable")[:, :width]
        shares = np.take_along_axis(similarity, best, axis=1) ** power
        rows[start:stop] = np.where(shares > 0, best, 0)
        weights[start:stop] = _shares(shares)
    return Relatives(rows, weights)


def path_relatives(ontology: PhenotypeOntology, hpo_ids: Sequence[str], *, decay: float = DECAY) -> Relatives:
    """The ancestors of each term among the terms, weighted by a walk up the graph.

    From a term the walk goes to a parent drawn evenly, and at each ancestor it stays with probability 1 - decay or
    goes on; a term without parents keeps what arrives. With several parents each has its even part, hence an ancestor
    on several paths gets the sum. Parents that are not among the terms are passed over together with what is above
    them, as the floor of `with_ancestors` intends.

    Args:
        ontology: The release.
        hpo_ids: V current ids, all different.
        decay: In [0, 1): the share handed on at each ancestor; 0 leaves the parents alone.

    Raises:
        ConfigurationError: ``decay`` is out of range.
        DataError: There is no term, or one comes twice.
        UnknownTermError: An id is in no term.
    """
    if not 0 <= decay < 1:
        raise ConfigurationError(f"`decay` must be at least 0 and below 1, got {decay}.")
    check_terms(ontology, hpo_ids)
    places = {ontology.resolve(hpo_id): place for place, hpo_id in enumerate(hpo_ids)}
    arrived: dict[str, dict[int, float]] = {}  # term -> where a walk that stands on it ends

    def walk(hpo_id: str) -> dict[int, float]:
        if hpo_id not in arrived:
            onward = upward(hpo_id)
            stay = 1.0 - decay if onward else 1.0
            arrived[hpo_id] = {places[hpo_id]: stay} | {place: decay * share for place, share in onward.items()}
        return arrived[hpo_id]

    def upward(hpo_id: str) -> dict[int, float]:
        parents = [parent for parent in ontology.parents(hpo_id) if parent in places]
        shares: dict[int, float] = {}
        for parent in parents:
            for place, share in walk(parent).items():
                shares[place] = shares.get(place, 0.0) + share / len(parents)
        return shares

    ragged = [{place: share for place, share in upward(hpo_id).items() if share > 0} for hpo_id in places]
    width = max(1, *map(len, ragged))
    rows, weights = np.zeros((len(ragged), width), np.int64), np.zeros((len(ragged), width), np.float32)
    for row, shares in enumerate(ragged):
        rows[row, : len(shares)] = list(shares)
        weights[row, : len(shares)] = list(shares.values())
    return Relatives(rows, _shares(weights))


def mix_scores(scores: NDArray, relatives: Relatives, *, alpha: float = ALPHA) -> NDArray:
    """Scores mixed with the weighted mean of the relatives' scores: (1 - alpha) own + alpha relatives.

    A term without relatives keeps its score.

    Args:
        scores: Cosines or any scores on one scale.
        relatives: Of the V terms that the columns stand for.
        alpha: In [0, 1]: what the relatives count; 0 changes nothing.

    Shapes (N images, V terms): scores (N, V); returns (N, V).

    Raises:
        ConfigurationError: ``alpha`` is out of range.
        DataError: The columns are not the terms of the relatives.
    """
    return _mix(np.asarray(scores).T, relatives, alpha, "scores").T


def mix_embeds(embeds: NDArray, relatives: Relatives, *, alpha: float = ALPHA) -> NDArray:
    """Embeddings of terms mixed with their relatives', then unit norm again.

    Cosines with the result are those of `mix_scores` divided by the norm of each term's mixture, which is small where
    the relatives disagree: without the division, terms of varied families would rank last whatever the image.

    Shapes (V terms, D width): embeds (V, D), unit norm; returns (V, D), unit norm.

    Raises:
        ConfigurationError: ``alpha`` is out of range.
        DataError: The rows are not the terms of the relatives.
    """
    mixed = _mix(np.asarray(embeds), relatives, alpha, "embeds")
    return mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def check_terms(ontology: PhenotypeOntology, hpo_ids: Sequence[str]) -> NDArray:
    """Rows of the terms in the ontology, once there is one and none comes twice, under an old id perhaps.

    Raises:
        DataError: There is no term, or one comes twice.
        UnknownTermError: An id is in no term.
    """
    if not len(hpo_ids):
        raise DataError("`hpo_ids` must name at least one phenotype, got none.")
    rows = ontology.rows(hpo_ids)
    distinct, counts = np.unique(rows, return_counts=True)
    if len(distinct) < len(rows):
        twice = next(hpo_id for hpo_id, row in zip(hpo_ids, rows, strict=True) if row in distinct[counts > 1])
        raise DataError(f"`hpo_ids` must name each phenotype once, got {twice} ({ontology[twice].name}) twice.")
    return rows


def _mix(values: NDArray, relatives: Relatives, alpha: float, name: str) -> NDArray:
    """(V, M) values of terms mixed with their relatives'; one relative of every term at a time, to bound memory."""
    if not 0 <= alpha <= 1:
        raise ConfigurationError(f"`alpha` must be from 0 to 1, got {alpha}.")
    if values.ndim != 2 or len(values) != len(relatives.rows):
        raise DataError(f"`{name}` must be 2-D and cover {len(relatives.rows)} terms, got the shape {values.shape}.")
    has_relatives = relatives.weights.any(axis=1)
    own = np.where(has_relatives, 1.0 - alpha, 1.0).astype(values.dtype)
    mixed = values * own[:, None]
    shares = (alpha * relatives.weights).astype(values.dtype)
    for rows, weights in zip(relatives.rows.T, shares.T, strict=True):
        mixed += weights[:, None] * values[rows]
    return mixed


def _shares(weights: NDArray) -> NDArray:
    """Rows divided by their sum; a row of zeros stays."""
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
