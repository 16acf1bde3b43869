"""An image shows its labels and nothing else; two rows match where they share a label."""

from collections.abc import Sequence

import numpy as np

from phenolip.train.targets.phenotype_targets import PhenotypeTargets, distinct_labels


class MultiHotTargets(PhenotypeTargets):
    """Zeros and ones over all phenotypes that occur in the data.

    Args:
        hpo_ids: For each row, its primary HPO ids; may be empty.
    """

    def __init__(self, hpo_ids: Sequence[Sequence[str]]) -> None:
        candidates = distinct_labels(hpo_ids)
        super().__init__(hpo_ids, candidates, np.eye(len(candidates), dtype=np.float32))
