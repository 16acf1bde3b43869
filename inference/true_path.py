"""The true-path rule: whoever shows a phenotype shows all its ancestors, so none of them may be less probable."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.hierarchy import check_terms
from phenolip.ontology.graph import PhenotypeOntology

CHUNK_VALUES = 2**23  # values gathered at a time: 64 MiB of float64


class TermHierarchy:
    """The ancestor relation among a list of terms, ready for matrices whose columns are those terms.

    Args:
        ontology: The release.
        hpo_ids: V terms, all different; any subset of the ontology, whether or not ancestors are among them.

    Raises:
        DataError: There is no term, or one comes twice.
        UnknownTermError: An id is in no term.
    """

    def __init__(self, ontology: PhenotypeOntology, hpo_ids: Sequence[str]) -> None:
        rows = check_terms(ontology, hpo_ids)
        self.hpo_ids = tuple(hpo_ids)
        owners, members = ontology.ancestor_closure.expand(rows)
        order = np.argsort(rows)
        places = order[np.minimum(np.searchsorted(rows[order], members), len(rows) - 1)]
        listed = rows[places] == members  # ancestors outside the list are passed over
        self._descendants, self._ancestors = owners[listed], places[listed]  # (pairs,), each term with itself too
        self.num_ancestors = np.bincount(self._descendants, minlength=len(rows)) - 1

    def propagate_up(self, scores: NDArray) -> NDArray:
        """Each term gets the highest score at or below it: what speaks for a term speaks for its ancestors.

        The result breaks no rule, is nowhere below the input and is the least such; a second call changes nothing.

        Shapes (N images, V terms): scores (N, V), any scale; returns (N, V).

        Raises:
            DataError: The scores have another shape or hold NaN.
        """
        return self._reduce(scores, np.maximum, self._ancestors, self._descendants)

    def propagate_down(self, scores: NDArray) -> NDArray:
        """Each term gets the lowest score at or above it: a term is possible as far as all its ancestors are.

        The result breaks no rule, is nowhere above the input and is the greatest such; a second call changes nothing.

        Shapes (N images, V terms): scores (N, V), any scale; returns (N, V).

        Raises:
            DataError: The scores have another shape or hold NaN.
        """
        return self._reduce(scores, np.minimum, self._descendants, self._ancestors)

    def roll_up(self, probabilities: NDArray) -> NDArray:
        """Each term gets the sum of the probabilities at or below it.

        For probabilities of which exactly one term holds, such as a softmax over candidates (ancestors that are no
        candidates come in with 0). A descendant on several paths counts once. No term can then exceed an ancestor.

        Shapes (N images, V terms): probabilities (N, V), at least 0; returns (N, V).

        Raises:
            DataError: The probabilities have another shape, hold NaN or are negative.
        """
        if np.asarray(probabilities).min(initial=0) < 0:
            raise DataError("`probabilities` must be at least 0, got a negative one.")
        # sums of float64 in one order for all terms would still round differently: the maximum repairs the last digit
        return self.propagate_up(self._reduce(probabilities, np.add, self._ancestors, self._descendants))

    def violates(self, scores: NDArray, k: int) -> NDArray:
        """Whether the k best terms of each image lack a listed ancestor of one of them.

        Equal scores are ordered ancestors first, then as listed, so that scores that respect the rule pass.

        Shapes (N images, V terms): scores (N, V); returns (N,) bool.

        Raises:
            ConfigurationError: ``k`` is below 1.
            DataError: The scores have another shape or hold NaN.
        """
        if k < 1:
            raise ConfigurationError(f"`k` must be at least 1, got {k}.")
        scores = self._checked(scores)
        first = np.argsort(self.num_ancestors, kind="stable")  # an ancestor has fewer than its descendants
        predicted = np.zeros(scores.shape, bool)
        chunk = max(1, CHUNK_VALUES // scores.shape[1])
        for start in range(0, len(scores), chunk):
            rows = slice(start, start + chunk)
            best = first[np.argsort(-scores[rows][:, first], axis=1, kind="stable")[:, :k]]
            np.put_along_axis(predicted[rows], best, True, axis=1)
        return (predicted != self.propagate_up(predicted)).any(axis=1)

    def _reduce(self, scores: NDArray, function: np.ufunc, groups: NDArray, members: NDArray) -> NDArray:
        """The reduction of the members of each group; a term is in its own, so no group is empty."""
        scores = self._checked(scores)
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(scores.shape[1]))
        gathered = members[order]
        result = np.empty_like(scores)
        chunk = max(1, CHUNK_VALUES // len(gathered))
        for start in range(0, len(scores), chunk):
            rows = slice(start, start + chunk)
            result[rows] = function.reduceat(scores[rows][:, gathered], starts, axis=1)
        return result

    def _checked(self, scores: NDArray) -> NDArray:
        scores = np.asarray(scores)
        if scores.ndim != 2 or scores.shape[1] != len(self.hpo_ids):
            raise DataError(f"`scores` must have a column for each of {len(self.hpo_ids)} terms, got {scores.shape}.")
        if np.isnan(scores).any():
            raise DataError("`scores` must be numbers, got NaN: the model's weights may have diverged.")
        return scores


def true_path_consistent(
    ontology: PhenotypeOntology,
    hpo_ids: Sequence[str],
    probabilities: NDArray,
    *,
    direction: Literal["up", "down"] = "up",
) -> NDArray:
    """Probabilities in which no term exceeds an ancestor: see `TermHierarchy.propagate_up` and `propagate_down`.

    Args:
        ontology: The release.
        hpo_ids: V terms, all different.
        probabilities: One value per image and term.
        direction: Raise the ancestors ("up") or lower the descendants ("down").

    Shapes (N images, V terms): probabilities (N, V); returns (N, V).

    Raises:
        ConfigurationError: ``direction`` is neither.
        DataError: The terms or the shape cannot be used.
        UnknownTermError: An id is in no term.
    """
    hierarchy = TermHierarchy(ontology, hpo_ids)
    if direction not in ("up", "down"):
        raise ConfigurationError(f"`direction` must be 'up' or 'down', got {direction!r}.")
    return hierarchy.propagate_up(probabilities) if direction == "up" else hierarchy.propagate_down(probabilities)
