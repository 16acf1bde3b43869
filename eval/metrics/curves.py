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
    return roc_area(*cumulative_counts(scores, labels)[1:])


def roc_area(true_positives: NDArray, predicted: NDArray) -> float:
    """Area under straight lines between the points that `cumulative_counts` gives; both kinds must occur."""
    false_positives = predicted - true_positives
    heights = 2 * true_positives - np.diff(true_positives, prepend=0)  # twice the mean of each line's two ends
    area = (np.diff(false_positives, prepend=0) * heights).sum()
    return float(area / (2 * true_positives[-1] * false_positives[-1]))


def average_precision(scores: NDArray, labels: NDArray) -> float:
    """Area under the steps of precision over recall, equal scores taken together; NaN without a positive.

    Shapes (N items): scores (N,), labels (N,) of 0 and 1.

    Example:
        >>> round(average_precision([0.9, 0.8, 0.7], [1, 0, 1]), 4)
        0.8333
    """
    scores, labels = check_scores(scores, labels)
    if not labels.any():
        return float("nan")
    return step_area(*cumulative_counts(scores, labels)[1:])


def step_area(true_positives: NDArray, predicted: NDArray) -> float:
    """Mean precision where recall rises, of the points that `cumulative_counts` gives; a positive must occur."""
    gained = np.diff(true_positives, prepend=0)
    return float((gained * true_positives / predicted).sum() / true_positives[-1])


def precision_at_k(scores: NDArray, labels: NDArray, k: int) -> float:
    """Share of positives among the k highest scores; scores equal to the k-th count in expectation.

    Fewer than k items are taken as they are. NaN without an item.

    Example:
        >>> precision_at_k([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 2)
        0.75
    """
    scores, labels = check_scores(scores, labels)
    if not len(scores) or not k:
        return float("nan")
    return top_precision(*cumulative_counts(scores, labels)[1:], k)


def top_precision(true_positives: NDArray, predicted: NDArray, k: int) -> float:
    """Expected share of positives among the first k, of the points that `cumulative_counts` gives."""
    k = min(k, int(predicted[-1]))
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
    if not ((labels == 0) | (labels == 1)).all():
        raise DataError("`labels` must be 0 or 1 once uncertain ones are masked.")
    return scores, labels.astype(bool)
