"""Areas under the curves of one score against one binary label, and precision among the highest scores."""

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import DataError


def auroc(scores: NDArray, labels: NDArray) -> float:
    """Chance that a positive scores above a negative, a tie counting half; NaN without either kind.

    Shapes (N items): scores (N,), labels (N,) of 0 and 1.

    Example:
        >>> auroc([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0])
        0.875
    """
    scores, labels = check_scores(scores, labels)
    num_positive = int(labels.sum())
    num_negative = len(labels) - num_positive
    if not num_positive or not num_negative:
        return float("nan")
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[codes]  # mean rank of each tie, from 1
    above = ranks[labels].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def average_precision(scores: NDArray, labels: NDArray) -> float:
    """Area under the steps of precision over recall, equal scores taken together; NaN without a positive.

    Shapes (N items): scores (N,), labels (N,) of 0 and 1.

    Example:
        >>> round(average_precision([0.9, 0.8, 0.7], [1, 0, 1]), 4)
        0.8333
    """
    scores, labels = check_scores(scores, labels)
    num_positive = int(labels.sum())
    if not num_positive:
        return float("nan")
    _, true_positives, predicted = cumulative_counts(scores, labels)
    gained = np.diff(true_positives, prepend=0)
    return float((gained * true_positives / predicted).sum() / num_positive)


def precision_at_k(scores: NDArray, labels: NDArray, k: int) -> float:
    """Share of positives among the k highest scores; scores equal to the k-th count in expectation.

    Fewer than k items are taken as they are. NaN without an item.

    Example:
        >>> precision_at_k([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 2)
        0.75
    """
    scores, labels = check_scores(scores, labels)
    k = min(k, len(scores))
    if not k:
        return float("nan")
    _, true_positives, predicted = cumulative_counts(scores, labels)
    tie = int(np.searchsorted(predicted, k))  # the run of equal scores that the k-th belongs to
    before, hits_before = (predicted[tie - 1], true_positives[tie - 1]) if tie else (0, 0)
    share = (true_positives[tie] - hits_before) / (predicted[tie] - before)
    return float((hits_before + share * (k - before)) / k)


def cumulative_counts(scores: NDArray, labels: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Distinct scores from the highest, and how many positives and items score at least as high.

    Returns:
        Three arrays of one length: thresholds, positives at or above each, items at or above each.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.array([], np.intp)
    return ordered[ends], np.cumsum(labels[order])[ends], ends + 1


def check_scores(scores: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
    """Scores as float64 and labels as booleans, of one length.

    Raises:
        DataError: Lengths differ, a score is not finite or a label is neither 0 nor 1.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise DataError(f"`scores` and `labels` must be two rows of one length, got {scores.shape}, {labels.shape}.")
    if not np.isfinite(scores).all():
        raise DataError(f"`scores` must be finite, got {int((~np.isfinite(scores)).sum())} that are not.")
    if not np.isin(labels, (0, 1)).all():
        raise DataError("`labels` must be 0 or 1 once uncertain ones are masked.")
    return scores, labels.astype(bool)
