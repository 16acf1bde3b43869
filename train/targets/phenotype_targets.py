"""What every target builder shares: which candidate phenotypes each row's labels make true, likely or unknown."""

from collections.abc import Sequence

import numpy as np
import torch


class PhenotypeTargets:
    """Targets of rows over candidate phenotypes, from what each single label says of each candidate.

    A candidate's value for a row is the largest that any of the row's labels gives it. A candidate that some label
    leaves open, and none makes true to any degree, is not valid: neither positive nor negative.

    Args:
        hpo_ids: For each row, its primary HPO ids; may be empty.
        candidate_ids: The C columns; every label is among them.
        label_values: (T, C) in [0, 1], for the T distinct labels in sorted order; the label's own column is 1.
        label_valid: (T, C) bool, False where a label says nothing about a candidate; None where all is said.

    Attributes:
        candidate_ids: The C columns.
        is_hard: Every value is that of the labels themselves, and everything is valid.
    """

    def __init__(
        self,
        hpo_ids: Sequence[Sequence[str]],
        candidate_ids: Sequence[str],
        label_values: np.ndarray,
        label_valid: np.ndarray | None = None,
    ) -> None:
        self.candidate_ids = list(candidate_ids)
        self._column = {hpo_id: place for place, hpo_id in enumerate(self.candidate_ids)}
        self._place = {hpo_id: number for number, hpo_id in enumerate(distinct_labels(hpo_ids))}
        self._columns = [_numbers(self._column, row) for row in hpo_ids]
        self._labels = [_numbers(self._place, row) for row in hpo_ids]
        self.label_values = np.asarray(label_values, dtype=np.float32)
        self.label_valid = np.ones(self.label_values.shape, bool) if label_valid is None else label_valid
        self.is_hard = bool(self.label_valid.all() and (self.label_values.sum(axis=1) == 1).all())

    def __call__(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Batch entries of some rows.

        Shapes (n rows, C candidates): labels (n, C) bool, the rows' own phenotypes; unless `is_hard`, also
        label_values (n, C) float32 in [0, 1] and label_valid (n, C) bool.
        """
        return self._entries([self._columns[row] for row in rows], [self._labels[row] for row in rows])

    def of_labels(self, hpo_ids: Sequence[Sequence[str]]) -> dict[str, torch.Tensor]:
        """The same of rows that are given by their labels, all of which occur in the data."""
        columns = [_numbers(self._column, row) for row in hpo_ids]
        return self._entries(columns, [_numbers(self._place, row) for row in hpo_ids])

    def _entries(self, columns: Sequence[np.ndarray], numbers: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        labels = torch.zeros(len(columns), len(self.candidate_ids), dtype=torch.bool)
        for place, own in enumerate(columns):
            labels[place, own] = True
        if self.is_hard:
            return {"labels": labels}
        values = np.zeros(labels.shape, dtype=np.float32)
        valid = np.ones(labels.shape, dtype=bool)
        for place, own in enumerate(numbers):
            if len(own):
                values[place] = self.label_values[own].max(axis=0)
                valid[place] = self.label_valid[own].all(axis=0) | (values[place] > 0)
        return {"labels": labels, "label_values": torch.from_numpy(values), "label_valid": torch.from_numpy(valid)}


def _numbers(numbers: dict[str, int], hpo_ids: Sequence[str]) -> np.ndarray:
    return np.array([numbers[hpo_id] for hpo_id in hpo_ids], dtype=np.int64)


def distinct_labels(hpo_ids: Sequence[Sequence[str]]) -> list[str]:
    """The ids that occur, sorted."""
    return sorted({hpo_id for row in hpo_ids for hpo_id in row})


def caption_targets(
    labels: torch.Tensor, values: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How well each caption fits each image by their phenotypes, and where that is known.

    A caption's fit is the mean over its phenotypes of what the image's labels say of each: a caption that names
    several things must not count as a match for one shared generic term. It is unknown where none of the caption's
    phenotypes fits to any degree and the image's labels leave at least one of them open. Source: ours.

    Shapes (N images, M captions, C candidates): labels (M, C) bool, of the captions; values and valid (N, C), of the
        images. returns: fit (N, M) in [0, 1] and known (N, M) bool, images along the rows; a caption that has no
        phenotype fits nothing and is known to.
    """
    own = labels.float()
    count = own.sum(dim=1)
    fit = values.float() @ own.T / count.clamp(min=1)
    open_terms = (~valid).float() @ own.T
    return fit, ~((fit == 0) & (open_terms > 0))
