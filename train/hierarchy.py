"""The hierarchy term of Stage 1: what the ontology says of the pairs of a batch, and the loss that asks for it."""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Literal

import numpy as np
import torch
from torch import nn

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.distance import IsADistance
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.similarity import lin_matrix
from phenolip.train.losses.distance_margin import DistanceMarginLoss
from phenolip.train.losses.similarity_correlation import SimilarityCorrelationLoss
from phenolip.train.losses.similarity_targets import SimilarityTargetLoss

HierarchyKind = Literal["none", "correlation", "targets", "margin"]
SimilarityKind = Literal["lin", "resnik"]
_HASH_STEPS = 10**6


class HierarchyTerm(nn.Module):
    """A loss over pairs of texts, with the ontology's word on their concepts.

    The matrix is computed for the distinct concepts of each batch, which takes milliseconds for a few hundred, and is
    the same on every process that sees the whole batch.

    Args:
        loss: Module called with (embeds, concept_ids, scale, pairwise, counted).
        matrix: Ids -> (n, n) similarity or distance.
        hpo_ids: Terms in the order of concept ids.
        withheld_fraction: Share of the terms, by a hash of their ids, of which no pair is supervised by this loss.
            Agreement with the ontology on their pairs (`KnowledgeEvaluator` does not measure it apart) says how far
            the hierarchy carries beyond the terms it was told; other texts and losses may still speak of their place.
    """

    def __init__(
        self,
        loss: nn.Module,
        matrix: Callable[[Sequence[str]], np.ndarray],
        hpo_ids: Sequence[str],
        withheld_fraction: float = 0.0,
    ) -> None:
        super().__init__()
        self.loss, self.matrix, self.hpo_ids = loss, matrix, list(hpo_ids)
        supervised = torch.tensor([not is_withheld(hpo_id, withheld_fraction) for hpo_id in self.hpo_ids])
        self.register_buffer("supervised", supervised, persistent=False)

    def forward(self, embeds: torch.Tensor, concept_ids: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Shapes: embeds (N, D), unit norm; concept_ids (N,); scale scalar. Returns the loss, scalar."""
        concepts, owner = concept_ids.unique(return_inverse=True)
        matrix = self.matrix([self.hpo_ids[concept] for concept in concepts.tolist()])
        pairwise = torch.from_numpy(matrix).to(embeds.device, torch.float32)[owner][:, owner]  # (N, N)
        supervised = self.supervised[concept_ids]
        return self.loss(embeds, concept_ids, scale, pairwise, supervised[:, None] & supervised[None, :])


def is_withheld(hpo_id: str, fraction: float) -> bool:
    """Whether a term belongs to the share whose place in the graph is not supervised, by a hash of its id."""
    return int(sha256(f"hierarchy\t{hpo_id}".encode()).hexdigest(), 16) % _HASH_STEPS < fraction * _HASH_STEPS


def build_hierarchy(
    kind: HierarchyKind,
    ontology: PhenotypeOntology,
    hpo_ids: Sequence[str],
    *,
    similarity: SimilarityKind,
    target_temperature: float,
    margin: float,
    max_distance_edges: int,
    withheld_fraction: float,
) -> HierarchyTerm | None:
    """The term that the settings ask for, or None; see the losses for what each setting means."""
    if kind == "none":
        return None
    matrix = partial(lin_matrix_of if similarity == "lin" else resnik_matrix_of, ontology)
    if kind == "correlation":
        loss: nn.Module = SimilarityCorrelationLoss()
    elif kind == "targets":
        loss = SimilarityTargetLoss(target_temperature)
    elif kind == "margin":
        loss, matrix = DistanceMarginLoss(margin, max_distance_edges), IsADistance(ontology).matrix
    else:
        raise ConfigurationError(f"`hierarchy` must be none, correlation, targets or margin, got {kind!r}.")
    return HierarchyTerm(loss, matrix, hpo_ids, withheld_fraction)


def lin_matrix_of(ontology: PhenotypeOntology, term_ids: Sequence[str]) -> np.ndarray:
    """Lin similarity of distinct terms under HP:0000118, (n, n) in [0, 1]."""
    return lin_matrix(ontology, term_ids, term_ids)


def resnik_matrix_of(ontology: PhenotypeOntology, term_ids: Sequence[str]) -> np.ndarray:
    """Resnik similarity of distinct terms under HP:0000118, as a share of the largest information content, (n, n).

    The information content of the most informative common ancestor is Lin's similarity times the mean of the two
    terms' own. Terms elsewhere have none, and similarity 0 to every other.
    """
    information = np.nan_to_num(ontology.information[ontology.rows(term_ids)])
    largest = np.nanmax(ontology.information)
    return lin_matrix(ontology, term_ids, term_ids) * (information[:, None] + information[None, :]) / 2 / largest
