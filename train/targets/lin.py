"""Soft targets from the graph: an image is the nearer to a phenotype, the more its labels share with it."""

from collections.abc import Sequence

import numpy as np

from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.similarity import lin_matrix
from phenolip.train.targets.phenotype_targets import PhenotypeTargets, distinct_labels


class LinTargets(PhenotypeTargets):
    """Lin similarity to the power `sharpness`, over all phenotypes that occur in the data.

    Few images show any one phenotype; its relatives look alike more often than chance, and the soft target lends them
    each other's images.

    Args:
        hpo_ids: For each row, its primary HPO ids; may be empty.
        ontology: Source of Lin similarity.
        sharpness: Power of the similarity: 1 spreads far, a large one is MultiHotTargets.

    Relations: MultiHotTargets in the limit of a large `sharpness`.
    Source: ours; Lin 1998 for the similarity.
    """

    def __init__(
        self, hpo_ids: Sequence[Sequence[str]], ontology: PhenotypeOntology, *, sharpness: float = 4.0
    ) -> None:
        labels = distinct_labels(hpo_ids)
        super().__init__(hpo_ids, labels, lin_matrix(ontology, labels, labels).astype(np.float32) ** sharpness)
