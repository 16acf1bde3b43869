"""Precision, recall and F1 of each image's set of answers, to be averaged over images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def sample_scores_at_k(recalls: NDArray, num_relevant: NDArray, k: int, num_candidates: int) -> NDArray[np.float64]:
    """Precision, recall and F1 of answering the best k, from the expected recall at k.

    With h of the r right answers among the best k, P = h / k, R = h / r and F1 = 2 h / (k + r): all are linear in
    h, so that expectations over the order of equal scores carry over. A k above the number of candidates reads as it.

    Shapes: recalls, num_relevant (Q,); returns (Q, 3).

    Example:
        >>> sample_scores_at_k(np.array([0.5]), np.array([2]), 2, 10).tolist()
        [[0.5, 0.5, 0.5]]
    """
    k = min(k, num_candidates)
    found = recalls * num_relevant
    return np.stack([found / k, recalls, 2 * found / (k + num_relevant)], axis=1)


def sample_scores_at_threshold(scores: NDArray, relevant: NDArray, threshold: float) -> NDArray[np.float64]:
    """Precision, recall and F1 of answering what reaches a threshold; precision is 0 where nothing does.

    Shapes: scores (Q, M); relevant (Q, M) bool, at least one in each row; returns (Q, 3).
    """
    answered = scores >= threshold
    found, size, right = ((part).sum(axis=1) for part in (answered & relevant, answered, relevant))
    precision = np.divide(found, size, out=np.zeros(len(size)), where=size > 0)
    return np.stack([precision, found / right, 2 * found / (size + right)], axis=1)


def best_sample_threshold(scores: NDArray, relevant: NDArray, thresholds: Sequence[float] | None = None) -> float:
    """The threshold of the highest mean F1 over images; the highest of equal ones.

    Args:
        scores: (Q, M).
        relevant: (Q, M).
        thresholds: To choose among; by default 201 quantiles of the scores.
    """
    if thresholds is None:
        thresholds = np.unique(np.quantile(scores, np.linspace(0, 1, 201)))
    means = [sample_scores_at_threshold(scores, relevant, threshold)[:, 2].mean() for threshold in thresholds]
    return float(max(zip(means, thresholds, strict=True))[1])
