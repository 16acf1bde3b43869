"""Which phenotypes each image shows, as rows of zeros and ones over the candidate phenotypes."""

from collections.abc import Sequence

import numpy as np
import torch


class MultiHotTargets:
    """Labels of rows over all phenotypes that occur in the data.

    Args:
        hpo_ids: For each row, its primary HPO ids; may be empty.

    Attributes:
        candidate_ids: The C distinct ids, sorted; the columns.
    """

    def __init__(self, hpo_ids: Sequence[Sequence[str]]) -> None:
        self.candidate_ids = sorted({hpo_id for row in hpo_ids for hpo_id in row})
        column = {hpo_id: place for place, hpo_id in enumerate(self.candidate_ids)}
        self._columns = [np.array([column[hpo_id] for hpo_id in row], dtype=np.int64) for row in hpo_ids]

    def __call__(self, rows: Sequence[int]) -> torch.Tensor:
        """(len(rows), C) bool."""
        labels = torch.zeros(len(rows), len(self.candidate_ids), dtype=torch.bool)
        for place, row in enumerate(rows):
            labels[place, self._columns[row]] = True
        return labels
